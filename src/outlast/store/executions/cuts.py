"""Turns of a conversation that a new execution replaces; the conversation's row is locked."""

from typing import Any, Final

from sqlalchemy import bindparam, select, update

from outlast.model.error import Conflict, ExecutionNotFound
from outlast.model.execution import Execution, Status
from outlast.store.driver import Part, Query, Statement
from outlast.store.executions.rows import execution_of
from outlast.store.executions.statements import EXECUTION
from outlast.store.executions.tables import executions
from outlast.store.executions.values import Cut, NewExecution

_select_standing: Final = select(*executions.c).where(
    executions.c.workspace_id == bindparam("workspace"),
    executions.c.conversation_id == bindparam("conversation"),
    executions.c.superseded.is_(False),
)

TURN_OF_MESSAGE: Final = Statement(
    _select_standing.where(executions.c.message_id == bindparam("message"))
    .order_by(executions.c.turn)
    .limit(1)
)
"""Selects the turn of the client's message of this id; it has a partial index."""

NEWEST_TURN: Final = Statement(_select_standing.order_by(executions.c.id.desc()).limit(1))
"""Selects the newest by id, of many hosts' clocks: the caller checks its turn against the
conversation's count."""

SUPERSEDE_TURNS: Final = Statement(
    update(executions)
    .where(
        executions.c.workspace_id == bindparam("workspace"),
        executions.c.conversation_id == bindparam("conversation"),
        executions.c.turn >= bindparam("given_turn"),
        executions.c.superseded.is_(False),
    )
    .values(superseded=True)
)
"""Hides a turn and all after it from models; nothing else changes in their rows."""

_IN_VAIN = (Status.FAILED, Status.CANCELLED)


def find_cut(new: NewExecution, cut: Cut, turns: int) -> Part[int | Execution | None]:
    """Return the first turn to cut, or the execution that has answered the same message already.

    turns: number of turns of the conversation, which is that of the newest.

    None if nothing is cut. Raises ExecutionNotFound, Conflict if the cut is required.
    """
    sent = yield from _turn_of_message(new)
    if sent is not None:
        if cut.explicit or sent.input != new.input or sent.status in _IN_VAIN:
            return sent.turn
        return sent if sent.turn == turns else sent.turn
    if not cut.explicit:
        return None
    for execution_id, offset in ((cut.execution_id, 0), (cut.behind, 1)):
        named = None
        if execution_id is not None:
            named = yield from _standing(new, execution_id, required=cut.required)
        if named is not None:
            return named.turn + offset
    if cut.same_input:
        newest = yield from _newest(new, turns)
        return newest.turn if newest is not None and newest.input == new.input else None
    return None


def supersede(new: NewExecution, first: int) -> Query:
    """Mark the conversation's turns from this one on as superseded."""
    return Query(SUPERSEDE_TURNS, _conversation(new) | {"given_turn": first})


def _turn_of_message(new: NewExecution) -> Part[Execution | None]:
    if new.origin.message_id is None:
        return None
    given = _conversation(new) | {"message": new.origin.message_id}
    rows = yield Query(TURN_OF_MESSAGE, given)
    return execution_of(rows[0]) if rows else None


def _newest(new: NewExecution, turns: int) -> Part[Execution | None]:
    rows = yield Query(NEWEST_TURN, _conversation(new))
    found = execution_of(rows[0]) if rows else None
    return None if found is None or found.turn != turns else found


def _standing(new: NewExecution, execution_id: str, *, required: bool) -> Part[Execution | None]:
    """Return the execution's turn; if it is superseded None, or an error if it is required."""
    given = {"id": execution_id, "workspace": new.workspace_id}
    rows = yield Query(EXECUTION, given)
    found = execution_of(rows[0]) if rows else None
    if found is None or found.conversation_id != new.conversation_id:
        if required:
            raise ExecutionNotFound("The conversation has no such execution.", param="replaces")
        return None
    if found.superseded and required:
        raise Conflict("Another execution has taken its place already.", param="replaces")
    return None if found.superseded else found


def _conversation(new: NewExecution) -> dict[str, Any]:
    return {"workspace": new.workspace_id, "conversation": new.conversation_id}
