"""The fold: frames are a function of the log alone, and its last frame is what GET answers."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outlast.agents.port import ModelRequest
from outlast.model.agent import Effect
from outlast.model.error import ModelRejected, ModelUnavailable
from outlast.model.event import (
    START,
    ApprovalRequested,
    ApprovalResolved,
    ChildFinished,
    Cursor,
    Entry,
    Event,
    ExecutionCancelled,
    ExecutionCompleted,
    ExecutionCreated,
    ExecutionFailed,
    ExecutionPaused,
    ExecutionStarted,
    ModelFinished,
    StepRetried,
    TextAdded,
    ThinkingAdded,
    ToolFinished,
    ToolStarted,
)
from outlast.rooms.executions.stream import FRAME_TYPES, Fold
from outlast.testing import NamedModels, owner
from tests.support.api import Api, MakeApi, frames, kinds
from tests.support.clocks import TickingClock
from tests.support.crashes import Crash
from tests.support.databases import Database
from tests.support.engine import start_request
from tests.support.models import FakeModel, Reply, by_turn
from tests.support.tools import FakeTools, call, spec, tool
from tests.support.waiting import BOUND, between_looks, lives_until

ID = "exec_01k6zj3t7hf2a9q1x5m8r4c0vb"
steps = st.integers(1, 4)
calls = st.sampled_from(["tc_1", "tc_2"])
json = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=4,
)
objects = st.dictionaries(st.text(max_size=3), json, max_size=2)
pieces = st.text(min_size=1, max_size=8).map(lambda text: (text,))
middles = st.one_of(
    st.builds(TextAdded, steps, st.just(0), pieces),
    st.builds(ThinkingAdded, steps, st.just(0), pieces),
    st.builds(ModelFinished, steps, st.just("m"), st.just("stop"), steps, steps),
    st.builds(ToolStarted, steps, calls, st.just("t"), objects),
    st.builds(ToolFinished, steps, calls, st.just("t"), json, st.booleans(), steps),
    st.builds(StepRetried, steps, st.just("why")),
    st.builds(ApprovalRequested, steps, calls, st.just("t"), objects, st.just("approval")),
    st.just(ExecutionStarted()),
)
ends = st.one_of(
    st.just(ExecutionCompleted()),
    st.just(ExecutionCancelled()),
    st.builds(ExecutionFailed, st.just("t"), st.just("c"), st.text(max_size=5)),
)


def as_log(metadata: dict[str, Any], body: list[Event], end: Event) -> list[Entry]:
    events: list[Event] = [ExecutionCreated("agt_1", 1, "conv_1", metadata), *body, end]
    segment, log = 0, []
    for seq, event in enumerate(events, 1):
        segment += isinstance(event, ExecutionStarted)
        log.append(Entry(segment, seq, 1_000 + 7 * seq, event))
    return log


@given(objects, st.lists(middles, max_size=12), ends, st.randoms(use_true_random=False))
def test_a_cut_anywhere_and_batches_of_any_size_give_the_uncut_bytes(
    metadata: dict[str, Any], body: list[Event], end: Event, random: Any
) -> None:
    log = as_log(metadata, body, end)
    whole = Fold(ID).frames(log)
    piece_by_piece = Fold(ID)
    assert b"".join(piece_by_piece.frames([entry]) for entry in log) == whole
    seen = b""
    live = Fold(ID)
    for entry in log:
        seen += live.frames([entry])
        again = Fold(ID, entry.cursor)
        cut = random.randrange(len(log) + 1)
        assert seen + again.frames(log[:cut]) + again.frames(log[cut:]) == whole


@given(objects, st.lists(middles, max_size=12), ends)
def test_every_frame_is_one_line_of_json_under_a_growing_id(
    metadata: dict[str, Any], body: list[Event], end: Event
) -> None:
    found = frames(Fold(ID).frames(as_log(metadata, body, end)))
    cursors = [Cursor.parse(cursor) for cursor, _ in found]
    assert cursors == sorted(set(cursors))
    assert {data["type"] for _, data in found} <= set(FRAME_TYPES)
    assert found[0][1]["type"] == "start"
    assert found[-1][1]["type"] in ("done", "error")
    assert all(cursor > START for cursor in cursors)


REPLIES = by_turn(
    ["Let ", "me ", "look. ", call(1, "look"), call(2, "look")],
    ["Again. ", call(3, "look")],
    ["All ", "well."],
)


async def same_as_get(api: Api, execution_id: str) -> dict[str, Any]:
    execution = await api.rested(execution_id)
    stream = await api.get(f"/v1/executions/{execution_id}/stream")
    assert frames(stream.content)[-1][1]["execution"] == execution
    return execution


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("last", "status"),
    [(["All ", "well."], "completed"), ([], "completed"), ([ModelRejected("No.")], "failed")],
)
async def test_the_last_frame_is_what_get_answers(
    make_api: MakeApi, last: list[Any], status: str
) -> None:
    replies = by_turn(["Let ", "me.", call(1, "look"), call(2, "look")], last)
    api = await make_api(
        FakeModel(replies),
        spec(tool("look")),
        FakeTools(look=lambda _: {"a": 1}),
        clock=TickingClock(),
    )
    execution_id = await api.started(metadata={"a": [1]})
    execution = await same_as_get(api, execution_id)
    assert execution["status"] == status
    assert len(execution["toolCalls"]) == 2
    assert execution["timing"]["firstTokenMs"] > 0


@pytest.mark.anyio
async def test_text_of_a_request_that_was_made_again_is_void(make_api: MakeApi) -> None:
    def play(_: ModelRequest) -> Reply:
        return ["right"] if len(model.requests) > 1 else ["wrong ", ModelUnavailable("Gone.")]

    model = FakeModel(play)
    api = await make_api(model)
    stream = await api.execute({"input": "Hi", "stream": True})
    found = frames(stream.content)
    assert kinds(found) == ["start", "text_delta", "retry", "text_delta", "done"]
    assert found[2][1] == {"type": "retry", "step": 1}
    execution = await same_as_get(api, found[0][1]["executionId"])
    assert execution["output"] == "right"


@pytest.mark.anyio
@pytest.mark.parametrize("commits_last", [False, True])
@pytest.mark.parametrize("writes", range(1, 12))
async def test_the_last_frame_is_what_get_answers_after_a_crash_at_any_commit(
    make_api: MakeApi, database: Database, writes: int, *, commits_last: bool
) -> None:
    crash = Crash(writes, commits_last=commits_last)
    agent, tools = spec(tool("look", Effect.IDEMPOTENT)), FakeTools(look=lambda _: 1)
    models = NamedModels({"actor": FakeModel(REPLIES)})
    clock = TickingClock()
    async with database.core(models=models, tools=tools, clock=clock, store=crash.store) as core:
        caller = await owner(core)
        await core.services.agents.put(caller.workspace_id, [(agent, "1")])
        started = await core.services.executions.start(caller, "agent", start_request())
        resting = core.services.executions.rest(caller, started.execution.id)
        await lives_until(crash.happened, resting)
    later = TickingClock(clock.now() + 1_000)
    api = await make_api(FakeModel(REPLIES), agent, tools, clock=later)
    execution = await same_as_get(api, started.execution.id)
    assert execution["output"] == "All well."
    assert len(execution["toolCalls"]) == 3


@pytest.mark.parametrize(
    "others",
    [
        ChildFinished(1, "tc_1", ID, "cancelled"),
        ApprovalRequested(1, "tc_2", "pay", {}, "approval", ID),
        ApprovalResolved(1, "tc_2", approved=False, execution_id=ID),
        ToolFinished(1, "tc_2", "pay", "paid", is_error=False, duration_ms=1, execution_id=ID),
    ],
    ids=lambda event: event.kind,
)
def test_what_is_logged_of_those_below_notes_no_first_token_of_a_worker_that_died(
    others: Event,
) -> None:
    shown: list[Event] = [ExecutionStarted(), TextAdded(1, 0, ("Hm",)), others]
    died: list[Event] = [*shown, ExecutionStarted(), StepRetried(1, "It died.")]
    ended: list[Event] = [*shown, ModelFinished(1, "m", "cancelled", 1, 1)]
    paused: list[Event] = [*shown, ExecutionPaused(None)]
    cut: list[Event] = [*shown, ExecutionPaused(None, 1, 1)]
    cases = ((died, None), (shown, None), (ended, 14), (paused, None), (cut, 14))
    for body, expected in cases:
        log = as_log({}, body, ExecutionCancelled())
        _, last = frames(Fold(ID).frames(log))[-1]
        assert last["execution"]["timing"]["firstTokenMs"] == expected


def _row_is_broken(database: Database, execution_id: str) -> None:
    database.rows(f"UPDATE executions SET budget = '[1]' WHERE id = '{execution_id}'")


def _tries_are_used_up(database: Database, execution_id: str) -> None:
    database.rows(f"UPDATE executions SET tries = 99 WHERE id = '{execution_id}'")


@pytest.mark.anyio
@pytest.mark.parametrize("happens", [_row_is_broken, _tries_are_used_up])
async def test_the_last_frame_is_what_get_answers_if_no_segment_begins_after_a_crash_within_text(
    make_api: MakeApi, database: Database, happens: Callable[[Database, str], None]
) -> None:
    crash, gate = Crash(transactions=None), asyncio.Event()
    models = NamedModels({"actor": FakeModel(lambda _: ["Hm, ", gate, "well."])})
    clock = TickingClock()
    async with database.core(models=models, clock=clock, store=crash.store) as core:
        caller = await owner(core)
        await core.services.agents.put(caller.workspace_id, [(spec(), "1")])
        run = (await core.services.executions.start(caller, "agent", start_request())).execution.id
        async for entries in core.services.executions.follow(caller, run):
            if any(isinstance(entry.event, TextAdded) for entry in entries):
                break
        crash.after(0)
        gate.set()
        await lives_until(crash.happened, core.services.executions.rest(caller, run))
    happens(database, run)
    api = await make_api(FakeModel(REPLIES), clock=TickingClock(clock.now() + 1_000))
    ended = "SELECT status FROM executions WHERE completed_at IS NOT NULL"
    async with asyncio.timeout(BOUND):
        while not database.rows(ended):
            await between_looks()
    database.rows(f"UPDATE executions SET budget = '{{}}' WHERE id = '{run}'")
    execution = await same_as_get(api, run)
    assert execution["status"] == "failed"
    assert execution["timing"]["firstTokenMs"] is None
