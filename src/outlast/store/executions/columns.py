"""The columns of `executions`, each declared once: how it is stored, read and written.

`COLUMNS` is the declaration. The table, the reader of rows, the values that statements write, and
which columns they write are made of it (`tables`, `rows`, `statements`).
"""

from dataclasses import dataclass
from enum import Flag, auto
from typing import Any, Final

from sqlalchemy import CheckConstraint, Column, Integer, Text

from outlast.store.tables import JSON, added_count, added_flag, count, flag, identifier, json, time

SHOWN_STATUS: Final = "CASE WHEN awaiting IN ('child', 'time') THEN 'running' ELSE status END"
"""`Execution.shown_status` as the database knows it; indexed, so that lists filter by what they
show."""
UNSUCCESSFUL: Final = "status IN ('failed', 'cancelled')"
"""Those that have ended without an output: few, so that an index has them by agent."""
_AWAITING: Final = (
    "awaiting IS NULL OR (status = 'suspended' AND awaiting IN ('person', 'client', 'child', "
    "'time'))"
)


class Writer(Flag):
    """Statements that update many columns; creation writes every column."""

    ADVANCE = auto()
    RESUME = auto()


_NO_ONE: Final = Writer(0)
_ADVANCE: Final = Writer.ADVANCE
_RESUME: Final = Writer.RESUME
_BOTH: Final = Writer.ADVANCE | Writer.RESUME


@dataclass(frozen=True, slots=True)
class Form:
    """Stored form of a value: Python expressions, in which {0} is the value to convert.

    They are compiled in `rows` and may use the names that are imported there.
    """

    read: str = "{0}"
    write: str = "{0}"


PLAIN: Final = Form()
FLAG: Final = Form("bool({0})")
"""Form of a flag: SQLite has numbers for booleans."""
OBJECT: Final = Form("loads({0})", "to_json({0})")
OBJECT_OR_NULL: Final = Form("{{}} if {0} is None else loads({0})", "to_json({0}) if {0} else None")
TEXT_OR_NULL: Final = Form("{0} or ''", "{0} or None")


def made(name: str) -> Form:
    """Return the form of a value that is JSON of this class's fields."""
    return Form(f"{name}(**loads({{0}}))", "to_json({0})")


def made_or_null(name: str) -> Form:
    """Return the same of a value that may be None."""
    read = f"None if {{0}} is None else {name}(**loads({{0}}))"
    return Form(read, "None if {0} is None else to_json({0})")


@dataclass(frozen=True, slots=True)
class ExecutionColumn:
    """One column, and the field of an Execution that it holds."""

    column: Column[Any]
    form: Form = PLAIN
    by: Writer = _NO_ONE
    """Statements that update it, besides statements of its own."""
    field: str | None = ""
    """Its path in an Execution; empty: the column's name. None: used by statements only."""

    @property
    def name(self) -> str:
        """The column's name."""
        return self.column.name

    @property
    def path(self) -> str | None:
        """The path of its field in an Execution; None if it has none."""
        return self.name if self.field == "" else self.field


