"""Reads of what an execution recorded: steps, checkpoints, approvals and its log."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from outlast.model.event import Cursor, Entry, ExecutionCreated, TextAdded
from outlast.model.execution import Step
from outlast.model.task import CLIENT_NAME
from outlast.store.driver import Part, Query, Row, Transaction, TransactionResult
from outlast.store.log_port import LogPage
from outlast.store.scripts.rows import entry_from, step_from
from outlast.store.statements import log as sql

_PAGE_ROWS: Final = 64
_PAGE_CHARACTERS: Final = 32 * 1024
"""Of what the rows of a page hold; a row that holds more is a page of its own."""


def steps(workspace_id: str, execution_id: str) -> Transaction[tuple[Step, ...]]:
    """The recorded steps in order."""
    return TransactionResult((yield from steps_of_one(workspace_id, execution_id)))


def steps_of_one(workspace_id: str, execution_id: str) -> Part[tuple[Step, ...]]:
    """The same inside another transaction."""
    rows = yield Query(sql.STEPS, {"id": execution_id, "workspace": workspace_id})
    return tuple(step_from(row) for row in rows)


def log(
    workspace_id: str, execution_id: str, after: Cursor, limit: int
) -> Transaction[tuple[Entry, ...]]:
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
    return TransactionResult((yield from _entries(workspace_id, execution_id, rows)))


def log_page(workspace_id: str, execution_id: str, after: Cursor) -> Transaction[LogPage]:
    """Entries that end behind the cursor, in order: as many as fit a page, and at least one."""
    rows = yield Query(
        sql.LOG_PAGE,
        {
            "id": execution_id,
            "workspace": workspace_id,
            "segment": after.segment,
            "seq": after.seq,
            "limit": _PAGE_ROWS,
            "size": _PAGE_CHARACTERS,
        },
    )
    size = sum(len(row[4]) for row in rows)
    more = len(rows) == _PAGE_ROWS or size >= _PAGE_CHARACTERS
    return TransactionResult(LogPage((yield from _entries(workspace_id, execution_id, rows)), more))


def _entries(workspace_id: str, execution_id: str, rows: Sequence[Row]) -> Part[tuple[Entry, ...]]:
    """The rows read, the log's first with what the execution's own row says of it."""
    entries = tuple(entry_from(row) for row in rows)
    if entries and isinstance(entries[0].event, ExecutionCreated):
        about = yield Query(sql.ABOUT, {"id": execution_id, "workspace": workspace_id})
        entries = (_with_row(entries[0], entries[0].event, about[0]), *entries[1:])
    return entries


def reaches(workspace_id: str, execution_id: str, cursor: Cursor) -> Transaction[bool]:
    """Whether the log goes on behind the cursor."""
    rows = yield Query(
        sql.REACHES,
        {
            "id": execution_id,
            "workspace": workspace_id,
            "segment": cursor.segment,
            "seq": cursor.seq,
        },
    )
    return TransactionResult(bool(rows))


def _with_row(entry: Entry, created: ExecutionCreated, row: Row) -> Entry:
    given, user, agent = row
    name = CLIENT_NAME if agent is None else agent
    return replace(entry, event=replace(created, input=given, agent=name, user=user))


def open_text_of(workspace_id: str, execution_id: str) -> Part[str]:
    """What the step that runs has shown so far, as far as it is written."""
    rows = yield Query(sql.OPEN_TEXT, {"id": execution_id, "workspace": workspace_id})
    events = (entry_from(row).event for row in rows)
    return "".join("".join(e.pieces) for e in events if isinstance(e, TextAdded))
