"""The transaction that creates an execution: its turn, first events, and interrupted turns."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from outlast.model.conversation import Conversation
from outlast.model.error import (
    ConversationBusy,
    ConversationNotFound,
    ExecutionNotFound,
    StaleWrite,
    TooManyTurns,
)
from outlast.model.event import Entry, ExecutionCancelled, ExecutionStarted
from outlast.model.execution import Execution, OnBusy, Status, advanced, at_rest
from outlast.store.budgets.read import budgets_of, has_budgets
from outlast.store.conversations.rows import (
    CONTINUE_CONVERSATION,
    CONVERSATION_OF_CHAT,
    INSERT_CONVERSATION,
    LOCK_CHATS,
    LOCK_CONVERSATION,
    conversation_from,
)
from outlast.store.driver import Part, Query, Transaction, TransactionResult
from outlast.store.executions.advance import advance
from outlast.store.executions.children import NOTHING, Effects
from outlast.store.executions.cuts import find_cut, supersede
from outlast.store.executions.log import insert_event
from outlast.store.executions.rows import execution_of, first_entry, new_columns
from outlast.store.executions.statements import (
    EXECUTION,
    INSERT_EXECUTION,
    INSERT_METADATA,
    LIVE_IN_CONVERSATION,
    REQUEST_CANCEL,
    WAITING_TURNS,
)
from outlast.store.executions.turns import live_count
from outlast.store.executions.values import Advance, Created, Cut, NewExecution
from outlast.store.idempotency import Idempotency, first_request, remember
from outlast.store.listeners import Committed
from outlast.store.tables import to_json
from outlast.store.tasks.rows import INSERT_TASK, task_columns


def create(new: NewExecution, *, begins: bool = False) -> Transaction[Created]:
    """Insert an execution with its first event; the conversation's row orders the turns.

    `begins`: this process has a free slot, and begins its first segment in the same commit, unless
    it waits for another turn or may spend from budgets.
    """
    if new.idempotency is not None:
        known = yield from _first_request(new, new.idempotency)
        if known is not None:
            return TransactionResult(known)
    if new.new_conversation and new.origin.chat_id is not None:
        new = yield from _in_its_chat(new)
    cut: int | None = None
    if new.cut is not None and not new.new_conversation:
        found = yield from _cut(new, new.cut)
        if isinstance(found, Execution):
            return TransactionResult(Created(found, replayed=True))
        cut = found
    yield from _require_budgets(new)
    conversation = None if new.new_conversation else (yield from _locked(new))
    live, requested, interrupted = (
        (yield from _make_way(new, cut))
        if conversation is not None and conversation.turns
        else (0, (), NOTHING)
    )
    turn, session, user = yield from _take_turn(new, conversation)
    created = _new_execution(new, turn, session, user, waiting=bool(live))
    begins = begins and not live and (yield from _may_begin(created))
    execution = created
    if begins or created.is_client_driven:
        execution = _begun(created, tries=int(begins))
    yield Query(INSERT_EXECUTION, new_columns(execution))
    for name, value in new.indexed:
        of = {"workspace_id": new.workspace_id, "execution_id": new.id}
        yield Query(INSERT_METADATA, of | {"name": name, "value": value})
    entries = [first_entry(execution, new.agent_name)]
    if execution is not created:
        entries.append(Entry(execution.segment, 2, new.at, ExecutionStarted()))
    for entry in entries:
        yield insert_event(execution.id, entry)
    if new.task is not None:
        task = replace(new.task, due_at=new.task.due(execution))
        yield Query(INSERT_TASK, task_columns(task))
    if new.idempotency is not None:
        yield remember(new.idempotency, new.id, new.at)
    return TransactionResult(
        Created(created if begins else execution, interrupted=requested),
        committed=(*interrupted.committed, Committed(execution.id, tuple(entries), execution)),
        runnable=() if live or execution is not created else (execution,),
        begun=(execution,) if begins else (),
        requested=tuple(one.id for one in requested),
        cancelled=interrupted.cancelled,
    )


def _may_begin(created: Execution) -> Part[bool]:
    """Return False if a client drives it, or if it may spend from budgets, which a begin reads."""
    return not (created.is_client_driven or (yield from has_budgets(created.workspace_id)))


def _require_budgets(new: NewExecution) -> Part[None]:
    """Raise QuotaExceeded if a budget that it would spend from is spent."""
    if not new.budgeted:
        return
    owners = [new.workspace_id]
    owners += [new.key_id] if new.key_id is not None else []
    owners += [] if new.new_conversation else [new.conversation_id]
    found = yield from budgets_of(new.workspace_id, owners, new.at)
    for budget in found.values():
        if (bound := budget.spent_bound(new.least_output)) is not None:
            raise budget.exceeded(bound, new.at)


def _in_its_chat(new: NewExecution) -> Part[NewExecution]:
    """Put it into the conversation of its chat's newest execution, which may be concurrent.

    Within a workspace, first requests of new chats are serialized.
    """
    yield Query(LOCK_CHATS, {"workspace": new.workspace_id})
    of = {"workspace": new.workspace_id, "chat_id": new.origin.chat_id}
    rows = yield Query(CONVERSATION_OF_CHAT, of)
    if not rows or rows[0][1]:
        return new
    return replace(new, conversation_id=rows[0][0], new_conversation=False)


def _cut(new: NewExecution, cut: Cut) -> Part[int | Execution | None]:
    rows = yield Query(LOCK_CONVERSATION, _conversation(new))
    if not rows:
        raise ConversationNotFound(param="conversationId")
    return (yield from find_cut(new, cut, conversation_from(rows[0]).turns))


def _make_way(
    new: NewExecution, cut: int | None
) -> Part[tuple[int, tuple[Execution, ...], Effects]]:
    """Count the live executions before it, and end those that a cut or on_busy=interrupt ends.

    Return how many are still live, those of them to be cancelled, and the effects. Raises
    ConversationBusy if one stays and on_busy=reject, TooManyTurns.
    """
    left: tuple[Execution, ...] = ()
    interrupted = NOTHING
    if cut is None and new.on_busy is not OnBusy.INTERRUPT:
        stays = yield from live_count(new.workspace_id, new.conversation_id, new.max_live)
    else:
        rows = yield Query(LIVE_IN_CONVERSATION, _conversation(new))
        live = [execution_of(row) for row in rows]
        ends = [one for one in live if new.on_busy is OnBusy.INTERRUPT or one.turn >= (cut or 0)]
        stays = len(live) - len(ends)
        if ends:
            left, interrupted = yield from interrupt(ends, new.at)
    if stays and new.on_busy is OnBusy.REJECT:
        raise ConversationBusy
    if stays + len(left) >= new.max_live:
        raise TooManyTurns(new.max_live - 1)
    if cut is not None:
        yield supersede(new, cut)
    return stays + len(left), left, interrupted


def interrupt(live: Sequence[Execution], at: int) -> Part[tuple[tuple[Execution, ...], Effects]]:
    """Cancel waiting executions, the youngest first; return running ones, to be cancelled."""
    left: list[Execution] = []
    effects = NOTHING
    for execution in reversed(live):
        if execution.status is Status.RUNNING and not execution.is_client_driven:
            of = {"id": execution.id, "workspace": execution.workspace_id}
            yield Query(REQUEST_CANCEL, of)
            left.append(execution)
            continue
        cancelled = at_rest(execution, Status.CANCELLED, at)
        try:
            move = Advance(execution, cancelled, ((at, ExecutionCancelled()),))
            moved = yield from advance(move)
            effects += Effects(moved.committed, (), moved.cancelled)
        except StaleWrite:  # it is moving just now: the request for the interrupt is repeated
            left.append(execution)
    return tuple(left), effects


def _begun(execution: Execution, tries: int) -> Execution:
    """Return an execution as running from its creation on."""
    changes = {
        "status": Status.RUNNING,
        "waiting": False,
        "segment": 1,
        "started_at": execution.created_at,
        "active_since": execution.created_at,
        "tries": tries,
    }
    return advanced(execution, changes)


def _first_request(new: NewExecution, idempotency: Idempotency) -> Part[Created | None]:
    first = yield from first_request(idempotency, new.at)
    if first is None:
        return None
    rows = yield Query(EXECUTION, {"id": first.made, "workspace": new.workspace_id})
    if not rows:
        raise ExecutionNotFound
    return Created(execution_of(rows[0]), replayed=True, answer=first.answer)


def _locked(new: NewExecution) -> Part[Conversation]:
    rows = yield Query(LOCK_CONVERSATION, _conversation(new))
    if not rows:
        raise ConversationNotFound(param="conversationId")
    return conversation_from(rows[0])


def _take_turn(
    new: NewExecution, known: Conversation | None
) -> Part[tuple[int, dict[str, Any], str | None]]:
    """Return the turn's number, session and user: the conversation's unless it names its own.

    `known`: the conversation, whose row is locked; None: a new one.
    """
    if known is None:
        yield Query(
            INSERT_CONVERSATION,
            {
                "id": new.conversation_id,
                "workspace_id": new.workspace_id,
                "agent_id": new.agent_id,
                "turns": 1,
                "session": to_json(new.session),
                "created_at": new.at,
                "last_active_at": new.at,
                "end_user": new.user,
            },
        )
        return 1, new.session, new.user
    session = known.session | new.session
    rows = yield Query(
        CONTINUE_CONVERSATION,
        _conversation(new) | {"new_session": to_json(session), "at": new.at},
    )
    return rows[0][0], session, known.user if new.user is None else new.user


def _conversation(of: NewExecution | Execution) -> dict[str, Any]:
    return {"workspace": of.workspace_id, "conversation": of.conversation_id}


def _new_execution(
    new: NewExecution,
    turn: int,
    session: dict[str, Any],
    user: str | None,
    *,
    waiting: bool,
) -> Execution:
    return Execution(
        id=new.id,
        workspace_id=new.workspace_id,
        agent_id=new.agent_id,
        agent_version=new.agent_version,
        conversation_id=new.conversation_id,
        turn=turn,
        status=Status.QUEUED,
        segment=0,
        input=new.input,
        created_at=new.at,
        updated_at=new.at,
        key_id=new.key_id,
        parent_id=new.parent_id,
        metadata=new.metadata,
        session=session,
        budget=new.budget,
        origin=new.origin,
        user=user,
        waiting=waiting,
        state={} if new.task is None else new.task.first_state,
        memory_stores=new.memory_stores,
    )


def cancel_waiting(
    workspace_id: str, conversation_id: str, at: int, limit: int
) -> Transaction[tuple[Execution, ...]]:
    """Cancel queued turns of a conversation, the youngest first; return what was cancelled."""
    of = {"workspace": workspace_id, "conversation": conversation_id}
    yield Query(LOCK_CONVERSATION, of)
    rows = yield Query(WAITING_TURNS, of | {"limit": limit})
    cancelled: list[Execution] = []
    effects = NOTHING
    for row in rows:
        execution = execution_of(row)
        after = at_rest(execution, Status.CANCELLED, at)
        outcome = yield from advance(Advance(execution, after, ((at, ExecutionCancelled()),)))
        cancelled.append(after)
        effects += Effects(outcome.committed, (), outcome.cancelled)
    return TransactionResult(tuple(cancelled), effects.committed, cancelled=effects.cancelled)
