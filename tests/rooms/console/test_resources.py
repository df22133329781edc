"""Schedules, memory stores, budgets, the system and keys: the same as the API's."""

import asyncio
import re
from collections.abc import AsyncGenerator
from html import unescape
from pathlib import Path
from typing import Any

import httpx2
import pytest

from outlast.model.error import Overloaded
from outlast.model.workspace import Scope
from outlast.rooms.console.render.system import shown_settings
from outlast.rooms.console.render.words import size
from outlast.services.findings import Finding, Level
from outlast.settings import Settings
from tests.support.api import Api
from tests.support.console import signed_in
from tests.support.databases import SQLITE
from tests.support.waiting import until

pytestmark = [pytest.mark.anyio, pytest.mark.only(SQLITE)]


async def made(api: Api, method: str, path: str, **body: Any) -> Any:
    answer: httpx2.Response = await api.client.request(method, f"/v1{path}", json=body)
    assert answer.status_code in (200, 201), answer.text
    return answer.json()


async def test_a_schedule_shows_its_next_times_and_runs_paused_resumed_and_by_hand(
    api: Api,
) -> None:
    reader = await signed_in(api)
    assert "Nothing runs by the clock yet" in await reader.page("/console/schedules")
    found = await made(
        api, "POST", "/schedules", agentId="agent", cron="0 9 * * *", name="Morning", input="Go"
    )
    here = f"/console/schedules/{found['id']}"
    assert "Morning" in await reader.page("/console/schedules")
    page = await reader.page(here)
    shown = re.findall(r'<li class="row apart"><time datetime="([^"]+)"', page)
    assert shown == found["nextRuns"]
    assert len(shown) == 5
    fired = await reader.send(f"{here}/fire")
    run = fired.headers["location"].rpartition("/")[2]
    assert (await api.rested(run))["input"] == "Go"
    assert run in await reader.page(here)
    assert (await reader.send(f"{here}/pause")).headers["location"] == here
    page = await reader.page(here)
    assert "paused on request" in page
    assert "Nothing is planned" in page
    await reader.send(f"{here}/resume")
    assert "paused on request" not in await reader.page(here)


async def test_a_schedule_s_runs_are_paged_by_cursor(api: Api) -> None:
    reader = await signed_in(api)
    found = await made(api, "POST", "/schedules", agentId="agent", cron="0 9 * * *")
    here = path = f"/console/schedules/{found['id']}"
    runs = []
    for _ in range(23):
        run = (await reader.send(f"{here}/fire")).headers["location"].rpartition("/")[2]
        await api.rested(run)
        runs.append(run)
    shown: list[str] = []
    while path:
        page = await reader.page(path)
        shown += re.findall(r'href="/console/executions/(exec_\w+)"', page)
        later = re.search(r'href="([^"]+)">Older<', page)
        path = unescape(later[1]) if later else ""
    assert shown == runs[::-1]


async def test_items_of_a_store_are_walked_found_and_shown_with_versions(api: Api) -> None:
    reader = await signed_in(api)
    assert "There is no memory store yet" in await reader.page("/console/memory")
    store = await made(api, "POST", "/memory-stores", name="notes <b>")
    here = f"/console/memory/{store['id']}"
    assert "Nothing is written in it yet" in await reader.page(here)
    for n in range(60):
        content = f"Item {n} about {'whales' if n == 7 else 'ships'} <script>"
        await made(api, "PUT", f"/memory-stores/{store['id']}/items/sea/{n:02}", content=content)
    path, keys = here, []
    while path:
        page = await reader.page(path)
        keys += re.findall(r'<b class="cut">(sea/\d+)</b>', page)
        later = re.search(r'href="([^"]+)">Next<', page)
        path = unescape(later[1]) if later else ""
    assert keys == [f"sea/{n:02}" for n in range(60)]
    found = await reader.page(f"{here}?q=whales")
    assert re.findall(r'<b class="cut">(sea/\d+)</b>', found) == ["sea/07"]
    assert len(re.findall(r'<b class="cut">sea/', await reader.page(f"{here}?prefix=sea/1"))) == 10
    assert "Nothing is found" in await reader.page(f"{here}?prefix=land/")
    await made(api, "PUT", f"/memory-stores/{store['id']}/items/sea/07", content="Now seals")
    (item,) = re.findall(rf'href="({here}/items/item_\w+)"', found)
    page = await reader.page(item)
    assert "Now seals" in page
    assert "Item 7 about whales &lt;script&gt;" in page
    assert "by the key" in page
    found_id = item.rpartition("/")[2]
    await api.core.services.memory.redact(api.caller, store["id"], found_id, 1)
    page = await reader.page(item)
    assert "about whales" not in page
    assert "redacted" in page
    await api.client.delete(f"/v1/memory-stores/{store['id']}/items/sea/07")
    assert "It is deleted; its versions are kept." in await reader.page(item)


