"""Reads of records: executions, steps and charges as nodes."""

from typing import Any

from outlast.model.error import ExecutionNotFound
from outlast.model.execution import Execution
from outlast.model.record import (
    ClosedRecord,
    ExecutionRecord,
    Record,
    RecordId,
    StepRecord,
    Tree,
    tree_of,
)
from outlast.model.record import (
    Part as RecordPart,
)
from outlast.store.charges import charge_from
from outlast.store.driver import Part, Query, Row, Transaction, TransactionResult
from outlast.store.executions.rows import execution_from
from outlast.store.executions.statements import EXECUTION
from outlast.store.executions.steps import step_from
from outlast.store.list_port import LONGEST
from outlast.store.record_port import RecordPage
from outlast.store.scripts.lists import listed_from
from outlast.store.statements import records as sql


def records(workspace_id: str, page: RecordPage) -> Transaction[list[ExecutionRecord]]:
    """A page, and what each has cost with all below it."""
    agents = len(page.agent_ids)
    given: dict[str, Any] = {
        "workspace": workspace_id,
        "limit": page.limit,
        "offset": page.offset,
        "reach": page.offset + page.limit,
        **{f"agent{number}": agent_id for number, agent_id in enumerate(page.agent_ids)},
    }
    rows = yield Query(sql.page_of(agents), given | {"longest": LONGEST + 1})
    sums = yield Query(sql.sums_of_page(agents), given)
    credits_of = {row[0]: int(row[1]) for row in sums}
    found = [listed_from(row) for row in rows]
    return TransactionResult(
        [
            ExecutionRecord(one.execution, credits_of[one.execution.id], truncated=one.cut)
            for one in found
        ]
    )


def record(workspace_id: str, wanted: RecordId) -> Transaction[Record]:
    """The one thing that has the id."""
    if wanted.execution_id is not None:
        found = yield from _execution(workspace_id, wanted.execution_id)
        if found is not None:
            of_id = {"workspace": workspace_id, "id": found.id}
            ((_, total),) = yield Query(sql.SUM, of_id)
            return TransactionResult(ExecutionRecord(found, int(total)))
    if wanted.step_id is not None:
        of_step = {"workspace": workspace_id, "step_id": wanted.step_id}
        for statement, part_from in ((sql.STEP, _step), (sql.CLOSED, _closed)):
            rows = yield Query(statement, of_step)
            if rows:
                found = yield from _execution(workspace_id, rows[0][0])
                assert found is not None
                return TransactionResult(part_from(found, rows[0]))
    raise ExecutionNotFound


def _execution(workspace_id: str, execution_id: str) -> Part[Execution | None]:
    owned = {"workspace": workspace_id, "id": execution_id}
    rows = yield Query(EXECUTION, owned)
    return execution_from(rows[0]) if rows else None


def tree(workspace_id: str, execution_id: str) -> Transaction[Tree]:
    """An execution with all that is under it: three reads, whatever there is."""
    of_id = {"workspace": workspace_id, "id": execution_id}
    rows = yield Query(sql.TREE, of_id)
    if not rows:
        raise ExecutionNotFound
    executions = {row[0]: execution_from(row) for row in rows}
    closed = yield Query(sql.TREE_CLOSED, of_id)
    steps = yield Query(sql.TREE_STEPS, of_id)
    parts: list[RecordPart] = [_closed(executions[row[0]], row) for row in sorted(closed)]
    parts += [_step(executions[row[0]], row) for row in sorted(steps, key=_place)]
    return TransactionResult(tree_of(execution_id, executions.values(), parts))


def _place(row: Row) -> Row:
    return row[:2]


def _step(execution: Execution, row: Row) -> RecordPart:
    *step, superseded, cost = row
    return StepRecord(execution, step_from(tuple(step)), cost, bool(superseded))


def _closed(execution: Execution, row: Row) -> RecordPart:
    return ClosedRecord(execution, charge_from(row[1:]))
