"""A browser's steps and seconds are right after kill -9, approval and pause; its login stays."""

import asyncio
import os
import select
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, suppress
from typing import Any, Final

import orjson
import pytest

from tests.support.deployment import Deployment
from tests.support.pages import Page, Site, needs_chromium
from tests.support.processes import named_below
from tests.support.waiting import BOUND, until_found

pytestmark = [pytest.mark.anyio, needs_chromium]

AGENTS: Final = """
agents:
  - name: shopper
    model: scripted:script.yaml
    tools: [{browser: {private: [ORIGIN]}}]
  - name: careful
    model: scripted:script.yaml
    tools: [{browser: {private: [ORIGIN], approval: true}}]
"""
SCRIPT: Final = """
turns:
  - steps:
      - tool_calls: [{name: browser_navigate, parameters: {url: "ORIGIN/login"}}]
      - text: "SLOW"
        delay_ms: 250
        tool_calls: [{name: browser_snapshot}]
      - tool_calls: [{name: browser_click, parameters: {element: Buy, ref: e2}}]
      - text: "{result}"
"""
WORDS: Final = 20
"""Five seconds in which the browser is open and nothing calls it."""
WORDS_UNTIL_KILLED: Final = 200
"""More than are said before the kill, however slow the machine is."""
SHOP: Final = Page(
    '<title>Shop</title><button onclick="const buy = new XMLHttpRequest(); '
    "buy.open('POST', '/buy', false); buy.send(); document.title = 'bought'\">"
    "Buy</button><p>Tea</p>",
    headers={"set-cookie": "login=yes"},
)


@pytest.fixture(scope="module")
async def site(anyio_backend: Any) -> AsyncIterator[Site]:
    async with Site({"/login": SHOP, "/buy": Page("")}) as made:
        yield made


@pytest.fixture(scope="module")
async def running(deployment: Deployment, site: Site) -> Deployment:
    write_script(deployment, site, WORDS_UNTIL_KILLED)
    deployment.deploy(AGENTS.replace("ORIGIN", site.origin))
    await deployment.start()
    return deployment


def write_script(deployment: Deployment, site: Site, words: int) -> None:
    """Write what the model says from the next start on: so many words, 250 ms each."""
    script = SCRIPT.replace("SLOW", "word " * words).replace("ORIGIN", site.origin)
    (deployment.folder / "script.yaml").write_text(script)


async def event(deployment: Deployment, name: str) -> dict[str, Any]:
    """The event of an execution, as a poller of the background room sees it."""
    page = await deployment.get("/v1/events", limit=200)
    return next(one for one in page["data"] if one["id"] == name)


async def until_event(
    deployment: Deployment, name: str, wanted: Callable[[dict[str, Any]], bool]
) -> dict[str, Any]:
    async def found() -> list[dict[str, Any]]:
        one = await event(deployment, name)
        return [one] if wanted(one) else []

    return (await until_found(found, BOUND))[0]


def use(deployment: Deployment, name: str) -> dict[str, Any]:
    """The stored use of the execution's browser."""
    ((found,),) = deployment.database.rows(f"SELECT browser FROM executions WHERE id = '{name}'")
    return dict(orjson.loads(found) if isinstance(found, str) else found)


def kept(deployment: Deployment, name: str) -> list[str]:
    """The sealed state that is kept of the execution's browser."""
    where = f"WHERE execution_id = '{name}'"
    return [row[0] for row in deployment.database.rows(f"SELECT sealed FROM browsers {where}")]


def chromiums(deployment: Deployment) -> set[int]:
    """Processes of Chromium below the deployment's."""
    ours = {process.pid for process in deployment.processes.values() if process.runs}
    return named_below(ours, "chromium")


async def all_end(processes: list[int]) -> None:
    """Return once the processes of these descriptors have ended.

    One whose exit code no parent has taken has ended too, although its id is still there.
    """
    for process in processes:
        ended, _, _ = await asyncio.to_thread(select.select, [process], [], [], BOUND)
        assert ended, "Chromium goes on without its server"


async def results(deployment: Deployment, name: str) -> list[dict[str, Any]]:
    """The results of the browser's calls, in their order."""
    log = await deployment.log(name)
    return [frame["result"] for frame in log.of("tool_call_end")]