COLUMNS: Final = (
    ExecutionColumn(identifier("id", primary_key=True)),
    ExecutionColumn(identifier("workspace_id")),
    ExecutionColumn(identifier("agent_id")),
    ExecutionColumn(Column("agent_version", Integer, nullable=False)),
    ExecutionColumn(identifier("conversation_id")),
    ExecutionColumn(count("turn")),
    ExecutionColumn(identifier("parent_id", nullable=True)),
    ExecutionColumn(identifier("key_id", nullable=True)),
    ExecutionColumn(Column("input", Text, nullable=False)),
    ExecutionColumn(json("metadata"), OBJECT),
    ExecutionColumn(json("session"), OBJECT),
    ExecutionColumn(json("budget"), made("Budget"), _RESUME),
    ExecutionColumn(time("created_at")),
    ExecutionColumn(
        Column("status", Text, nullable=False), Form("Status({0})", "{0}.value"), _BOTH
    ),
    ExecutionColumn(count("segment"), PLAIN, _BOTH),
    ExecutionColumn(flag("waiting"), FLAG, _BOTH),
    ExecutionColumn(time("updated_at"), PLAIN, _BOTH),
    ExecutionColumn(time("started_at", nullable=True), PLAIN, _ADVANCE),
    ExecutionColumn(time("completed_at", nullable=True), PLAIN, _BOTH),
    ExecutionColumn(Column("output", Text), PLAIN, _BOTH),
    ExecutionColumn(Column("error", JSON), made_or_null("Failure"), _BOTH),
    ExecutionColumn(count("input_tokens"), PLAIN, _BOTH, "usage.input_tokens"),
    ExecutionColumn(count("output_tokens"), PLAIN, _BOTH, "usage.output_tokens"),
    ExecutionColumn(count("cache_read_tokens"), PLAIN, _BOTH, "usage.cache_read_tokens"),
    ExecutionColumn(count("cache_write_tokens"), PLAIN, _BOTH, "usage.cache_write_tokens"),
    ExecutionColumn(flag("usage_estimated"), FLAG, _BOTH, "usage.estimated"),
    ExecutionColumn(count("steps"), PLAIN, _BOTH),
    ExecutionColumn(Column("final_model", Text), PLAIN, _BOTH),
    ExecutionColumn(count("first_token_ms", nullable=True), PLAIN, _ADVANCE),
    ExecutionColumn(count("tool_ms"), PLAIN, _BOTH),
    ExecutionColumn(count("active_ms"), PLAIN, _ADVANCE),
    ExecutionColumn(flag("cancel_requested"), FLAG),
    ExecutionColumn(flag("is_purged"), FLAG),
    # Since 0003:
    ExecutionColumn(Column("pause_requested", JSON), made_or_null("PauseRequest")),
    ExecutionColumn(added_count("superseded_tokens"), PLAIN, _BOTH),
    ExecutionColumn(added_count("superseded_to"), PLAIN, _RESUME),
    ExecutionColumn(added_count("resumed_ms"), PLAIN, _RESUME),
    ExecutionColumn(Column("state", JSON), OBJECT_OR_NULL, _RESUME),
    # Since 0004:
    ExecutionColumn(Column("instructions", Text), TEXT_OR_NULL, _NO_ONE, "origin.instructions"),
    ExecutionColumn(Column("chat_id", Text), PLAIN, _NO_ONE, "origin.chat_id"),
    ExecutionColumn(Column("format", Text), PLAIN, _NO_ONE, "origin.format"),
    ExecutionColumn(
        Column("forwarded_headers", Text),
        Form(write="None if execution.status in TERMINAL else {0}"),
        _ADVANCE,
        "origin.headers",
    ),
    # Since 0005:
    ExecutionColumn(time("active_since", nullable=True), PLAIN, _BOTH),
    # Since 0006:
    ExecutionColumn(added_count("credits"), PLAIN, _ADVANCE),
    # Since 0007:
    ExecutionColumn(added_count("tries"), PLAIN, _ADVANCE),
    ExecutionColumn(Column("end_user", Text), field="user"),
    ExecutionColumn(added_flag("superseded"), FLAG),
    ExecutionColumn(Column("message_id", Text), PLAIN, _NO_ONE, "origin.message_id"),
    ExecutionColumn(added_flag("purging"), Form(write="False"), field=None),
    # Since 0008:
    ExecutionColumn(
        Column("awaiting", Text, CheckConstraint(_AWAITING, name="awaiting")),
        Form(
            "None if {0} is None else Awaiting({0})",
            "{0}.value if {0} and execution.status is Status.SUSPENDED else None",
        ),
        _RESUME,
    ),
    # Since 0010:
    ExecutionColumn(identifier("root_id", nullable=True)),
    ExecutionColumn(added_count("depth")),
    ExecutionColumn(identifier("tool_call_id", nullable=True)),
    ExecutionColumn(added_count("children"), PLAIN, _ADVANCE),
    # Since 0011:
    ExecutionColumn(
        Column("reserved", JSON),
        Form(
            "None if {0} is None else Reservation.from_json(loads({0}))",
            "None if {0} is None else to_json({0}.as_json())",
        ),
        _BOTH,
    ),
    # Since 0012:
    ExecutionColumn(identifier("schedule_id", nullable=True), PLAIN, _NO_ONE, "origin.schedule_id"),
    ExecutionColumn(time("scheduled_at", nullable=True), PLAIN, _NO_ONE, "origin.scheduled_at"),
    ExecutionColumn(added_flag("late"), FLAG, _NO_ONE, "origin.late"),
    ExecutionColumn(added_count("missed"), PLAIN, _NO_ONE, "origin.missed"),
    # Since 0013:
    ExecutionColumn(Column("deleted_spent", JSON), Form(write="None"), field=None),
    # Since 0015:
    ExecutionColumn(
        Column("memory_stores", JSON),
        Form(
            "() if {0} is None else accesses_from(loads({0}))",
            "to_json(stored_accesses({0})) if {0} else None",
        ),
    ),
    # Since 0016:
    ExecutionColumn(identifier("paused_by", nullable=True), PLAIN, _RESUME),
    # Since 0018:
    ExecutionColumn(
        Column("client_tools", JSON),
        Form(
            "() if {0} is None else client_tools_from(loads({0}))", "to_json({0}) if {0} else None"
        ),
        _NO_ONE,
        "origin.client_tools",
    ),
    # Since 0019, written by a statement of its own:
    ExecutionColumn(Column("browser", JSON), made_or_null("BrowserUse")),
)
"""In the order of the schema, which is that of a row."""

PLACES: Final = {known.name: place for place, known in enumerate(COLUMNS)}
"""Index of each column in a row."""


def written_by(writer: Writer) -> tuple[str, ...]:
    """Return the columns that these statements write."""
    return tuple(known.name for known in COLUMNS if writer in known.by)
