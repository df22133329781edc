"""How many executions there are, up to a bound; and which one comes after so many."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Final

from sqlalchemy import Text, bindparam, func, literal_column, select
from sqlalchemy.sql.expression import ColumnElement

from outlast.store.driver import Part, Query, Statement, Together, Transaction, TransactionResult
from outlast.store.executions.columns import SHOWN_STATUS, UNSUCCESSFUL
from outlast.store.executions.tables import executions

Counts = list[tuple[int, int]]
"""Of all, and of those that failed."""

_FAILED: Final = literal_column("'failed'", Text())


def _counted(*conditions: ColumnElement[bool]) -> Statement:
    """Count what fulfils these conditions, up to a bound."""
    found = (
        select(executions.c.id)
        .where(
            executions.c.workspace_id == bindparam("workspace"),
            *conditions,
            executions.c.id >= bindparam("from_id"),
        )
        .limit(bindparam("most"))
        .subquery("counted")
    )
    return Statement(select(func.count()).select_from(found))


_until: Final = executions.c.id < bindparam("until_id")
_agent: Final = executions.c.agent_id == bindparam("agent_id")
COUNT_BETWEEN: Final = _counted(_until)
COUNT_FAILED_BETWEEN: Final = _counted(literal_column(SHOWN_STATUS, Text()) == _FAILED, _until)
COUNT_OF_AGENT: Final = _counted(_agent)
COUNT_FAILED_OF_AGENT: Final = _counted(
    _agent, executions.c.status == _FAILED, literal_column(UNSUCCESSFUL)
)


_FURTHER: Final = (
    select(executions.c.id)
    .where(executions.c.workspace_id == bindparam("workspace"), _agent)
    .limit(1)
    .offset(bindparam("count"))
)
FURTHER_OF_AGENT: Final = Statement(
    _FURTHER.where(executions.c.id < bindparam("behind_id")).order_by(executions.c.id.desc())
)
"""Find, among an agent's executions older than an id, the one behind so many, by an index alone."""
FURTHER_OF_AGENT_UPWARDS: Final = Statement(
    _FURTHER.where(executions.c.id > bindparam("behind_id")).order_by(executions.c.id.asc())
)
"""The same among those that are newer."""


def read_further(
    workspace_id: str, agent_id: str, behind: str, count: int, *, upwards: bool
) -> Transaction[str | None]:
    """Find the id that comes after `count` ids of an agent behind one; None if it has no more."""
    of = {"workspace": workspace_id, "agent_id": agent_id, "behind_id": behind, "count": count}
    rows = yield Query(FURTHER_OF_AGENT_UPWARDS if upwards else FURTHER_OF_AGENT, of)
    return TransactionResult(rows[0][0] if rows else None)


def read_counts(workspace_id: str, bounds: Sequence[str], most: int) -> Transaction[Counts]:
    """Count the executions, and those that failed, between each two ids; at most `most` each."""
    spans = [
        {"workspace": workspace_id, "from_id": first, "until_id": last, "most": most}
        for first, last in pairwise(bounds)
    ]
    return TransactionResult((yield from _both(COUNT_BETWEEN, COUNT_FAILED_BETWEEN, spans)))


def read_counts_of_agents(
    workspace_id: str, agent_ids: Sequence[str], from_id: str, most: int
) -> Transaction[Counts]:
    """Count the executions of each agent, and those that failed, from an id on; at most `most`."""
    shape = {"workspace": workspace_id, "from_id": from_id, "most": most}
    each = [shape | {"agent_id": one} for one in agent_ids]
    return TransactionResult((yield from _both(COUNT_OF_AGENT, COUNT_FAILED_OF_AGENT, each)))


def _both(all_: Statement, failed: Statement, given: Sequence[dict[str, Any]]) -> Part[Counts]:
    answers = yield Together(
        (*(Query(all_, one) for one in given), *(Query(failed, one) for one in given))
    )
    counts = [int(answer[0][0]) for answer in answers]
    return list(zip(counts[: len(given)], counts[len(given) :], strict=True))
