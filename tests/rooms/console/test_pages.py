"""Pages as they are sent, compared whole: ids and times stand as their kind."""

import os
import re
from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest

import outlast.rooms.console
from outlast.model.agent import Effect
from tests.support.api import Api, MakeApi
from tests.support.console import Reader, signed_in
from tests.support.databases import SQLITE
from tests.support.models import FakeModel, by_turn
from tests.support.tools import FakeTools, call, spec, tool

pytestmark = [pytest.mark.anyio, pytest.mark.only(SQLITE)]
GOLDEN: Final = Path(outlast.rooms.console.__file__).parent / "golden"
WRITE: Final = os.environ.get("OUTLAST_GOLDEN") == "write"
VOLATILE: Final = (
    (r"/static/[0-9a-f]{16}/", "/static/DIGEST/"),
    (r"(?<![a-z])([a-z]{2,7})_[0-9a-z]{26}\b", r"\1_ID"),
    (r"(?<![a-z])([a-z]{2,7})_01[0-9a-z]*…", r"\1_CUT"),  # at the end of a line that is cut
    (r"\b([a-z]{2,7})_…[0-9a-z]{6}\b", r"\1_…ID"),
    (r"\d{4}-\d\d-\d\dT[\d:.]+Z", "TIME"),
    (r"\d{4}-\d\d-\d\d \d\d:\d\d", "TIME"),
    (r"\b\d{4}-\d\d-\d\d\b", "DAY"),
    (r"\b\d\d:\d\d:\d\d( UTC|\.\d{3})", "TIME"),
    (r'(data-now="|[?&;]at=)\d+', r"\1NOW"),
    (r'(name="seen" value="[\d-]+/)\d+', r"\1NOW"),
    (r">in \d+ (?:s|min|h|d)<", ">LATER<"),
    (r"\b[\d.]+ m?s\b|(?<=[Mm]s&#34;:)\d+|(?<=_ms&#34;: )\d+|(?<=uration&#34;:)\d+", "DURATION"),
)


def compare(name: str, page: str) -> None:
    """Compare a page with the one that is kept, or keep it."""
    path = GOLDEN / f"{name}.html"
    for pattern, kind in VOLATILE:
        page = re.sub(pattern, kind, page)
    if WRITE:
        path.write_text(page)
    assert page == path.read_text(), f"OUTLAST_GOLDEN=write keeps {path.name}"


async def test_sign_in(api: Api) -> None:
    compare("sign_in", await Reader(api).page("/console/sign-in?next=/console/usage"))


async def test_pages_of_an_execution_that_was_rolled_back(make_api: MakeApi) -> None:
    model = FakeModel(by_turn(["I look.", call(1, "look")], ["I *found* it."]))
    agent = spec(tool("look", effect=Effect.DESTRUCTIVE))
    api = await make_api(model, agent=agent, tools=FakeTools(look=lambda _: {"at": "home"}))
    run = await api.started(input="Look\nfor <it>", metadata={"plan": "pro"})
    await api.rested(run)
    services = api.core.services.executions
    first, *_, last = await services.checkpoints(api.caller, run)
    reader = await signed_in(api)
    here = f"/console/executions/{run}"
    compare("roll_back", await reader.page(f"{here}/checkpoints/{first.id}"))
    await services.resume(api.caller, run, first.id)
    await api.rested(run)
    newest = (await services.checkpoints(api.caller, run))[-1]
    pages = {
        "execution": here,
        "execution_step": f"{here}?step=2",
        "checkpoints": f"{here}/checkpoints?first={last.id}&second={newest.id}",
        "again": f"{here}/again",
        "log": f"{here}/log",
        "timeline": f"{here}/timeline",
        "frames": f"{here}/log?as=frames",
        "executions": "/console/executions",
        "executions_none": "/console/executions?q=status:failed",
        "agents": "/console/agents",
        "agent": "/console/agents/agent",
        "usage": "/console/usage?by=agent",
        "playground": "/console/playground",
        "conversation": f"/console/conversations/{await conversation_of(api, run)}",
        "nothing_waits": "/console/approvals",
        "not_found": "/console/nothing",
    }
    for name, path in pages.items():
        compare(name, (await reader.get(path)).text)


