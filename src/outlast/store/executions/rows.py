"""Converts rows of executions to values and back, compiled from the declared columns.

Every step of every execution reads and writes rows, so the declarations in `columns` are compiled
to functions without loops, as dataclasses do with their fields.
"""

import linecache
from collections.abc import Callable, Iterable
from dataclasses import fields
from functools import cache
from typing import Any, Final

import orjson

from outlast.model.budget import Reservation
from outlast.model.client_call import client_tools_from
from outlast.model.event import Entry, ExecutionCreated
from outlast.model.execution import (
    TERMINAL,
    BrowserUse,
    Budget,
    Execution,
    Failure,
    PauseRequest,
    RequestContext,
    Status,
)
from outlast.model.memory import accesses_from, stored_accesses
from outlast.model.usage import Usage
from outlast.model.wait import Awaiting
from outlast.store.driver import Row
from outlast.store.executions.columns import COLUMNS, PLACES, ExecutionColumn, Writer
from outlast.store.tables import to_json
from outlast.store.unreadable import read_of

PARTS: Final[dict[str, type[Any]]] = {"usage": Usage, "origin": RequestContext}
"""Fields of an Execution that are stored in several columns."""
_NAMES: Final = {
    "Awaiting": Awaiting,
    "BrowserUse": BrowserUse,
    "Budget": Budget,
    "Execution": Execution,
    "Failure": Failure,
    "PauseRequest": PauseRequest,
    "RequestContext": RequestContext,
    "Reservation": Reservation,
    "Status": Status,
    "TERMINAL": TERMINAL,
    "Usage": Usage,
    "accesses_from": accesses_from,
    "client_tools_from": client_tools_from,
    "loads": orjson.loads,
    "stored_accesses": stored_accesses,
    "to_json": to_json,
}
"""Names available to the columns' expressions."""


def _expressions() -> dict[str, str]:
    """Return by the path of a field the expression that reads it of `row`."""
    return {
        known.path: known.form.read.format(f"row[{PLACES[known.name]}]")
        for known in COLUMNS
        if known.path is not None
    }


def _reader() -> Callable[[Row], Execution]:
    """Return a function that makes an Execution of all columns, in the order of the schema."""
    read = _expressions()

    def value(field: str) -> str:
        part = PARTS.get(field)
        if part is None:
            return read[field]
        inside = ", ".join(read[f"{field}.{one.name}"] for one in fields(part))
        return f"{part.__name__}({inside})"

    values = ", ".join(value(field.name) for field in fields(Execution))
    made: Callable[[Row], Execution] = _compiled("execution_from", "row", f"Execution({values})")
    return made


@cache
def value_readers() -> dict[str, Callable[[Row], Any]]:
    """Return by the path of a field a function that reads it alone."""
    return {
        path: _compiled(f"read_{path}".replace(".", "_"), "row", expression)
        for path, expression in _expressions().items()
    }


def _writer(
    name: str, columns: Iterable[ExecutionColumn], prefix: str = ""
) -> Callable[[Execution], dict[str, Any]]:
    """Return a function that returns the values of these columns of an Execution."""
    pairs = ", ".join(
        f"{prefix + known.name!r}: {known.form.write.format(f'execution.{known.path}')}"
        for known in columns
    )
    made: Callable[[Execution], dict[str, Any]] = _compiled(name, "execution", f"{{{pairs}}}")
    return made


def _compiled(name: str, argument: str, expression: str) -> Any:
    source = f"def {name}({argument}):\n    return {expression}\n"
    file = f"<{__name__}.{name}>"
    linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
    found: dict[str, Any] = {**_NAMES}
    exec(compile(source, file, "exec"), found)  # noqa: S102 - our own text, see the module's first
    return found[name]


def _by(writer: Writer) -> list[ExecutionColumn]:
    return [known for known in COLUMNS if writer in known.by]


execution_from: Final = _reader()
"""Return the Execution of a row with all columns, in the order of the schema; more may follow."""
new_columns: Final = _writer("new_columns", COLUMNS)
"""Return all columns of a new row."""
advance_columns: Final = _writer("advance_columns", _by(Writer.ADVANCE), "new_")
"""Return the columns that `advance` writes, as `new_…`."""
resume_columns: Final = _writer("resume_columns", _by(Writer.RESUME), "new_")
"""Return the columns that `resume` writes, as `new_…`."""


def execution_of(row: Row) -> Execution:
    """Return the same. Raises ExecutionUnreadable."""
    return read_of(row, execution_from, row[PLACES["id"]])


def without_message(text: str) -> str:
    """Return a failure without its message."""
    return to_json(orjson.loads(text) | {"message": ""})


def first_entry(execution: Execution, agent: str) -> Entry:
    """Return the first entry of a new execution's log; `agent` is the agent's name."""
    created = ExecutionCreated(
        agent_id=execution.agent_id,
        agent_version=execution.agent_version,
        conversation_id=execution.conversation_id,
        metadata=execution.metadata,
        parent_id=execution.parent_id,
        input=execution.input,
        agent=agent,
        user=execution.user,
    )
    return Entry(0, 1, execution.created_at, created)
