"""A person is awaited below: the root shows it, its log says it, and it is decided anywhere."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from itertools import count

import pytest

from outlast import agent_tool
from outlast.agents.port import ModelRequest
from outlast.cli.executions import _view
from outlast.engine.maintenance.due_waits import DUE_WAITS
from outlast.model.agent import Effect, Expiry
from outlast.model.error import ApprovalNotFound, Conflict
from outlast.model.event import ApprovalRequested, ApprovalResolved, ToolFinished
from outlast.model.execution import OUR_MISTAKE, Execution, Status
from outlast.model.wait import Awaiting, Decision
from outlast.rooms.executions import render
from outlast.store.executions.values import ForcedFailure
from outlast.store.waits.above import MAX_RESULT_BYTES
from tests.support.databases import Database
from tests.support.models import Reply
from tests.support.tools import FakeTools, call, tool
from tests.support.trees import CHILD, MakeTeam, Play, Team, agent, heard, make_team
from tests.support.waiting import BOUND, until_found

pytestmark = pytest.mark.anyio

PAY = tool("pay", Effect.DESTRUCTIVE, approval=True)
YES, NO = Decision(approved=True), Decision(approved=False, reason="Too much.")


@pytest.fixture
async def team(database: Database) -> AsyncIterator[MakeTeam]:
    async with AsyncExitStack() as stack:
        yield make_team(database, stack)


def _calls(number: int, *names: str) -> Play:
    def play(request: ModelRequest) -> Reply:
        given = heard(request)
        if given:
            return [", ".join(map(str, given))]
        return [call(number + n, name, input="x") for n, name in enumerate(names)]

    return play


async def _asking(
    team: MakeTeam, gives: object = "paid", **more: object
) -> tuple[Team, list[Execution]]:
    """A root whose child's child awaits a person."""
    world = await team(
        {"lead": _calls(1, "middle"), "middle": _calls(2, "worker"), "worker": _calls(3, "pay")},
        agent("lead", agent_tool("middle")),
        agent("middle", agent_tool("worker")),
        agent("worker", replace(PAY, **more)),  # type: ignore[arg-type]
        tools=FakeTools(middle=CHILD, worker=CHILD, pay=lambda _: gives),
    )
    root = await world.start()
    return world, await _until_requested(world, root)


async def _until_requested(world: Team, root: str) -> list[Execution]:
    async def requested() -> bool:
        return (await world.get(root)).awaiting is Awaiting.PERSON

    await until_found(requested)
    return await world.all()


async def test_who_awaits_a_person_below_shows_as_suspended(team: MakeTeam) -> None:
    world, tree = await _asking(team)
    assert [one.awaiting for one in tree] == [Awaiting.PERSON] * 3
    assert [one.shown_status for one in tree] == [Status.SUSPENDED] * 3
    root, middle, worker = tree
    for one in (root, middle, worker):
        view = await world.executions.get(world.caller, one.id)
        (approval,) = [wait for wait in view.approvals if wait.is_open]
        assert (approval.execution_id, approval.tool_call_id) == (worker.id, call(3, "pay").id)
    rested = await world.executions.rest(world.caller, root.id, 5)
    assert rested.execution.status is Status.SUSPENDED, "a caller that waits has its answer"


@pytest.mark.parametrize("at", [0, 1, 2], ids=["root", "middle", "itself"])
@pytest.mark.parametrize(
    ("decision", "output"),
    [(YES, "paid"), (NO, "The call was denied; the tool did not run. Reason: Too much.")],
    ids=["approved", "denied"],
)
async def test_an_approval_is_decided_at_any_execution_above(
    team: MakeTeam, at: int, decision: Decision, output: str
) -> None:
    world, tree = await _asking(team)
    approvals, calls = world.core.services.approvals, call(3, "pay").id
    decided = await approvals.decide(world.caller, tree[at].id, calls, decision)
    assert decided.execution_id == tree[2].id
    assert (await world.until(tree[0].id)).output == output
    again = await approvals.decide(world.caller, tree[2].id, calls, decision)
    assert again.approved is decision.approved
    contrary = Decision(approved=not decision.approved)
    with pytest.raises(Conflict):
        await approvals.decide(world.caller, tree[at].id, calls, contrary)
    with pytest.raises(ApprovalNotFound):
        await approvals.decide(world.caller, tree[0].id, call(9, "pay").id, decision)