async def test_numbers_of_an_address_that_are_none_and_nul_are_no_mistake_of_the_server(
    api: Api,
) -> None:
    reader = await signed_in(api)
    store = await made(api, "POST", "/memory-stores", name="notes")
    await made(api, "PUT", f"/memory-stores/{store['id']}/items/sea", content="wide")
    (found,) = (await api.get(f"/v1/memory-stores/{store['id']}/items")).json()["data"]
    execution = await api.started()
    for path, name, form in (
        (f"/console/memory/{store['id']}/items/{found['id']}", "before", "{}"),
        ("/console/news/executions", "at", f"{{}}&seen={execution}"),
        ("/console/approvals", "after", "{}/exec_1/tc_1"),
        (f"/console/executions/{execution}/timeline", "before", "{}"),
        ("/console/budgets", "after", "{}"),
        ("/console/executions", "q", "{}"),
    ):
        for odd in ("²", "٣", "9" * 5000, "-1"):
            answer = await reader.get(f"{path}?{name}={form.format(odd)}")
            assert answer.status_code in (200, 204), (path, odd[:5])
        refused = await reader.get(f"{path}?{name}=%00")
        assert refused.status_code == 400, path
        assert f"{name}: must not contain a NUL character" in refused.text


async def test_a_budget_is_set_shown_changed_and_removed(api: Api) -> None:
    reader = await signed_in(api)
    assert "Nothing bounds what is spent" in await reader.page("/console/budgets")
    own = api.caller.workspace_id
    here = f"/console/budgets/{own}"
    assert "nothing bounds what it spends" in await reader.page(here)
    fields = {"do": "set", "credits": "2.5", "tokens": "1,000", "period": "month", "zone": "UTC"}
    assert (await reader.send(here, **fields)).status_code == 303
    budget = (await api.get("/v1/budgets/workspace")).json()
    assert budget["max"] == {"tokens": 1000, "credits": 2.5, "steps": None, "seconds": None}
    assert budget["period"] == "month"
    await api.rested(await api.started())
    spent = (await api.get("/v1/budgets/workspace")).json()["spent"]
    page = await reader.page("/console/budgets")
    assert f"{spent['tokens']} of 1,000" in page
    assert 'value="2.5"' in await reader.page(here)
    for wrong in ({"credits": "much"}, {"credits": "-1"}, {"credits": "nan"}, {}, {"zone": "Mars"}):
        sent = {"do": "set", "credits": "", "tokens": "", "period": "none", "zone": "UTC"} | wrong
        sent |= {} if "credits" in wrong or not wrong else {"tokens": "5"}
        answer = await reader.send(here, **sent)
        assert answer.status_code == 422, wrong
        assert 'role="alert"' in answer.text
    assert (await api.get("/v1/budgets/workspace")).json()["max"]["tokens"] == 1000
    assert (await reader.send(here, do="remove")).status_code == 303
    assert (await api.get("/v1/budgets/workspace")).status_code == 404
    led = await reader.get(f"/console/budget?owner={api.caller.key_id}")
    assert led.headers["location"] == f"/console/budgets/{api.caller.key_id}"
    assert (await reader.get("/console/budget?owner=x")).status_code == 404