async def test_steps_seconds_and_login_outlast_kill_9(running: Deployment, site: Site) -> None:
    name = await running.started("shopper")
    before = await until_event(running, name, lambda one: one["browserSessionSeconds"] >= 2)
    assert before["browserStepCount"] == 1
    with ExitStack() as stack:
        browsers = []
        for pid in chromiums(running):
            with suppress(ProcessLookupError):
                browsers.append(os.pidfd_open(pid))
                stack.callback(os.close, browsers[-1])
        assert browsers

        write_script(running, site, WORDS)
        await running.again()

        after = await event(running, name)
        assert after["browserStepCount"] == 1
        assert after["browserSessionSeconds"] >= before["browserSessionSeconds"]
        await all_end(browsers)
    await running.ended(name)
    end = await event(running, name)
    assert (end["status"], end["browserStepCount"]) == ("COMPLETED", 3)
    assert end["browserSessionSeconds"] >= before["browserSessionSeconds"]
    assert use(running, name)["ms"] > 1000 * before["browserSessionSeconds"]  # less than 1 s more
    ((active,),) = running.database.rows(f"SELECT active_ms FROM executions WHERE id = '{name}'")
    assert use(running, name)["ms"] <= active
    _, snapshot, click = await results(running, name)
    assert snapshot["notes"][0].startswith("The browser was closed since its last step.")
    assert click["title"] == "bought"
    last = [head for head in site.requests if head.startswith("POST /buy")][-1]
    assert "login=yes" in last
    assert kept(running, name) == []


async def test_seconds_stop_while_a_person_thinks_and_the_page_comes_back(
    running: Deployment, site: Site
) -> None:
    execution = await running.suspended("careful")
    name = execution["id"]
    stopped = use(running, name)
    assert stopped["since"] is None
    assert stopped["steps"] == 2
    [sealed] = kept(running, name)
    assert "login" not in sealed
    assert execution["pendingApprovals"][0]["parameters"] == {"element": "Buy", "ref": "e2"}
    bought = len([head for head in site.requests if head.startswith("POST /buy")])

    await running.again()

    assert use(running, name) == stopped
    call = (await running.pending(name))["toolCallId"]
    await running.decide(name, call, True)
    await running.ended(name)
    end = await event(running, name)
    assert end["browserStepCount"] == 3
    assert end["browserSessionSeconds"] >= stopped["ms"] // 1000
    *_, click = await results(running, name)
    assert click["title"] == "bought"
    assert click["notes"][0].startswith("The browser was closed since its last step.")
    assert len([head for head in site.requests if head.startswith("POST /buy")]) == bought + 1


async def test_a_pause_stops_seconds_a_roll_back_keeps_them_and_a_deletion_takes_the_state_along(
    running: Deployment,
) -> None:
    name = await running.started("shopper")
    await until_event(running, name, lambda one: one["browserStepCount"] >= 1)
    answer = await running.post(f"/v1/executions/{name}/pause", now=True)
    assert answer.is_success, answer.text
    await until_event(running, name, lambda one: one["detail"] == "paused")
    paused = use(running, name)
    assert (paused["since"], paused["steps"]) == (None, 1)
    assert len(kept(running, name)) == 1
    assert (await running.post(f"/v1/executions/{name}/resume")).is_success
    await until_event(running, name, lambda one: one["browserStepCount"] >= 2)
    await running.ended(name)
    ended = use(running, name)
    assert (ended["steps"], ended["ms"] >= paused["ms"]) == (3, True)

    points = (await running.get(f"/v1/executions/{name}/checkpoints"))["data"]
    before = next(one for one in points if one["step"] == 5)
    answer = await running.post(f"/v1/executions/{name}/resume", checkpointId=before["id"])
    assert answer.is_success, answer.text
    await until_event(running, name, lambda one: one["browserStepCount"] >= 4)
    await running.ended(name)
    assert use(running, name)["ms"] > ended["ms"]

    failing = (await running.suspended("careful"))["id"]
    assert len(kept(running, failing)) == 1
    await running.post(f"/v1/executions/{failing}/cancel")
    await running.clients[0].delete(f"/v1/execution/{failing}")
    assert kept(running, failing) == []