async def test_the_roots_log_has_the_approval_and_the_decision_with_the_childs_id(
    team: MakeTeam,
) -> None:
    world, (root, middle, worker) = await _asking(team)
    await world.core.services.approvals.decide(world.caller, root.id, call(3, "pay").id, YES)
    await world.until(root.id)
    log = [entry.event for entry in await world.log(root.id)]
    (requested,) = [event for event in log if isinstance(event, ApprovalRequested)]
    (decided,) = [event for event in log if isinstance(event, ApprovalResolved)]
    assert (requested.execution_id, requested.name, requested.step) == (worker.id, "pay", 2)
    assert (decided.execution_id, decided.approved, decided.step) == (worker.id, True, 2)
    own = [entry.event for entry in await world.log(worker.id)]
    assert [e.execution_id for e in own if isinstance(e, ApprovalRequested)] == [None]
    between = [entry.event.kind for entry in await world.log(middle.id)]
    assert "approval.requested" not in between


async def test_once_all_is_decided_below_those_above_await_the_child_again(
    team: MakeTeam,
) -> None:
    world = await team(
        {
            "lead": _calls(1, "worker"),
            "worker": _calls(3, "pay", "pay"),
        },
        agent("lead", agent_tool("worker")),
        agent("worker", PAY, agent_tool("slow")),
        agent("slow"),
        tools=FakeTools(worker=CHILD, pay=lambda _: "paid"),
    )
    root = await world.start()
    tree = await _until_requested(world, root)
    decide = world.core.services.approvals.decide
    await decide(world.caller, root, call(3, "pay").id, YES)
    assert (await world.get(root)).awaiting is Awaiting.PERSON, "another is open"
    await decide(world.caller, root, call(4, "pay").id, YES)
    assert (await world.get(root)).awaiting in (Awaiting.CHILD, None)
    assert (await world.until(root)).output == "paid, paid"
    assert (await world.get(tree[1].id)).status is Status.COMPLETED


async def test_two_children_that_ask_are_both_shown_and_decided(team: MakeTeam) -> None:
    plays: dict[str, Play] = {"lead": _calls(1, "one", "two")}
    plays |= {"one": _calls(3, "pay"), "two": _calls(4, "pay")}
    world = await team(
        plays,
        agent("lead", agent_tool("one"), agent_tool("two")),
        agent("one", PAY),
        agent("two", PAY),
        tools=FakeTools(one=CHILD, two=CHILD, pay=lambda _: "paid"),
    )
    root = await world.start()
    for child in await world.below(root, 2):
        await world.until(child.id, Status.SUSPENDED)
    await _until_requested(world, root)
    view = await world.executions.get(world.caller, root)
    assert len([wait for wait in view.approvals if wait.is_open]) == 2
    for number in (3, 4):
        assert (await world.get(root)).awaiting is Awaiting.PERSON
        decide = world.core.services.approvals.decide
        await decide(world.caller, root, call(number, "pay").id, YES)
    assert (await world.until(root)).output == "paid, paid"


async def test_an_approval_below_that_expires_is_said_once_in_the_roots_log(
    team: MakeTeam,
) -> None:
    world, (root, *_) = await _asking(team, expiry=Expiry(60.0, approve=False))
    world.clock.advance(61)
    await world.core.maintenance.run(DUE_WAITS)
    ended = await world.until(root.id)
    assert ended.output is not None
    assert "not approved in time" in ended.output
    log = [entry.event for entry in await world.log(root.id)]
    (decided,) = [event for event in log if isinstance(event, ApprovalResolved)]
    assert (decided.approved, decided.decided_by) == (False, None)


async def test_a_child_that_is_paused_while_it_asks_does_not_ask_above(team: MakeTeam) -> None:
    world, (root, middle, worker) = await _asking(team)
    await world.executions.pause(world.caller, worker.id)
    assert [(await world.get(one.id)).awaiting for one in (root, middle)] == [Awaiting.CHILD] * 2
    await world.executions.resume(world.caller, worker.id)
    assert [(await world.get(one.id)).awaiting for one in (root, middle)] == [Awaiting.PERSON] * 2


