"""Where the steps of an execution stand in its log, found without reading all of it.

After an answer of the model only its calls run until the next answer begins. So the log has all
that belongs to steps up to a model's step before all that belongs to later ones, and a place
between the two is found by halving. A code agent's calls follow model's steps without an entry.
"""

import re
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import BigInteger, and_, bindparam, case, cast, func, literal_column, select
from sqlalchemy.sql.expression import ColumnElement

from outlast.model.error import ExecutionNotFound
from outlast.model.event import START, Cursor, ModelFinished, ToolFinished
from outlast.model.execution import Execution
from outlast.store.charges import charges
from outlast.store.driver import Part, Query, Row, Statement, Transaction, TransactionResult
from outlast.store.executions.rows import execution_of
from outlast.store.executions.statements import EXECUTION, OWNED
from outlast.store.executions.tables import events, steps

_STEP: Final = re.compile(r'"step":(\d+)')
_WHOLE: Final = BigInteger()
_BEGINNING: Final = 40
"""Characters of an event that have the number of its step, which is its first field."""
LAST_STEP: Final = 2**53
"""A number that no step reaches."""
_ENDS: Final[list[ColumnElement[str]]] = [
    literal_column(f"'{one.kind}'") for one in (ModelFinished, ToolFinished)
]
_model: Final = steps.c.kind == literal_column("'model'")

NEWEST_STEP: Final = Statement(
    select(steps.c.number)
    .where(steps.c.execution_id == OWNED)
    .order_by(steps.c.number.desc())
    .limit(1)
)
MODEL_STEP_BEFORE: Final = Statement(
    select(steps.c.number)
    .where(steps.c.execution_id == OWNED, _model, steps.c.number < bindparam("number"))
    .order_by(steps.c.number.desc())
    .limit(1)
)
MODEL_STEP_BEHIND: Final = Statement(
    select(steps.c.number)
    .where(steps.c.execution_id == OWNED, _model, steps.c.number > bindparam("number"))
    .order_by(steps.c.number)
    .limit(1)
)
"""Superseded ones too, in both."""
SUPERSEDED_STEPS: Final = Statement(
    select(steps.c.number).where(
        steps.c.execution_id == OWNED,
        steps.c.number.between(bindparam("first"), bindparam("last")),
        steps.c.superseded.is_(literal_column("true")),
    )
)
COUNT_STEPS_BEFORE: Final = Statement(
    select(func.count()).where(
        steps.c.execution_id == OWNED,
        steps.c.number < bindparam("number"),
        steps.c.superseded.is_(literal_column("false")),
    )
)
_charge: Final = and_(charges.c.execution_id == steps.c.execution_id, charges.c.id == steps.c.id)
SUM_STEPS_BEHIND: Final = Statement(
    select(
        func.count(),
        func.count(case((steps.c.kind == literal_column("'tool'"), 1))),
        cast(func.coalesce(func.sum(charges.c.input_tokens + charges.c.output_tokens), 0), _WHOLE),
        cast(func.coalesce(func.sum(charges.c.credits), 0), _WHOLE),
    )
    .select_from(steps.outerjoin(charges, _charge))
    .where(
        steps.c.execution_id == OWNED,
        steps.c.number > bindparam("number"),
        steps.c.superseded.is_(literal_column("false")),
    )
)
LAST_ENTRY: Final = Statement(
    select(events.c.segment, events.c.seq)
    .where(events.c.execution_id == OWNED)
    .order_by(events.c.seq.desc())
    .limit(1)
)
STEP_ENDED_BEHIND: Final = Statement(
    select(
        events.c.segment,
        events.c.seq,
        events.c.at,
        func.substr(events.c.data, literal_column("1"), literal_column(str(_BEGINNING))),
    )
    .where(
        events.c.execution_id == OWNED,
        events.c.seq > bindparam("seq"),
        events.c.kind.in_(_ENDS),
    )
    .order_by(events.c.seq)
    .limit(1)
)
"""Selects the next end of a step."""


@dataclass(frozen=True, slots=True)
class Place:
    """A place in a log, behind all of the steps up to one and before all of the later ones."""

    step: int = 0
    cursor: Cursor = START
    at: int = 0
    """When the entry before it was written."""


@dataclass(frozen=True, slots=True)
class StepSums:
    """How many steps, how many of them are tool calls, and what all of them have cost."""

    steps: int
    calls: int
    tokens: int
    credits: int


@dataclass(frozen=True, slots=True)
class Stretch:
    """A part of a log that has all of some steps."""

    begin: Place
    end: int | None
    """A step that begins behind all of them; None: they end with the log."""
    superseded: frozenset[int]
    """Those from the first on that a roll-back has superseded."""


@dataclass(frozen=True, slots=True)
class NewestSteps:
    """The part of a log that has the newest steps, and the execution as it was then."""

    execution: Execution
    begin: Place
    end: Cursor


def read_newest_steps(workspace_id: str, execution_id: str, most: int) -> Transaction[NewestSteps]:
    """Read where the newest steps begin, of which at least `most` are recorded."""
    of = {"id": execution_id, "workspace": workspace_id}
    rows = yield Query(EXECUTION, of)
    if not rows:
        raise ExecutionNotFound
    newest = yield Query(NEWEST_STEP, of)
    last = yield Query(LAST_ENTRY, of)
    first = newest[0][0] - most + 1 if newest else 0
    begin = yield from _place_before(of, first)
    end = Cursor(*last[0]) if last else START
    return TransactionResult(NewestSteps(execution_of(rows[0]), begin, end))


def read_stretch(
    workspace_id: str, execution_id: str, first: int, last: int
) -> Transaction[Stretch]:
    """Read where the steps of these numbers are."""
    of = {"id": execution_id, "workspace": workspace_id}
    begin = yield from _place_before(of, first)
    behind = yield Query(MODEL_STEP_BEHIND, of | {"number": last})
    end = behind[0][0] if behind else None
    until = LAST_STEP if end is None else end - 1
    gone = yield Query(SUPERSEDED_STEPS, of | {"first": first, "last": until})
    return TransactionResult(Stretch(begin, end, frozenset(row[0] for row in gone)))


def count_steps_before(workspace_id: str, execution_id: str, number: int) -> Transaction[int]:
    """Read how many steps before this one stand."""
    of = {"id": execution_id, "workspace": workspace_id, "number": number}
    ((count,),) = yield Query(COUNT_STEPS_BEFORE, of)
    return TransactionResult(count)


def sum_steps_behind(workspace_id: str, execution_id: str, number: int) -> Transaction[StepSums]:
    """Add up the recorded steps behind this one that stand."""
    of = {"id": execution_id, "workspace": workspace_id, "number": number}
    (sums,) = yield Query(SUM_STEPS_BEHIND, of)
    return TransactionResult(StepSums(*sums))


def _place_before(of: dict[str, Any], number: int) -> Part[Place]:
    """Return a place before this step, as near as answers of the model allow."""
    rows = yield Query(MODEL_STEP_BEFORE, of | {"number": number})
    if not rows:
        return Place()
    ((step,),) = rows
    place, low = Place(), 0
    ((_, high),) = yield Query(LAST_ENTRY, of)
    while low < high:
        middle = (low + high) // 2
        found = yield Query(STEP_ENDED_BEHIND, of | {"seq": middle})
        if found and _step_of(found[0]) <= step:
            segment, low, at, _ = found[0]
            place = Place(step, Cursor(segment, low), at)
        else:
            high = middle
    return place


def _step_of(row: Row) -> int:
    found = _STEP.search(row[3])
    assert found is not None
    return int(found[1])
