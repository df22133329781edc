"""Resume an execution from a checkpoint.

Resume, roll back and recover are one operation: the row becomes what it was at the checkpoint, work
after it is superseded, and the next segment is requested. Usage stays charged.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from operator import add
from typing import Any

from outlast.model.budget import Reservation
from outlast.model.checkpoint import Checkpoint
from outlast.model.error import CheckpointNotFound, Conflict, ConversationBusy
from outlast.model.event import (
    Event,
    ExecutionPaused,
    ExecutionResumed,
    ExecutionStarted,
    ExecutionSuspended,
    StepRetried,
)
from outlast.model.event_codec import decode
from outlast.model.execution import TERMINAL, Execution, ModelStep, Status, Step, ToolStep
from outlast.model.steps import next_number, unanswered
from outlast.model.task import Task
from outlast.model.usage import NO_USAGE
from outlast.model.wait import Awaiting, Wait, awaited
from outlast.store.checkpoints import SUPERSEDE_CHECKPOINT, known_checkpoints
from outlast.store.driver import Part, Query, Transaction, TransactionResult
from outlast.store.executions.below import Live, UnreadChild
from outlast.store.executions.children import (
    NOTHING,
    Effects,
    fail_unread_child,
    supersede_children,
)
from outlast.store.executions.locks import locked_tree
from outlast.store.executions.log import LAST_EVENT, append
from outlast.store.executions.pauses import has_no_place, withdraw
from outlast.store.executions.read import details_of
from outlast.store.executions.rows import execution_of, resume_columns
from outlast.store.executions.spending import release_all
from outlast.store.executions.statements import LIVE_IN_CONVERSATION, RESUME_EXECUTION
from outlast.store.executions.steps import STEPS, SUPERSEDE_STEP, step_of
from outlast.store.executions.values import Details, Resume
from outlast.store.listeners import Committed
from outlast.store.tasks.rows import resumed, task_of
from outlast.store.waits.above import tell_above, tell_root, withdrawn
from outlast.store.waits.again import only_waits, wait_again
from outlast.store.waits.shown import shown_again
from outlast.store.waits.store import waits_of

PAUSED = "The execution was paused while this step ran."


@dataclass(frozen=True, slots=True)
class _Past:
    """An execution as of a checkpoint."""

    checkpoint: Checkpoint | None
    """None: before the first step."""
    steps: tuple[Step, ...]
    """Steps recorded by then."""
    void: tuple[Step, ...]
    """Steps to be superseded."""
    state: dict[str, Any]

    @property
    def step(self) -> int:
        return 0 if self.checkpoint is None else self.checkpoint.step

    @property
    def missing(self) -> list[int]:
        return [] if self.checkpoint is None else list(self.checkpoint.missing)


def resume(request: Resume) -> Transaction[Details]:
    """Lock, go back to the checkpoint, and let the next segment begin or wait."""
    execution, live = yield from locked_tree(request.workspace_id, request.execution_id)
    _require_resumable(execution, request)
    after, effects = yield from continued(execution, live, request)
    shown = yield from details_of(after)
    return TransactionResult(
        shown, effects.committed, effects.runnable, cancelled=effects.cancelled
    )


def continued(
    execution: Execution, live: Sequence[Live], request: Resume, *, tells_root: bool = True
) -> Part[tuple[Execution, Effects]]:
    """Continue a locked execution that no worker has, and what its pause has stopped.

    `live`: its live descendants, locked, the deepest first; `tells_root`: unless the root, which is
    being continued too, shows again what is requested below it.
    """
    waiting = yield from _must_wait(execution)
    task = yield from task_of(request.workspace_id, execution.id)
    known = yield from known_checkpoints(request.workspace_id, execution.id)
    chosen = _chosen(known, request.checkpoint_id)
    past = yield from _past(execution, known, chosen, _unsaved(execution, task, request))
    yield from _supersede(execution, known, past)
    reset = _more_time(_reset(execution, past, request.at), task)
    calls = unanswered(past.steps, reset.superseded_to)
    requested = (yield from withdrawn((execution,))) if execution.root_id is not None else []
    waits, void = yield from wait_again(execution, past.steps, past.void, calls, request.at)
    woken = yield from _wake_below(execution, live, void, request)
    if woken is not NOTHING:
        waits = yield from _as_awaited_now(execution, waits)
    rests = bool(calls) and only_waits(calls, waits)
    after = replace(
        reset,
        status=Status.SUSPENDED if rests else Status.QUEUED,
        awaiting=awaited(waits.values()) if rests else None,
        waiting=waiting and not rests,
    )
    if execution.is_client_driven:
        after = _running(reset, request.at)
    yield from resumed(task, after, again=request.again)
    retried = yield from _retried(execution, past, after)
    yield Query(RESUME_EXECUTION, resume_columns(after) | {"given_id": after.id})
    started = (ExecutionStarted(),) if execution.is_client_driven else ()
    asking = yield from shown_again(execution, calls, waits)
    if rests:
        asking.append(ExecutionSuspended(after.awaiting or Awaiting.PERSON))
    events = (_resumed(past, request), *started, *retried, *asking)
    entries = yield from append(after, request.at, events)
    effects = Effects((Committed(after.id, entries, after),)) + woken
    effects += yield from supersede_children(execution, void, live, request.at)
    if after.status is Status.QUEUED and not after.waiting:
        effects += Effects(runnable=(after,))
    if after.tool_call_id is not None:
        passed = yield from tell_above(execution, after)
        effects += Effects(tuple(passed))
    if after.tool_call_id is not None and tells_root:
        withdrawals = [event for event in requested if event.tool_call_id in void]
        withdrawals += yield from withdrawn(_called_by(execution, void, live))
        passed = yield from tell_root(after, (*withdrawals, *events), request.at)
        effects += Effects(tuple(passed))
    if after.reserved is None:
        yield from release_all(execution, request.at)
    return after, effects + (yield from _fail_unread_below(execution, live, request.at))


def _wake_below(
    execution: Execution, live: Sequence[Live], void: Sequence[str], request: Resume
) -> Part[Effects]:
    """Continue what the pause of an execution has stopped, the deepest first.

    Not what the calls in `void` have called: that is superseded.
    """
    if execution.status is not Status.PAUSED or not live:
        return NOTHING
    by = execution.paused_by or execution.id
    gone = {one.id for one in _called_by(execution, void, live)}
    effects = NOTHING
    for one in sorted(live, key=lambda one: (-one.depth, one.id)):
        if one.paused_by != by or one.id in gone:
            continue
        if isinstance(one, UnreadChild) and one.status is not Status.RUNNING:
            continue
        if isinstance(one, Execution) and one.status is Status.PAUSED:
            again = Resume(one.workspace_id, one.id, request.at, key_id=request.key_id)
            tells = execution.root_id is not None
            effects += (yield from continued(one, (), again, tells_root=tells))[1]
        else:
            yield withdraw(one)
    return effects


def _fail_unread_below(execution: Execution, live: Sequence[Live], at: int) -> Part[Effects]:
    """Fail what the pause of an execution has stopped and cannot be read, so never continues."""
    effects, by = NOTHING, execution.paused_by or execution.id
    for one in live:
        if (
            isinstance(one, UnreadChild)
            and one.paused_by == by
            and one.status is not Status.RUNNING
        ):
            effects += yield from fail_unread_child(one.workspace_id, one.id, at)
    return effects


def _called_by(execution: Execution, calls: Sequence[str], live: Sequence[Live]) -> list[Live]:
    """Return the live descendants that these calls of an execution have brought about."""
    found: dict[str, Live] = {}
    for one in reversed(live):  # parents first
        if one.parent_id in found or (one.parent_id == execution.id and one.tool_call_id in calls):
            found[one.id] = one
    return list(found.values())


def _as_awaited_now(execution: Execution, waits: dict[str, Wait]) -> Part[dict[str, Wait]]:
    """Return the waits with what their children await now."""
    found = yield from waits_of(execution.workspace_id, execution.id)
    awaits = {wait.tool_call_id: wait.child_awaits for wait in found}
    return {call: replace(wait, child_awaits=awaits.get(call)) for call, wait in waits.items()}


def _require_resumable(execution: Execution, request: Resume) -> None:
    if execution.status not in request.only:
        raise Conflict(f"It is {execution.status.value}; that cannot be resumed here.")
    if execution.is_purged:
        raise Conflict("The conversation was deleted; there is nothing to resume from.")
    if execution.tool_call_id is not None and execution.status in TERMINAL:
        raise Conflict(
            "The call that this execution carried out has its result; roll its parent back to a "
            "checkpoint before the call to make it again."
        )
    if execution.superseded:
        raise Conflict(
            "Another turn has taken this execution's place in its conversation; start a new one, "
            "or resume the turn that stands."
        )
    match execution.status:
        case Status.QUEUED | Status.RUNNING:
            raise Conflict(
                f"The execution is {execution.status.value}; there is nothing to resume."
            )
        case Status.SUSPENDED if execution.awaiting in (None, Awaiting.PERSON):
            raise Conflict("The execution waits for approvals; deciding them resumes it.")
        case Status.SUSPENDED:
            raise Conflict("The execution waits for results of its calls; the last resumes it.")
        case Status.COMPLETED if request.checkpoint_id is None:
            raise Conflict("The execution is completed; name a checkpoint to roll it back to.")
        case Status.PAUSED | Status.FAILED | Status.CANCELLED | Status.COMPLETED:
            pass


def _must_wait(execution: Execution) -> Part[bool]:
    """Whether an earlier turn is live, or the siblings of a child have all the places.

    Raises ConversationBusy if an earlier turn would be overtaken.
    """
    if execution.tool_call_id is not None:
        return (yield from has_no_place(execution))
    rows = yield Query(
        LIVE_IN_CONVERSATION,
        {"workspace": execution.workspace_id, "conversation": execution.conversation_id},
    )
    others = [found for found in map(execution_of, rows) if found.id != execution.id]
    if others and execution.status in TERMINAL:
        raise ConversationBusy(
            "Another execution of the conversation is live; cancel it or let it end first."
        )
    return any(other.turn < execution.turn for other in others)


def _chosen(known: Iterable[Checkpoint], wanted: str | None) -> Checkpoint | None:
    """Return the named checkpoint, superseded or not; else the newest not superseded."""
    if wanted is None:
        return max((c for c in known if not c.superseded), key=lambda c: c.place, default=None)
    found = next((c for c in known if c.id == wanted), None)
    if found is None:
        raise CheckpointNotFound(param="checkpointId")
    if found.superseded:
        raise Conflict("The checkpoint is superseded: an earlier roll-back went behind it.")
    return found


def _unsaved(
    execution: Execution, task: Task | None, request: Resume
) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """Return the state before the first checkpoint, or left by a pause without one."""
    if task is None:
        return {}, None
    left = request.checkpoint_id is None and execution.status is Status.PAUSED and task.changed
    return task.first_state, execution.state if left else None


def _more_time(execution: Execution, task: Task | None) -> Execution:
    """Return the task with its time again, if that was over."""
    limit, given = execution.budget.max_seconds, None if task is None else task.max_seconds
    if limit is None or given is None or execution.active_ms < limit * 1000:
        return execution
    budget = replace(execution.budget, max_seconds=execution.active_ms / 1000 + given)
    return replace(execution, budget=budget)


def _running(execution: Execution, at: int) -> Execution:
    """Return a client-driven execution as running; a new segment fences off earlier calls."""
    return replace(
        execution,
        status=Status.RUNNING,
        waiting=False,
        segment=execution.segment + 1,
        active_since=at,
    )


def _past(
    execution: Execution,
    known: tuple[Checkpoint, ...],
    chosen: Checkpoint | None,
    unsaved: tuple[dict[str, Any], dict[str, Any] | None],
) -> Part[_Past]:
    rows = yield Query(STEPS, {"id": execution.id, "workspace": execution.workspace_id})
    found = tuple(step_of(row) for row in rows)
    first, left = unsaved
    states = [c.state for c in _before(known, chosen) if c.state is not None]
    kept = tuple(s for s in found if chosen is not None and chosen.covers(s.number))
    numbers = {step.number for step in kept}
    return _Past(
        chosen,
        kept,
        tuple(step for step in found if step.number not in numbers),
        left if left is not None else [first, *states][-1],
    )


def _before(known: tuple[Checkpoint, ...], chosen: Checkpoint | None) -> list[Checkpoint]:
    """Return the checkpoints not superseded, up to the chosen one."""
    if chosen is None:
        return []
    return [c for c in known if not c.superseded and c.place <= chosen.place]


def _supersede(execution: Execution, known: tuple[Checkpoint, ...], past: _Past) -> Part[None]:
    """Mark everything after the checkpoint as superseded; it stays visible."""
    stands = {c.id for c in _before(known, past.checkpoint)}
    for checkpoint in known:
        if checkpoint.id not in stands and not checkpoint.superseded:
            yield Query(SUPERSEDE_CHECKPOINT, {"given_id": execution.id, "cp": checkpoint.id})
    for step in past.void:
        yield Query(SUPERSEDE_STEP, {"given_id": execution.id, "given": step.number})


def _reset(execution: Execution, past: _Past, at: int) -> Execution:
    """Return the row as of the checkpoint; later usage is charged, and not in `usage`."""
    models = [step for step in past.steps if isinstance(step, ModelStep)]
    tools = [step for step in past.steps if isinstance(step, ToolStep)]
    usage = reduce(add, (step.usage for step in models), NO_USAGE)
    ended = execution.status in TERMINAL
    return replace(
        execution,
        updated_at=at,
        completed_at=None,
        error=None,
        output=next((s.message.text for s in reversed(models) if s.message.text), None),
        final_model=next((s.model for s in reversed(models) if s.model), None),
        usage=usage,
        steps=len(past.steps),
        tool_ms=sum(step.duration_ms for step in tools),
        cancel_requested=False,
        pause_requested=None,
        paused_by=None,
        tries=0,
        superseded_tokens=execution.charged_tokens - usage.total_tokens,
        superseded_to=_used_to(execution, past) if past.void else execution.superseded_to,
        resumed_ms=execution.active_ms if past.void or ended else execution.resumed_ms,
        state=past.state,
        reserved=_kept(execution, past),
    )


def _kept(execution: Execution, past: _Past) -> Reservation | None:
    """Return what a paused execution has reserved for calls, if all of these stand."""
    reserved = execution.reserved
    if execution.status is not Status.PAUSED or past.void or reserved is None:
        return None
    return reserved if reserved.calls else None


def _used_to(execution: Execution, past: _Past) -> int:
    """Return the highest number used in the log, by steps, calls and cut-off work."""
    steps = sorted((*past.steps, *past.void), key=lambda step: step.number)
    begun = [number for number, _ in unanswered(steps, execution.superseded_to)]
    if execution.status is Status.PAUSED and not begun:
        begun = [next_number(steps, execution.superseded_to)]
    return max(execution.superseded_to, *(step.number for step in steps), *begun)


def _resumed(past: _Past, request: Resume) -> ExecutionResumed:
    checkpoint_id = None if past.checkpoint is None else past.checkpoint.id
    return ExecutionResumed(checkpoint_id, past.step, past.missing, request.key_id)


def _retried(execution: Execution, past: _Past, after: Execution) -> Part[tuple[Event, ...]]:
    """Return the event that voids the text of a model request aborted by a pause."""
    if execution.status is not Status.PAUSED or past.void:
        return ()
    ((kind, data),) = yield Query(LAST_EVENT, {"id": execution.id})
    last = decode(kind, data)
    if not isinstance(last, ExecutionPaused) or not last.output_tokens:
        return ()
    return (StepRetried(next_number(past.steps, after.superseded_to), PAUSED),)