async def test_a_key_is_revoked_and_its_session_ends(api: Api) -> None:
    reader = await signed_in(api)
    other = await api.core.services.keys.create(api.caller.workspace_id, "other <i>")
    theirs = await signed_in(api, other.secret)
    page = await reader.page("/console/system/keys")
    assert "other &lt;i&gt;" in page
    assert other.secret not in page
    shown = await reader.page(f"/console/system/keys/{other.key.id}")
    assert "It is the key that you are signed in with" not in shown
    own = await reader.page(f"/console/system/keys/{api.caller.key_id}")
    assert "It is the key that you are signed in with" in own
    assert (await reader.send(f"/console/system/keys/{other.key.id}/revoke")).status_code == 303
    assert (await theirs.get("/console/executions")).status_code == 303
    again = await reader.page(f"/console/system/keys/{other.key.id}")
    assert "/revoke" not in again


async def test_the_server_is_shown_to_the_operator_s_workspace_alone(api: Api) -> None:
    operator = await api.core.services.workspaces.put("default")
    key = await api.core.services.keys.create(operator.id, "operator")
    tenant = await api.core.services.workspaces.put("tenant")
    foreign = await api.core.services.keys.create(tenant.id, "tenant")
    page = await (await signed_in(api, key.secret)).page("/console/system")
    assert "takeover_seconds" in page
    assert "Workers" in page
    assert "takeover_seconds" not in await (await signed_in(api, foreign.secret)).page(
        "/console/system"
    )


