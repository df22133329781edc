"""Lists of executions and of their tool calls: pages by keyset, with long values cut."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Final

from sqlalchemy import (
    Column,
    Text,
    and_,
    bindparam,
    case,
    cast,
    func,
    literal_column,
    null,
    select,
)
from sqlalchemy.sql.expression import ColumnElement

from outlast.model.execution import LIVE, Execution, Status, ToolStep
from outlast.model.unreadable import ExecutionUnreadable
from outlast.store.driver import (
    Part,
    Query,
    Row,
    Statement,
    Together,
    Transaction,
    TransactionResult,
)
from outlast.store.executions.columns import SHOWN_STATUS, UNSUCCESSFUL
from outlast.store.executions.partial import execution_or_part
from outlast.store.executions.statements import SELECT_EXECUTION
from outlast.store.executions.steps import SHORT_STEPS, step_of
from outlast.store.executions.tables import execution_metadata, executions
from outlast.store.page import Page

LONGEST: Final = 8 * 1024
"""Maximum characters of a text in a list."""


@dataclass(frozen=True, slots=True)
class Listed:
    """An execution as a list shows it."""

    execution: Execution
    """`input` and `output` are cut after LONGEST characters, long `metadata` is left out."""
    cut: tuple[str, ...] = ()
    """Names of the fields that were cut."""


@dataclass(frozen=True, slots=True)
class ShortSteps:
    """The short tool calls of an execution."""

    steps: tuple[ToolStep, ...] = ()
    cut: bool = False
    """Whether some are left out."""
    unreadable: bool = False
    """Whether some cannot be read; then there are none."""


@dataclass(frozen=True, slots=True)
class ExecutionFilter:
    """Filter of a list of executions; None means any. Times are milliseconds since the epoch."""

    agent_id: str | None = None
    status: tuple[Status, ...] = ()
    """The status as shown."""
    conversation_id: str | None = None
    parent_id: str | None = None
    roots: bool = False
    """Only those that no other one has called."""
    root_id: str | None = None
    """The root of their tree, which is not among them."""
    chat_id: str | None = None
    user: str | None = None
    metadata: tuple[tuple[str, str], ...] = ()
    """Names and values that it must have; only indexed ones are found."""
    created_from: int | None = None
    created_before: int | None = None
    id_from: str | None = None
    """What is created later sorts behind it, so that a page ends there instead of walking on."""
    id_before: str | None = None
    started_after: int | None = None
    started_before: int | None = None


_SHOWN: Final = literal_column(SHOWN_STATUS, Text())
_FEW: Final = frozenset({"conversation_id", "parent_id", "root_id", "chat_id", "user"})
"""Filters that leave few executions."""
_OF_A_TREE: Final = frozenset({"parent_id", "root_id"})
"""Filters whose indices do not begin with the workspace."""
_NO_INDEX: Final = literal_column("''", Text())
"""Appended to a column, so that a planner does not take an index of it."""
_BOTH: Final = frozenset({"agent_id", "status"})


def _cut(column: Column[Any]) -> ColumnElement[Any]:
    """Return the column for lists: the rest of a long value is not read."""
    match column.name:
        case "input" | "output":
            return func.substr(column, 1, bindparam("longest"))
        case "metadata":
            content = cast(column, Text)
            short = func.length(content) < bindparam("longest")
            return case((short, content), else_=literal_column("'null'"))
        case "session":
            return literal_column("'{}'")
        case "state" | "instructions" | "forwarded_headers" | "client_tools":
            return null()
        case _:
            return column


LISTED: Final = select(*(_cut(column).label(column.name) for column in executions.c))
"""Columns of lists; at most `longest` characters of a text are read."""


@cache
def list_executions(
    filters: frozenset[str], *, backwards: bool, values: int = 0, cut: bool = False
) -> Statement:
    """Select a page by keyset, with filters of these names; the workspace's index orders it.

    With `values` of metadata to filter by, the index of the first of them is used, unless another
    filter leaves few executions.
    """
    found = [execution_metadata.alias(f"value{n}") for n in range(values)]
    by_metadata = bool(found) and not filters & _FEW
    id_ = found[0].c.execution_id if by_metadata else executions.c.id
    conditions: dict[str, ColumnElement[bool]] = {
        "agent_id": executions.c.agent_id == bindparam("agent_id"),
        "status": bindparam("status") == _SHOWN,
        "conversation_id": executions.c.conversation_id == bindparam("conversation_id"),
        "parent_id": executions.c.parent_id == bindparam("parent_id"),
        "roots": executions.c.parent_id.is_(None),
        "root_id": executions.c.root_id == bindparam("root_id"),
        "chat_id": executions.c.chat_id == bindparam("chat_id"),
        "user": executions.c.end_user == bindparam("user"),
        "created_from": executions.c.created_at >= bindparam("created_from"),
        "created_before": executions.c.created_at < bindparam("created_before"),
        "id_from": id_ >= bindparam("id_from"),
        "id_before": id_ < bindparam("id_before"),
        "started_after": executions.c.started_at > bindparam("started_after"),
        "started_before": executions.c.started_at < bindparam("started_before"),
        "after": id_ < bindparam("after"),
        "before": id_ > bindparam("before"),
    } | _of_agents_with_a_status()
    rows = LISTED if cut else SELECT_EXECUTION
    if by_metadata:  # an expression, so that no planner begins with the executions
        rows = rows.where(executions.c.id == id_ + _NO_INDEX)
    for n, value in enumerate(found):
        rows = rows.where(
            value.c.workspace_id == bindparam("workspace"),
            value.c.name == bindparam(f"name{n}"),
            value.c.value == bindparam(f"value{n}"),
        )
        if n or not by_metadata:
            rows = rows.where(value.c.execution_id == id_)
    workspace: ColumnElement[str] = executions.c.workspace_id
    if filters & _OF_A_TREE:
        workspace += _NO_INDEX
    return Statement(
        rows.where(
            workspace == bindparam("workspace"),
            *(conditions[name] for name in sorted(filters)),
        )
        .order_by(id_.asc() if backwards else id_.desc())
        .limit(bindparam("limit"))
    )


def _of_agents_with_a_status() -> dict[str, ColumnElement[bool]]:
    """Return conditions on both, each with the index that leaves the fewest executions.

    Those that live are few, those that did not complete have an index of their own, and an agent
    that completes anything has completed some of its newest.
    """
    agent = bindparam("agent_id", type_=Text())
    status = bindparam("status", type_=Text())
    return {
        "agent_live": and_(executions.c.agent_id + _NO_INDEX == agent, status == _SHOWN),
        "agent_unsuccessful": and_(
            executions.c.agent_id == agent,
            executions.c.status == status,
            literal_column(UNSUCCESSFUL),
        ),
        "agent_completed": and_(executions.c.agent_id == agent, status == _SHOWN + _NO_INDEX),
    }


def _together(status: Status) -> str:
    """Return the condition on an agent with this status."""
    if status in LIVE:
        return "agent_live"
    return "agent_completed" if status is Status.COMPLETED else "agent_unsuccessful"


def page_of(
    workspace_id: str, wanted: ExecutionFilter, page: Page, *, longest: int | None = None
) -> Query:
    """Return the query of a page, of one status or any.

    With `longest`, texts are read up to that many characters.
    """
    assert len(wanted.status) < 2  # noqa: PLR2004 - one
    given: dict[str, Any] = {
        "agent_id": wanted.agent_id,
        "conversation_id": wanted.conversation_id,
        "parent_id": wanted.parent_id,
        "root_id": wanted.root_id,
        "chat_id": wanted.chat_id,
        "user": wanted.user,
        "created_from": wanted.created_from,
        "created_before": wanted.created_before,
        "id_from": wanted.id_from,
        "id_before": wanted.id_before,
        "status": wanted.status[0].value if wanted.status else None,
        "started_after": wanted.started_after,
        "started_before": wanted.started_before,
        "after": page.after,
        "before": page.before,
    }
    given = {name: value for name, value in given.items() if value is not None}
    filters = frozenset(given) | ({"roots"} if wanted.roots else set())
    if filters >= _BOTH and not filters & _FEW and not wanted.metadata:
        filters = filters - _BOTH | {_together(wanted.status[0])}
    for number, (name, value) in enumerate(wanted.metadata):
        given |= {f"name{number}": name, f"value{number}": value}
    statement = list_executions(
        filters,
        backwards=page.backwards,
        values=len(wanted.metadata),
        cut=longest is not None,
    )
    given |= {"workspace": workspace_id, "limit": page.limit + 1}
    return Query(statement, given if longest is None else given | {"longest": longest})


def _rows(
    workspace_id: str, wanted: ExecutionFilter, page: Page, *, longest: int | None = None
) -> Part[list[Row]]:
    """Select a page; of several statuses one page each, since no index has them together."""
    if len(wanted.status) < 2:  # noqa: PLR2004 - one
        return (yield page_of(workspace_id, wanted, page, longest=longest))
    each = (replace(wanted, status=(status,)) for status in wanted.status)
    queries = (page_of(workspace_id, one, page, longest=longest) for one in each)
    answers = yield Together(tuple(queries))
    rows = [row for answer in answers for row in answer]
    rows.sort(key=_id_of, reverse=not page.backwards)
    return rows[: page.limit + 1]


_ID: Final = [column.name for column in executions.c].index("id")


def _id_of(row: Row) -> str:
    found: str = row[_ID]
    return found


def read_executions(
    workspace_id: str, wanted: ExecutionFilter, page: Page
) -> Transaction[list[Execution]]:
    """A page by keyset, and one row more to tell whether there are more."""
    rows = yield from _rows(workspace_id, wanted, page)
    found = [execution_or_part(row) for row in rows]
    return TransactionResult(found[::-1] if page.backwards else found)


_LONGEST_STEP: Final = 4 * 1024
"""Maximum characters of a tool call with its result in a list."""

_MOST_STEPS: Final = 50


def read_listed(
    workspace_id: str, wanted: ExecutionFilter, page: Page
) -> Transaction[list[Listed]]:
    """A page by keyset, and one row more to tell whether there are more."""
    rows = yield from _rows(workspace_id, wanted, page, longest=LONGEST + 1)
    found = [listed_from(row) for row in rows]
    return TransactionResult(found[::-1] if page.backwards else found)


def listed_from(row: Row) -> Listed:
    """Return the execution of a row of LISTED, whose long texts have one character too many."""
    found = execution_or_part(row)
    output = found.output or ""
    cut = []
    if len(found.input) > LONGEST:
        cut.append("input")
    if len(output) > LONGEST:
        cut.append("output")
    if found.metadata is None:
        cut.append("metadata")
    if not cut:
        return Listed(found)
    shown = replace(
        found,
        input=found.input[:LONGEST],
        output=None if found.output is None else output[:LONGEST],
        metadata=found.metadata or {},
    )
    return Listed(shown, tuple(cut))


def read_short_steps(
    workspace_id: str, execution_ids: Sequence[str]
) -> Transaction[dict[str, ShortSteps]]:
    """Read the first short tool calls of each."""
    shape = {"workspace": workspace_id, "longest": _LONGEST_STEP, "limit": _MOST_STEPS + 1}
    of_each = (Query(SHORT_STEPS, {"id": one, **shape}) for one in execution_ids)
    answers = yield Together(tuple(of_each))
    found = {}
    for execution_id, rows in zip(execution_ids, answers, strict=True):
        try:
            steps = tuple(_short(rows[:_MOST_STEPS]))
        except ExecutionUnreadable:
            found[execution_id] = ShortSteps(unreadable=True)
            continue
        found[execution_id] = ShortSteps(steps, cut=len(steps) < len(rows))
    return TransactionResult(found)


def _short(rows: Iterable[Row]) -> Iterable[ToolStep]:
    for row in rows:
        if row[4] is not None:
            step = step_of(row)
            assert isinstance(step, ToolStep)
            yield step