async def test_cancelling_the_child_that_asks_wakes_those_above(team: MakeTeam) -> None:
    world, (root, _, worker) = await _asking(team)
    await world.executions.cancel(world.caller, worker.id)
    assert (await world.until(root.id)).output == "The agent's execution was cancelled."


async def test_what_is_read_beside_the_server_has_the_approvals_below_too(team: MakeTeam) -> None:
    world, tree = await _asking(team)
    for one in tree:
        offline = await _view(world.store, one)
        shown = await world.executions.get(world.caller, one.id)
        assert render.execution(offline) == render.execution(shown)
        assert [wait.execution_id for wait in offline.approvals] == [tree[2].id]


async def _approvals_shown(world: Team, tree: list[Execution]) -> list[list[str]]:
    views = [await world.executions.get(world.caller, one.id) for one in tree]
    return [[wait.execution_id for wait in view.approvals if wait.is_open] for view in views]


async def test_the_approval_of_a_paused_child_is_shown_and_decided_above(team: MakeTeam) -> None:
    world, tree = await _asking(team)
    root, _, worker = tree
    await world.executions.pause(world.caller, worker.id)
    assert await _approvals_shown(world, tree) == [[worker.id]] * 3
    listed = await world.store.waits.of_each(root.workspace_id, [one.id for one in tree])
    assert [[w.name for w in waits if w.is_approval] for waits in listed.values()] == [["pay"]] * 3
    await world.core.services.approvals.decide(world.caller, root.id, call(3, "pay").id, YES)
    assert await _approvals_shown(world, tree) == [[]] * 3
    await world.executions.resume(world.caller, worker.id)
    assert (await world.until(root.id)).output == "paid"


async def test_the_approval_of_a_child_that_runs_meanwhile_is_shown_above(team: MakeTeam) -> None:
    gate = asyncio.Event()
    world = await team(
        {"lead": _calls(1, "worker"), "worker": _calls(2, "pay", "look")},
        agent("lead", agent_tool("worker")),
        agent("worker", PAY, tool("look")),
        tools=FakeTools(worker=CHILD, pay=lambda _: "paid", look=lambda _: gate.wait()),
    )
    root = await world.start()
    (worker,) = await world.below(root, 1)
    async with asyncio.timeout(BOUND):
        while not (await _approvals_shown(world, [worker]))[0]:
            await asyncio.to_thread(int)
    assert (await world.get(worker.id)).status is Status.RUNNING
    assert await _approvals_shown(world, [await world.get(root)]) == [[worker.id]]
    gate.set()
    await _until_requested(world, root)


async def _cancel(world: Team, execution: Execution) -> None:
    await world.executions.cancel(world.caller, execution.id)


async def _delete(world: Team, execution: Execution) -> None:
    await world.executions.delete(world.caller, execution.id)


async def _fail(world: Team, execution: Execution) -> None:
    forced = ForcedFailure(execution.workspace_id, execution.id, 1, OUR_MISTAKE, resting=True)
    assert await world.store.executions.force_failure(forced)


async def _roll_back(world: Team, execution: Execution) -> None:
    """Behind the call; it is made again."""
    await world.executions.pause(world.caller, execution.id)
    first, *_ = await world.executions.checkpoints(world.caller, execution.id)
    await world.executions.resume(world.caller, execution.id, first.id)


@pytest.mark.parametrize("end", [_cancel, _delete, _fail])
@pytest.mark.parametrize("depth", [1, 2])
async def test_an_approval_below_is_withdrawn_in_the_roots_log_when_what_requested_it_ends(
    team: MakeTeam, end: Callable[[Team, Execution], Awaitable[None]], depth: int
) -> None:
    world, tree = await _asking(team)
    root, _, worker = tree
    await end(world, tree[depth])
    await world.until(root.id)
    log = [entry.event for entry in await world.log(root.id)]
    (decided,) = [event for event in log if isinstance(event, ApprovalResolved)]
    assert (decided.execution_id, decided.approved, decided.step) == (worker.id, False, 2)
    assert decided.reason == "The execution has ended, or was rolled back."


