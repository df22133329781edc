"""Every screen in a real browser: nothing inaccessible, nothing wider than the window."""

from typing import Final, Literal

import pytest

from tests.support.chromium import Visit, chromium, enter, examine_here, visit, with_axe
from tests.support.console_server import (
    LONG,
    NAME,
    approval_of,
    conversation_of,
    reaches,
    url_of,
)
from tests.support.long_cases import WHOLE
from tests.support.processes import ServerProcess

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("one_chromium")]

SIZES: Final[list[tuple[Literal["light", "dark"], int]]] = [
    ("light", 1280),
    ("dark", 360),
    ("light", 360),
    ("dark", 1280),
]
"""The first two have each theme and each width; the others are for `make hostile`."""


VERY_LONG: Final = ("reference", "document-long")
"""Pages of which axe takes a minute: for `make hostile`."""


async def prepared(server: ServerProcess) -> list[tuple[str, str]]:
    """Runs of every kind; the screens that show them, by name."""
    done, failed, waits, parent, held, shipped = [
        await server.background(agent, text)
        for agent, text in (
            ("support", "the sum"),
            ("writer", f"trouble {LONG}"),
            ("support", "refund"),
            ("lead", "delegate"),
            ("writer", "hold"),
            ("support", "ship"),
        )
    ]
    for run, wanted in ((done, "completed"), (failed, "failed"), (waits, "suspended")):
        await reaches(server, run, wanted)
    await server.http.post(f"/v1/executions/{held}/pause", json={"now": True})
    await reaches(server, parent, "completed")
    await reaches(server, shipped, "completed")
    return [
        ("needs-you", "/console/approvals"),
        ("approval", await approval_of(server, waits)),
        *await wide(server, done),
        ("playground", "/console/playground"),
        ("agents", "/console/agents"),
        ("usage", "/console/usage?range=24h&by=agent"),
        ("usage-all", "/console/usage?range=24h"),
        ("agent", "/console/agents/support"),
        ("chat-waits", f"/console/playground?conversation={await conversation_of(server, waits)}"),
        ("executions", "/console/executions"),
        (
            "chosen-calls",
            f"/console/approvals/chosen?do=approve&call={await call_of(server, waits)}",
        ),
        ("executions-wide", "/console/executions?q=agent:support+status:completed"),
        ("executions-none", "/console/executions?q=status:cancelled"),
        ("executions-wrong", "/console/executions?q=tool:refund"),
        ("completed", f"/console/executions/{done}?step=2"),
        ("request", f"/console/executions/{done}?step=3"),
        ("failed", f"/console/executions/{failed}"),
        ("suspended", f"/console/executions/{waits}"),
        ("parent", f"/console/executions/{parent}"),
        ("paused", f"/console/executions/{held}"),
        ("conversation", f"/console/conversations/{await conversation_of(server, done)}"),
        *await task_of(server),
        ("checkpoints", f"/console/executions/{done}/checkpoints{await rolled_back(server, done)}"),
        ("checkpoints-none", f"/console/executions/{held}/checkpoints"),
        ("roll-back", f"/console/executions/{shipped}/checkpoints?behind=1"),
        ("roll-back-live", f"/console/executions/{waits}/checkpoints?behind=1"),
        ("timeline", f"/console/executions/{done}/timeline"),
        ("timeline-waits", f"/console/executions/{waits}/timeline"),
        ("log", f"/console/executions/{done}/log"),
        ("log-search", f"/console/executions/{done}/log?q=calculator"),
        ("log-long", f"/console/executions/{failed}/log"),
        ("frames", f"/console/executions/{waits}/log?as=frames&after=1-2"),
        ("again", f"/console/executions/{failed}/again"),
        ("call", await client_call(server)),
        *await resources(server),
        ("missing", "/console/executions/exec_01k6zj3t7hf2a9q1x5m8r4c0vb"),
    ]


async def wide(server: ServerProcess, other: str) -> list[tuple[str, str]]:
    """What has the longest names there are; its screens."""
    run = await server.background(NAME, f"hidden {LONG}")
    await reaches(server, run, "suspended")
    return [
        ("approval-wide", await approval_of(server, run)),
        ("suspended-wide", f"/console/executions/{run}?step=1"),
        ("chosen", f"/console/chosen?do=delete&id={other}&id={run}"),
    ]


async def call_of(server: ServerProcess, run: str) -> str:
    return (await approval_of(server, run)).removeprefix("/console/approvals/")


async def client_call(server: ServerProcess) -> str:
    """The page of a call that waits for its client."""
    run = await server.background("phone", f"locate {LONG}")
    await reaches(server, run, "suspended")
    (waits,) = (await server.execution(run))["pendingClientCalls"]
    return f"/console/calls/{run}/{waits['toolCallId']}"


