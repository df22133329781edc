"""Executions whose row cannot be read whole, for lists: as much of them as can be read."""

from contextlib import suppress
from dataclasses import replace
from typing import Any

from outlast.model.execution import UNREADABLE, Execution, Status
from outlast.store.driver import Row
from outlast.store.executions.columns import PLACES
from outlast.store.executions.rows import PARTS, execution_from, value_readers
from outlast.store.unreadable import BROKEN


def execution_or_part(row: Row) -> Execution:
    """Return the execution, or as much of it as can be read, with an error that says so.

    A field that cannot be read is as in an execution that does not have it.
    """
    try:
        return execution_from(row)
    except BROKEN:
        return unreadable(_part(row))


def unreadable(execution: Execution) -> Execution:
    """Return the execution with an error that says that it cannot be read, unless it has one."""
    return execution if execution.error is not None else replace(execution, error=UNREADABLE)


def _part(row: Row) -> Execution:
    ended = row[PLACES["completed_at"]] is not None
    fields: dict[str, Any] = {"status": Status.FAILED if ended else Status.RUNNING}
    parts: dict[str, dict[str, Any]] = {name: {} for name in PARTS}
    for path, read in value_readers().items():
        part, _, name = path.rpartition(".")
        with suppress(*BROKEN):
            (parts[part] if part else fields)[name] = read(row)
    return Execution(**fields, **{name: made(**parts[name]) for name, made in PARTS.items()})