async def test_an_approval_below_is_withdrawn_when_the_child_is_rolled_back_behind_it(
    team: MakeTeam,
) -> None:
    numbers = count(10)

    def worker(request: ModelRequest) -> Reply:
        given = heard(request)
        return [call(next(numbers), "pay" if given else "look")] if given != ["paid"] else ["Paid."]

    world = await team(
        {"lead": _calls(1, "worker"), "worker": worker},
        agent("lead", agent_tool("worker")),
        agent("worker", PAY, tool("look")),
        tools=FakeTools(worker=CHILD, pay=lambda _: "paid", look=lambda _: "seen"),
    )
    root = await world.start()
    *_, below = await _until_requested(world, root)
    await _roll_back(world, below)
    async with asyncio.timeout(BOUND):
        while len(await _of_log(world, root)) < 3:
            await asyncio.to_thread(int)
    requested, withdrawn, again = await _of_log(world, root)
    assert isinstance(requested, ApprovalRequested)
    assert isinstance(withdrawn, ApprovalResolved)
    assert isinstance(again, ApprovalRequested)
    assert withdrawn.tool_call_id == requested.tool_call_id != again.tool_call_id
    await world.core.services.approvals.decide(world.caller, root, again.tool_call_id, YES)
    assert (await world.until(root)).output == "Paid."


async def _of_log(world: Team, root: str) -> list[object]:
    events = [entry.event for entry in await world.log(root)]
    return [e for e in events if isinstance(e, ApprovalRequested | ApprovalResolved)]


async def test_of_two_children_the_one_that_is_cancelled_requests_nothing_any_more(
    team: MakeTeam,
) -> None:
    numbers = count(3)
    world = await team(
        {
            "lead": _calls(1, "worker", "worker"),
            "worker": lambda _: [call(next(numbers), "pay", input="x")],
        },
        agent("lead", agent_tool("worker")),
        agent("worker", PAY),
        tools=FakeTools(worker=CHILD, pay=lambda _: "paid"),
    )
    root = await world.start()
    first, second = await world.below(root, 2)
    for one in (first.id, second.id, root):
        await world.until(one, Status.SUSPENDED)
    await world.executions.cancel(world.caller, first.id)
    view = await world.executions.get(world.caller, root)
    assert [wait.execution_id for wait in view.approvals] == [second.id]


async def test_a_call_that_was_approved_and_is_cut_off_is_resolved_once_in_the_root(
    team: MakeTeam,
) -> None:
    begun, gate = asyncio.Event(), asyncio.Event()

    async def pay() -> str:
        begun.set()
        await gate.wait()
        return "paid"

    world = await team(
        {"lead": _calls(1, "worker"), "worker": _calls(3, "pay")},
        agent("lead", agent_tool("worker")),
        agent("worker", PAY),
        tools=FakeTools(worker=CHILD, pay=lambda _: pay()),
    )
    root = await world.start()
    (worker,) = await world.below(root, 1)
    await world.until(worker.id, Status.SUSPENDED)
    await world.core.services.approvals.decide(world.caller, root, call(3, "pay").id, YES)
    async with asyncio.timeout(BOUND):
        await begun.wait()
    await world.executions.cancel(world.caller, worker.id)
    await world.until(root)
    resolved = [e.event for e in await world.log(root) if isinstance(e.event, ApprovalResolved)]
    assert [(one.execution_id, one.approved) for one in resolved] == [(worker.id, True)]


@pytest.mark.parametrize(
    ("letter", "number", "whole"),
    [
        ("x", MAX_RESULT_BYTES - len('["",1]'), True),
        ("x", MAX_RESULT_BYTES - len('["",1]') + 1, False),
        ("ß", MAX_RESULT_BYTES // 2 - 3, True),
        ("ß", MAX_RESULT_BYTES // 2, False),
    ],
)
async def test_the_log_of_the_root_cuts_a_result_below_beyond_its_bound_in_bytes(
    team: MakeTeam, letter: str, number: int, *, whole: bool
) -> None:
    result = [letter * number, 1]
    world, (root, _, worker) = await _asking(team, result)
    await world.core.services.approvals.decide(world.caller, root.id, call(3, "pay").id, YES)
    await world.until(root.id)
    events = [entry.event for entry in await world.log(root.id)]
    (shown,) = [e.result for e in events if isinstance(e, ToolFinished) and e.execution_id]
    if whole:
        assert shown == result
    else:
        assert shown.startswith(f'["{letter}{letter}')
        assert len(shown.encode()) <= MAX_RESULT_BYTES
    assert await world.results(worker.id) == [result], "the child's own step has all of it"
