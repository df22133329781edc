"""What an execution shows of itself, read in one moment."""

from collections.abc import Sequence

from outlast.model.execution import TERMINAL, Execution, Status, Step
from outlast.store.approvals.store import approvals_of
from outlast.store.driver import Part, Query, Transaction, TransactionResult
from outlast.store.executions.log import open_text_of
from outlast.store.executions.rows import execution_from
from outlast.store.executions.statements import EXECUTION
from outlast.store.executions.steps import steps_of
from outlast.store.executions.values import Details


def details(workspace_id: str, execution_ids: Sequence[str]) -> Transaction[dict[str, Details]]:
    """Read those that there are; what an execution cannot have is not looked for."""
    found: dict[str, Details] = {}
    for execution_id in execution_ids:
        rows = yield Query(EXECUTION, {"id": execution_id, "workspace": workspace_id})
        for row in rows:
            found[execution_id] = yield from details_of(execution_from(row))
    return TransactionResult(found)


def details_of(execution: Execution) -> Part[Details]:
    """Return what the execution recorded, as the open transaction sees it."""
    workspace_id, execution_id = execution.workspace_id, execution.id
    steps: tuple[Step, ...] = ()
    if execution.steps > 1:
        steps = yield from steps_of(workspace_id, execution_id)
    if execution.status in TERMINAL or execution.segment == 0:
        return Details(execution, steps)
    approvals = yield from approvals_of(workspace_id, execution_id)
    text = ""
    if execution.status is Status.RUNNING and not execution.is_client_driven:
        text = yield from open_text_of(workspace_id, execution_id)
    return Details(execution, steps, approvals, text)
