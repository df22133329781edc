"""Reads of what an execution recorded: steps, checkpoints, approvals and its log."""

from collections.abc import Sequence

from outlast.model.event import Cursor, Entry
from outlast.model.execution import Step
from outlast.store.scripts import Outcome, Query, Script, Steps
from outlast.store.scripts.rows import entry_from, step_from
from outlast.store.statements import log as sql


def steps(workspace_id: str, execution_id: str) -> Script[tuple[Step, ...]]:
    """The recorded steps in order."""
    return Outcome((yield from _steps(workspace_id, execution_id)))


def steps_of(
    workspace_id: str, execution_ids: Sequence[str]
) -> Script[dict[str, tuple[Step, ...]]]:
    """The recorded steps of each of these, in order."""
    found = {}
    for execution_id in execution_ids:
        found[execution_id] = yield from _steps(workspace_id, execution_id)
    return Outcome(found)


def _steps(workspace_id: str, execution_id: str) -> Steps[tuple[Step, ...]]:
    rows = yield Query(sql.STEPS, {"id": execution_id, "workspace": workspace_id})
    return tuple(step_from(row) for row in rows)


def log(
    workspace_id: str, execution_id: str, after: Cursor, limit: int
) -> Script[tuple[Entry, ...]]:
    """Entries that end behind the cursor, in order."""
    rows = yield Query(
        sql.LOG,
        {
            "id": execution_id,
            "workspace": workspace_id,
            "segment": after.segment,
            "seq": after.seq,
            "limit": limit,
        },
    )
    return Outcome(tuple(entry_from(row) for row in rows))
