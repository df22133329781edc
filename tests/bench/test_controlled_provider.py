"""The tool server and gate that the crash figure relies on, as a process of its own."""

import asyncio
import time
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest
from bench.client import Answer, Connection, ConnectionCut, ask_once, get, post
from bench.controlled_provider import TIME_WORD
from bench.process import Child

pytestmark = pytest.mark.anyio


@pytest.fixture
async def controlled(tmp_path: Path) -> AsyncGenerator[Child, None]:
    child = Child.module("bench.controlled_provider", tmp_path / "log")
    await child.listening()
    yield child
    await child.stop()


async def test_calls_are_counted_by_their_key(controlled: Child) -> None:
    call = post("/tools/lookup_order", {"orderId": "A-1"})
    keyed = call.replace(b"\r\n\r\n", b"\r\nIdempotency-Key: tc_1\r\n\r\n", 1)
    for request in (call, keyed, keyed):
        assert (await ask_once(controlled.port, request)).json()["status"] == "shipped"
    counts = (await ask_once(controlled.port, get("/counts"))).json()
    assert counts == {"calls": {"": 1, "tc_1": 2}, "held": 0, "cuts": {}, "silent": []}


async def test_the_second_turn_waits_for_the_gate(controlled: Child) -> None:
    first = await ask_once(controlled.port, _turn(0))
    assert b"lookup_order" in first.body
    async with asyncio.TaskGroup() as tasks, asyncio.timeout(5):
        second = tasks.create_task(ask_once(controlled.port, _turn(1)))
        while (await ask_once(controlled.port, get("/counts"))).json()["held"] < 1:
            assert not second.done()
        await ask_once(controlled.port, post("/gate", {"open": True}))
        assert b"lookup_order" in (await second).body
    last: Answer = await ask_once(controlled.port, _turn(2))
    assert b'"lorem"' in last.body
    assert last.body.endswith(b"data: [DONE]\n\n")


async def test_so_many_steps_are_half_requests_and_half_calls(controlled: Child) -> None:
    steps = done = 0
    while True:
        answer = await ask_once(controlled.port, _turn(done, "steps-10"))
        calls = answer.body.count(b'"lookup_order"')
        steps += 1 + calls
        done += calls
        if not calls:
            break
    assert b'"lorem"' in answer.body
    assert (done, steps) == (5, 10)


async def test_a_closed_gate_holds_back_again(controlled: Child) -> None:
    await ask_once(controlled.port, post("/gate", {"open": True}))
    await ask_once(controlled.port, post("/gate", {"open": False}))
    async with asyncio.TaskGroup() as tasks, asyncio.timeout(5):
        held = tasks.create_task(ask_once(controlled.port, _turn(1)))
        while (await _counts(controlled))["held"] < 1:
            assert not held.done()
        await ask_once(controlled.port, post("/gate", {"open": True}))


async def test_a_clock_says_when_it_says_each_word(controlled: Child) -> None:
    received: list[tuple[float, bytes]] = []
    connection = await Connection.open(controlled.port)
    before = time.monotonic()
    await connection.ask(_ask("clock-4-delay-20"), lambda c: received.append((time.monotonic(), c)))
    connection.close()
    words = [(at, float(sent)) for at, chunk in received for sent in TIME_WORD.findall(chunk)]
    assert len(words) == 4
    assert all(sent <= at for at, sent in words)
    times = [before, *(sent for _, sent in words)]  # two words may come at once, and late
    assert times == sorted(times)
    assert [sent for _, sent in words][-1] - words[0][1] > 0.05
    at_once = await ask_once(controlled.port, _ask("clock-3"))
    assert len(TIME_WORD.findall(at_once.body)) == 3
    assert at_once.body.endswith(b"data: [DONE]\n\n")


async def test_a_silent_answer_notes_when_it_is_cut_off(controlled: Child) -> None:
    spoke = asyncio.Event()
    connection = await Connection.open(controlled.port)
    asking = asyncio.create_task(connection.ask(_ask("silent"), lambda _: spoke.set()))
    async with asyncio.timeout(5):
        await spoke.wait()
        assert (await _counts(controlled))["cuts"] == {}
        before = time.monotonic()
        connection.close()
        while not (cuts := (await _counts(controlled))["cuts"]):
            pass
    assert before <= cuts["?"] <= time.monotonic()
    with pytest.raises(ConnectionCut):
        await asking


async def test_a_child_is_measured_and_killed(controlled: Child) -> None:
    assert controlled.memory() > 1_000_000
    assert controlled.cpu_seconds() > 0
    controlled.kill()
    assert controlled.memory() == 0
    with pytest.raises(OSError):
        await ask_once(controlled.port, get("/counts"))


def _turn(done: int, model: str = "turns") -> bytes:
    messages: list[dict[str, Any]] = [{"role": "user", "content": "?"}]
    messages += [{"role": "tool", "content": "{}"} for _ in range(done)]
    body = {"model": model, "messages": messages, "stream": True}
    return post("/v1/chat/completions", body)


def _ask(model: str) -> bytes:
    messages = [{"role": "user", "content": "?"}]
    return post("/v1/chat/completions", {"model": model, "messages": messages, "stream": True})


async def _counts(controlled: Child) -> Any:
    return (await ask_once(controlled.port, get("/counts"))).json()