async def test_pages_of_a_call_that_waits(make_api: MakeApi) -> None:
    model = FakeModel(by_turn(["I refund.", call(1, "refund", order="A-1", amount=12.5)]))
    parameters = {
        "type": "object",
        "properties": {"order": {"type": "string"}, "amount": {"type": "number"}},
        "required": ["order"],
    }
    agent = spec(replace(tool("refund", approval=True), parameters=parameters))
    api = await make_api(model, agent=agent)
    run = await api.started()
    waits = (await api.rested(run))["pendingApprovals"][0]["toolCallId"]
    reader = await signed_in(api)
    compare("approvals", await reader.page("/console/approvals"))
    compare("approval", await reader.page(f"/console/approvals/{run}/{waits}"))
    compare("suspended", await reader.page(f"/console/executions/{run}"))


async def conversation_of(api: Api, run: str) -> str:
    return str((await api.get(f"/v1/executions/{run}")).json()["conversationId"])


async def test_pages_of_a_task_that_its_client_drives(api: Api) -> None:
    reader = await signed_in(api)
    config = {"max_duration_seconds": 3600, "retry": {"max_attempts": 3}}
    body = {"name": "Import", "description": "All pages.", "task_type": "data", "config": config}
    task = (await api.client.post("/v1/execution", json={**body, "state": {"page": 0}})).json()
    at, here = f"/v1/execution/{task['data']['id']}", f"/console/executions/{task['data']['id']}"
    await api.client.put(f"{at}/checkpoint", json={"label": "half", "state": {"page": 5}})
    await api.client.patch(at, json={"state": {"page": 7, "odd": "<b>"}})
    await api.client.post(f"{at}/pause", json={"reason": "lunch"})
    first, last = (await api.client.get(at)).json()["data"]["checkpoints"]
    compare("task", await reader.page(here))
    compared = f"{here}/checkpoints?first={first['id']}&second={last['id']}"
    compare("task_checkpoints", await reader.page(compared))
    compare("task_roll_back", await reader.page(f"{here}/checkpoints/{first['id']}"))


async def test_pages_of_what_a_workspace_has(make_api: MakeApi) -> None:
    api = await make_api()
    reader = await signed_in(api)
    client = api.client
    schedule = await client.post(
        "/v1/schedules", json={"agentId": "agent", "cron": "0 9 * * *", "name": "Morning"}
    )
    store = (await client.post("/v1/memory-stores", json={"name": "notes"})).json()["id"]
    items = f"/v1/memory-stores/{store}/items"
    item = (await client.put(f"{items}/sea", json={"content": "Whales *sing*."})).json()
    await client.put("/v1/budgets/workspace", json={"maxCredits": 5})
    pages = {
        "schedules": "/console/schedules",
        "schedule": f"/console/schedules/{schedule.json()['id']}",
        "memory": "/console/memory",
        "memory_store": f"/console/memory/{store}",
        "memory_item": f"/console/memory/{store}/items/{item['id']}",
        "budgets": "/console/budgets",
        "budget": f"/console/budgets/{api.caller.workspace_id}",
        "keys": "/console/system/keys",
        "key": f"/console/system/keys/{api.caller.key_id}",
    }
    for name, path in pages.items():
        compare(name, await reader.page(path))
    system = await reader.page("/console/system")
    system = re.sub(r"(<dt>(?:Version|Python)</dt><dd>)[^<]+", r"\1NUMBER", system)
    system = re.sub(
        r"(<dt>Machine</dt>).*?</dl>", r"\1<dd>FINDINGS</dd></dl>", system, flags=re.DOTALL
    )
    table = re.compile(r"<tbody>.*</tbody>", re.DOTALL)
    compare("system", table.sub("<tbody>SETTINGS</tbody>", system))
