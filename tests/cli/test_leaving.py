"""SIGTERM ends a process in bounded time, whatever the operator's own code does."""

import signal
import time
from typing import Final

import httpx2
import pytest

from tests.support.command_line import CommandLine, ServeCommand
from tests.support.databases import POSTGRESQL, SQLITE, Database
from tests.support.long_cases import first_of

AGENTS: Final = """
import asyncio
import sys
import time
from pathlib import Path

from outlast import Agent, Context, agent, tool

SEEN = Path(__file__).with_name("seen")


async def swallow() -> None:
    seen()
    while True:
        try:
            await asyncio.sleep(1000)
        except asyncio.CancelledError:
            pass


def seen() -> None:
    with SEEN.open("a") as file:
        file.write("x")
    print("BEGUN", file=sys.stderr, flush=True)


def is_first() -> bool:
    return not SEEN.exists()


@tool(effect="read_only")
async def swallows() -> str:
    "Swallows its cancellation, the first time"
    if is_first():
        await swallow()
    return "at last"


@tool(effect="read_only", timeout=1)
async def late() -> str:
    "Swallows the cancellation of its timeout"
    await swallow()
    return "never"


@tool(effect="read_only")
def sleeps() -> str:
    "A thread that sleeps, the first time"
    if is_first():
        seen()
        time.sleep(1000)
    return "at last"


@tool(effect="read_only")
async def threads() -> str:
    "A thread of the loop's own pool, the first time"
    if is_first():
        seen()
        await asyncio.to_thread(time.sleep, 1000)
    return "at last"


@tool(effect="read_only")
async def blocks() -> str:
    "Blocks the event loop, the first time"
    if is_first():
        seen()
        time.sleep(1000)
    return "at last"


@tool(effect="read_only")
async def spins() -> str:
    "Keeps the event loop busy, the first time"
    if is_first():
        seen()
        while True:
            pass
    return "at last"


def asks(_arguments: dict[str, object]) -> bool:
    if is_first():
        seen()
        time.sleep(1000)
    return False


@tool(effect="read_only", approval=asks)
def needs_approval() -> str:
    "The function of its approval blocks, the first time"
    return "at last"


@agent(model="scripted:calls.yaml")
async def code(ctx: Context, given: str) -> str:
    if is_first():
        await swallow()
    return "at last"


@agent(model="scripted:calls.yaml")
async def spinning(ctx: Context, given: str) -> str:
    if not is_first():
        return "at last"
    seen()
    while True:
        try:
            await ctx.emit("n", 1)
            await asyncio.sleep(1000)
        except asyncio.CancelledError:
            pass


tools = [swallows, late, sleeps, threads, blocks, spins, needs_approval]
agents = [Agent("main", model="scripted:calls.yaml", tools=tools), code, spinning]
"""
BLOCKING: Final = ("blocks", "spins", "needs_approval")
CALLS: Final = "turns:\n" + "".join(
    f"  - when: {name}\n    steps:\n"
    f"      - tool_calls: [{{name: {name}, parameters: {{}}}}]\n"
    f"        delay_ms: {500 if name in BLOCKING else 0}\n"
    f"      - text: '{{result}}'\n"
    for name in ("swallows", "late", "sleeps", "threads", *BLOCKING)
)
SHAPES: Final = {
    "an async tool": ("main", "swallows"),
    "a code agent": ("code", "go"),
    "a code agent that calls again and again": ("spinning", "go"),
    "a tool in a thread": ("main", "sleeps"),
    "a thread of a tool": ("main", "threads"),
}
DRAIN: Final = 1
MOST: Final = DRAIN + 45
"""Seconds until the process has left, on a busy machine; its code says how it did."""
MOST_BLOCKED: Final = MOST + 15
"""The same where it cannot leave by itself."""


@pytest.fixture
def command_line(command_line: CommandLine) -> CommandLine:
    (command_line.folder / "agents.py").write_text(AGENTS)
    (command_line.folder / "calls.yaml").write_text(CALLS)
    command_line.environment |= {
        "OUTLAST_AGENTS": "agents.py",
        "OUTLAST_DRAIN_SECONDS": str(DRAIN),
        "OUTLAST_LOG_FORMAT": "json",
    }
    return command_line


def _begin(client: httpx2.Client, agent: str, said: str) -> str:
    path = f"/v1/agents/{agent}/execute"
    execution: str = client.post(path, json={"input": said, "background": True}).json()["id"]
    return execution


def _ends(server: ServeCommand, key: str, execution: str) -> str:
    client = server.client(key)
    client.get(f"/v1/executions/{execution}/stream")
    found = client.get(f"/v1/executions/{execution}").json()
    assert found["status"] == "completed", found
    output: str = found["output"]
    return output


@pytest.mark.parametrize("shape", SHAPES)
def test_sigterm_ends_the_process_and_the_next_start_takes_the_execution_up(
    command_line: CommandLine, shape: str
) -> None:
    server = command_line.serve()
    execution = _begin(server.client(command_line.key), *SHAPES[shape])
    server.process.err.until("BEGUN")

    began = time.monotonic()
    code, _, err = server.stop(signal.SIGTERM)

    assert code == 0
    assert time.monotonic() - began < MOST
    assert err.count('"process.left_behind"') == 1
    assert _ends(command_line.serve(), command_line.key, execution) == "at last"