async def task_of(server: ServerProcess) -> list[tuple[str, str]]:
    """A task with long names that its client drives; its screens."""
    config = {"max_duration_seconds": 3600, "retry": {"max_attempts": 3}}
    body = {"name": f"Import {LONG}", "description": f"All of {LONG}", "config": config}
    made = await server.http.post("/v1/execution", json={**body, "state": {LONG: LONG}})
    task = made.json()["data"]["id"]
    await server.http.put(f"/v1/execution/{task}/checkpoint", json={"label": LONG})
    await server.http.patch(f"/v1/execution/{task}", json={"state": {"page": 7}})
    await server.http.post(f"/v1/execution/{task}/pause", json={})
    point = (await server.http.get(f"/v1/execution/{task}")).json()["data"]["checkpoints"][0]["id"]
    here = f"/console/executions/{task}"
    return [
        ("task", here),
        ("task-checkpoints", f"{here}/checkpoints?first={point}&second={point}"),
        ("task-roll-back", f"{here}/checkpoints/{point}"),
    ]


async def resources(server: ServerProcess) -> list[tuple[str, str]]:
    """Schedules, memory and budgets with long names; their screens."""
    post, put = server.http.post, server.http.put
    body = {"agentId": "writer", "cron": "0 9 * * MON-FRI", "name": LONG, "input": f"Write {LONG}"}
    schedule = (await post("/v1/schedules", json=body)).json()["id"]
    fired = (await post(f"/v1/schedules/{schedule}/fire", json={})).json()["executionId"]
    await reaches(server, fired, "completed")
    store = (await post("/v1/memory-stores", json={"name": LONG, "description": LONG})).json()["id"]
    items = f"/v1/memory-stores/{store}/items"
    await put(f"{items}/people/{LONG}", json={"content": f"{LONG} likes whales"})
    item = (await put(f"{items}/people/ann", json={"content": "Ann likes seals"})).json()["id"]
    await put(f"{items}/people/ann", json={"content": "Ann likes whales"})
    key = (await server.http.get("/v1/keys")).json()["data"][0]["id"]
    await put(f"/v1/views/{LONG[:60]}", json={"filter": "status:cancelled"})
    await put("/v1/budgets/workspace", json={"maxCredits": 0.001, "maxTokens": 10**9})
    await put(f"/v1/budgets/{key}", json={"maxSteps": 40, "period": "month"})
    return [
        ("schedules", "/console/schedules"),
        ("schedule", f"/console/schedules/{schedule}"),
        ("memory", "/console/memory"),
        ("memory-store", f"/console/memory/{store}?q=whales"),
        ("memory-none", f"/console/memory/{store}?prefix=none"),
        ("memory-item", f"/console/memory/{store}/items/{item}"),
        ("budgets", "/console/budgets"),
        ("budget", f"/console/budgets/{key}"),
        ("system", "/console/system"),
        ("keys", "/console/system/keys"),
        ("key", f"/console/system/keys/{key}"),
        ("help", "/console/help"),
        ("document", "/console/help/console"),
        ("document-long", "/console/help/operations"),
    ]


async def rolled_back(server: ServerProcess, run: str) -> str:
    """Roll an execution back to its first step; the query that compares what was with what is."""
    path = f"/v1/executions/{run}"
    first, *_, last = (await server.http.get(f"{path}/checkpoints")).json()["data"]
    await server.http.post(f"{path}/resume", json={"checkpointId": first["id"]})
    await reaches(server, run, "completed")
    newest = (await server.http.get(f"{path}/checkpoints")).json()["data"][-1]
    return f"?first={last['id']}&second={newest['id']}"


@pytest.mark.parametrize("half", [0, 1])
async def test_every_screen_is_accessible_and_fits(server: ServerProcess, half: int) -> None:
    screens = [*await prepared(server), ("reference", "/docs")]
    async with chromium() as browser, visit(browser, url_of(server)) as at:
        await with_axe(at)
        if half:
            await examine(at, "sign-in", "/console/sign-in")
        await enter(at, "/console/system")
        await at.page.get_by_role("button", name="Examine now").click()
        await at.page.get_by_role("button", name="Examine again").wait_for()
        for name, path in screens[half::2]:
            await examine(at, name, path)


async def examine(at: Visit, name: str, path: str) -> None:
    """Look at a screen in each theme and width."""
    await at.goto(path)
    for theme, width in SIZES if WHOLE else SIZES[:2]:
        await at.page.emulate_media(color_scheme=theme)
        await at.page.set_viewport_size({"width": width, "height": 800})
        await examine_here(at, f"{name}-{width}-{theme}", axe=WHOLE or name not in VERY_LONG)
