"""The tool server and gate that the crash figure relies on, as a process of its own."""

import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest
from bench.client import Answer, ask_once, get, post
from bench.process import Child

pytestmark = pytest.mark.anyio


@pytest.fixture
async def workshop(tmp_path: Path) -> AsyncGenerator[Child, None]:
    child = Child.module("bench.workshop", tmp_path / "log")
    await child.listening()
    yield child
    await child.stop()


async def test_calls_are_counted_by_their_key(workshop: Child) -> None:
    call = post("/tools/lookup_order", {"orderId": "A-1"})
    keyed = call.replace(b"\r\n\r\n", b"\r\nIdempotency-Key: tc_1\r\n\r\n", 1)
    for request in (call, keyed, keyed):
        assert (await ask_once(workshop.port, request)).json()["status"] == "shipped"
    counts = (await ask_once(workshop.port, get("/counts"))).json()
    assert counts == {"calls": {"": 1, "tc_1": 2}, "held": 0}


async def test_the_second_turn_waits_for_the_gate(workshop: Child) -> None:
    first = await ask_once(workshop.port, _turn(0))
    assert b"lookup_order" in first.body
    async with asyncio.TaskGroup() as tasks, asyncio.timeout(5):
        second = tasks.create_task(ask_once(workshop.port, _turn(1)))
        while (await ask_once(workshop.port, get("/counts"))).json()["held"] < 1:
            assert not second.done()
        await ask_once(workshop.port, post("/gate", {}))
        assert b"lookup_order" in (await second).body
    last: Answer = await ask_once(workshop.port, _turn(2))
    assert b'"lorem"' in last.body
    assert last.body.endswith(b"data: [DONE]\n\n")


async def test_a_child_is_measured_and_killed(workshop: Child) -> None:
    assert workshop.memory() > 1_000_000
    assert workshop.cpu_seconds() > 0
    workshop.kill()
    assert workshop.memory() == 0
    with pytest.raises(OSError):
        await ask_once(workshop.port, get("/counts"))


def _turn(done: int) -> bytes:
    messages: list[dict[str, Any]] = [{"role": "user", "content": "?"}]
    messages += [{"role": "tool", "content": "{}"} for _ in range(done)]
    return post("/v1/chat/completions", {"messages": messages, "stream": True})