@pytest.mark.only(SQLITE)
@pytest.mark.parametrize("said", first_of(BLOCKING))
def test_sigterm_ends_a_process_whose_event_loop_is_blocked(
    command_line: CommandLine, said: str
) -> None:
    server = command_line.serve()
    execution = _begin(server.client(command_line.key), "main", said)
    server.process.err.until("BEGUN")

    began = time.monotonic()
    code, _, err = server.stop(signal.SIGTERM)

    assert code == 1
    assert DRAIN < time.monotonic() - began < MOST_BLOCKED
    assert err.count('"process.blocked"') == 1
    assert "agents.py:" in err
    assert _ends(command_line.serve(), command_line.key, execution) == "at last"


@pytest.mark.only(SQLITE)
def test_a_second_signal_ends_a_process_whose_event_loop_is_blocked(
    command_line: CommandLine,
) -> None:
    server = command_line.serve()
    execution = _begin(server.client(command_line.key), "main", "blocks")
    server.process.err.until("BEGUN")

    server.process.signal(signal.SIGTERM)
    began = time.monotonic()
    code, _, _ = server.stop(signal.SIGINT)

    # SIGABRT, by the child, if the second signal came in the moment before the process slept again.
    assert code in (128 + signal.SIGTERM, 128 + signal.SIGINT, -signal.SIGABRT)
    assert time.monotonic() - began < MOST
    assert _ends(command_line.serve(), command_line.key, execution) == "at last"


@pytest.mark.only(POSTGRESQL)
def test_sigterm_ends_a_worker_whose_event_loop_is_blocked(
    command_line: CommandLine,
) -> None:
    server = command_line.serve("--no-worker")
    worker = command_line.work()
    execution = _begin(server.client(command_line.key), "main", "blocks")
    worker.err.until("BEGUN")

    began = time.monotonic()
    worker.signal(signal.SIGTERM)
    code, _, err = worker.wait()

    assert code == 1
    assert time.monotonic() - began < MOST_BLOCKED
    assert '"process.blocked"' in err
    command_line.work()
    assert _ends(server, command_line.key, execution) == "at last"


def test_sigterm_ends_a_worker_that_a_tool_would_keep(
    command_line: CommandLine, database: Database
) -> None:
    if database.kind != POSTGRESQL:
        pytest.skip("a worker needs Postgres")
    server = command_line.serve("--no-worker")
    worker = command_line.work()
    execution = _begin(server.client(command_line.key), "main", "swallows")
    worker.err.until("BEGUN")

    began = time.monotonic()
    worker.signal(signal.SIGTERM)
    code, _, err = worker.wait()

    assert code == 0
    assert time.monotonic() - began < MOST
    assert '"process.left_behind"' in err
    command_line.work()
    assert _ends(server, command_line.key, execution) == "at last"


def test_a_tool_that_swallows_its_timeout_is_left_and_its_run_goes_on(
    command_line: CommandLine,
) -> None:
    server = command_line.serve()
    execution = _begin(server.client(command_line.key), "main", "late")

    assert "did not answer within 1 s" in _ends(server, command_line.key, execution)

    code, _, err = server.stop(signal.SIGTERM)
    assert code == 0
    assert '"tool.still_running"' in err
    assert '"process.left_behind"' in err


@pytest.mark.parametrize("agent", ["main", "code"])
def test_a_cancel_ends_an_execution_whose_function_swallows_it(
    command_line: CommandLine, agent: str
) -> None:
    server = command_line.serve()
    client = server.client(command_line.key)
    execution = _begin(client, agent, "swallows")
    server.process.err.until("BEGUN")

    client.post(f"/v1/executions/{execution}/cancel")
    client.get(f"/v1/executions/{execution}/stream")

    assert client.get(f"/v1/executions/{execution}").json()["status"] == "cancelled"


def test_a_clean_drain_leaves_nothing_behind(command_line: CommandLine) -> None:
    server = command_line.serve()
    (command_line.folder / "seen").touch()
    execution = _begin(server.client(command_line.key), "main", "sleeps")
    assert _ends(server, command_line.key, execution) == "at last"

    code, _, err = server.stop(signal.SIGTERM)

    assert code == 0
    assert "left_behind" not in err


@pytest.mark.parametrize("path", ["/v1/executions/{id}", "/v1/executions?full=true"])
def test_a_server_that_has_sent_large_answers_ends_at_once(
    command_line: CommandLine, path: str
) -> None:
    server = command_line.serve()
    (command_line.folder / "seen").touch()
    client = server.client(command_line.key)
    execution = _begin(client, "main", "sleeps")
    assert _ends(server, command_line.key, execution) == "at last"
    large = {"text": "x" * 300_000}
    begun = client.post("/v1/agents/main/execute", json={"input": "sleeps", "metadata": large})
    assert len(client.get(path.format(id=begun.json()["id"])).content) > 300_000

    code, _, err = server.stop(signal.SIGTERM)

    assert code == 0
    assert "left_behind" not in err