async def test_the_system_screen_has_what_the_doctor_finds_of_the_machine(
    api: Api, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    operator = await api.core.services.workspaces.put("default")
    key = await api.core.services.keys.create(operator.id, "operator")
    reader = await signed_in(api, key.secret)
    settings = api.core.services.system.settings = Settings(data_dir=tmp_path)

    async def shown() -> str:
        facts = re.search(r"<dl.*?</dl>", await reader.page("/console/system"), re.DOTALL)
        assert facts is not None
        return re.sub(r"<[^>]+>", " ", unescape(facts[0]))

    assert "data folder, disk, key: as it should be" in await shown()
    settings.key_file.write_text("sk_hush")
    settings.key_file.chmod(0o644)
    monkeypatch.setenv("OUTLAST_PROT", "1")
    facts = await shown()
    assert "data folder, disk: as it should be" in facts
    assert f"other users can read {settings.key_file} (mode 0644)" in facts
    assert f"chmod 600 {settings.key_file}" in facts
    assert "OUTLAST_PROT is not a setting; did you mean OUTLAST_PORT?" in facts
    assert "sk_hush" not in facts


async def test_the_server_is_examined_on_request_alone_and_shows_no_secret(
    api: Api, tmp_path: Path
) -> None:
    operator = await api.core.services.workspaces.put("default")
    key = await api.core.services.keys.create(operator.id, "operator")
    foreign = await api.core.services.workspaces.put("foreign")
    other = await api.core.services.keys.create(foreign.id, "theirs")
    reader, others = await signed_in(api, key.secret), await signed_in(api, other.secret)
    system = api.core.services.system
    url = "postgresql://ann:hush@db.example/outlast"
    system.settings = Settings(data_dir=tmp_path, api_key="sk_hush", database_url=url)
    begun, go = 0, asyncio.Event()

    async def examine() -> AsyncGenerator[Finding, None]:
        nonlocal begun
        begun += 1
        await go.wait()
        yield Finding("port", Level.OK, "answers on http://ann:other1@house:8321/v1")
        yield Finding("database", Level.FAIL, f"{url} refuses <hush>", "sk_hush is wrong")
        if begun > 1:
            raise Overloaded

    assert (await reader.send("/console/system/examine")).status_code == 404
    assert "found by <code>outlast doctor" in await reader.page("/console/system")
    system.examined_by(examine)
    assert "Examine now" in await reader.page("/console/system")
    assert (await others.send("/console/system/examine")).status_code == 403
    assert begun == 0
    async with asyncio.TaskGroup() as together:
        both = [together.create_task(reader.send("/console/system/examine")) for _ in range(2)]
        await until(lambda: len(system._examining._waiters or ()) == 1)
        go.set()
    assert [one.result().headers["location"] for one in both] == ["/console/system#examined"] * 2
    page = await reader.page("/console/system")
    rows = re.findall(r"<dt>(\w+)</dt><dd", page)[-2:]
    assert (begun, rows) == (1, ["database", "port"]), "once for both; what is wrong stands first"
    assert "••• refuses &lt;•••&gt;" in page
    assert "answers on http://•••@house:8321/v1" in page
    assert "hush" not in page
    assert "other1" not in page
    await reader.send("/console/system/examine")
    assert "The server cannot take this request now" in await reader.page("/console/system")
    assert "Examination" not in await others.page("/console/system")


def test_no_secret_is_among_the_settings() -> None:
    settings = Settings(
        database_url="postgresql://ann:hush@db.example/outlast",
        api_key="sk_hush",
        secret_key="hush",
    )
    shown = {one.name: one for one in shown_settings(settings)}
    assert "hush" not in " ".join(one.value for one in shown.values())
    assert shown["database_url"].value == "set: postgresql on db.example"
    assert shown["api_key"].value == "set"
    assert (shown["port"].value, shown["port"].is_changed) == ("8321", False)
    assert shown["secret_key"].is_changed


async def test_another_workspace_s_things_are_not_there(api: Api) -> None:
    schedule = await made(api, "POST", "/schedules", agentId="agent", cron="0 9 * * *")
    store = await made(api, "POST", "/memory-stores", name="notes")
    other = await api.core.services.workspaces.put("other")
    theirs = await signed_in(api, (await api.core.services.keys.create(other.id, "x")).secret)
    for path in (
        f"/schedules/{schedule['id']}",
        f"/memory/{store['id']}",
        f"/system/keys/{api.caller.key_id}",
    ):
        assert (await theirs.get(f"/console{path}")).status_code == 404, path
    for path in (
        f"/schedules/{schedule['id']}/fire",
        f"/schedules/{schedule['id']}/pause",
        f"/system/keys/{api.caller.key_id}/revoke",
    ):
        assert (await theirs.send(f"/console{path}")).status_code == 404, path
    sent = await theirs.send(f"/console/budgets/{api.caller.key_id}", do="set", credits="1")
    assert sent.status_code in (404, 422)
    assert (await api.get(f"/v1/budgets/{api.caller.key_id}")).status_code == 404


async def test_a_key_that_only_reads_sees_no_form(api: Api) -> None:
    schedule = await made(api, "POST", "/schedules", agentId="agent", cron="0 9 * * *")
    scopes = frozenset({Scope.AGENTS_READ, Scope.EXECUTIONS_READ})
    key = await api.core.services.keys.create(api.caller.workspace_id, "reader", scopes)
    reader = await signed_in(api, key.secret)
    for path in (f"/schedules/{schedule['id']}", "/budgets", f"/budgets/{key.key.id}"):
        page = (await reader.page(f"/console{path}")).replace("/console/preferences", "")
        forms = re.findall(r'method="post" action="([^"]*)"', page)
        assert [form for form in forms if form] == ["/console/sign-out"], path
    assert "/console/system" not in await reader.page("/console/budgets")


def test_sizes_have_two_or_three_figures() -> None:
    given = [0, 812, 1000, 12_345, 3_400_000, 999_600_000, 5 * 10**12]
    wanted = ["0 B", "812 B", "1.0 KB", "12 KB", "3.4 MB", "1,000 MB", "5,000 GB"]
    assert [size(count) for count in given] == wanted
