"""Checkpoints of executions."""

from dataclasses import replace
from typing import Any, Final

import orjson
from sqlalchemy import (
    Column,
    Table,
    Text,
    bindparam,
    insert,
    literal_column,
    select,
    update,
)

from outlast.model.checkpoint import Checkpoint, with_memory
from outlast.model.execution import Execution
from outlast.store.driver import Driver, Part, Query, Row, Statement, Transaction, TransactionResult
from outlast.store.executions.locks import set_state
from outlast.store.executions.statements import OWNED, STATE
from outlast.store.memory.rows import MEMORY_OF_EXECUTION, written_from
from outlast.store.page import Page
from outlast.store.tables import JSON, count, flag, identifier, metadata, time, to_json

checkpoints: Final = Table(
    "checkpoints",
    metadata,
    identifier("execution_id", primary_key=True),
    identifier("id", primary_key=True),
    count("step"),
    time("at"),
    Column("label", Text),
    Column("state", JSON),
    flag("superseded"),
    Column("missing", JSON),
    sqlite_with_rowid=False,
)

INSERT_CHECKPOINT: Final = Statement(insert(checkpoints))

CHECKPOINTS: Final = Statement(
    select(*checkpoints.c).where(checkpoints.c.execution_id == OWNED).order_by(checkpoints.c.id)
)

_newest: Final = select(*checkpoints.c).where(checkpoints.c.execution_id == OWNED)
_newest_first: Final = checkpoints.c.id.desc()

NEWEST_CHECKPOINTS: Final = Statement(_newest.order_by(_newest_first).limit(bindparam("limit")))

CHECKPOINTS_BEFORE: Final = Statement(
    _newest.where(checkpoints.c.id < bindparam("before"))
    .order_by(_newest_first)
    .limit(bindparam("limit"))
)
"""Superseded ones too, in both; by their ids, which are as old as the clocks of workers say."""

CHECKPOINT: Final = Statement(_newest.where(checkpoints.c.id == bindparam("cp")))

CHECKPOINTS_BEHIND: Final = Statement(
    _newest.where(
        checkpoints.c.step == bindparam("step"),
        checkpoints.c.superseded.is_(literal_column("false")),
    )
)
"""Selects those behind one step, among all of its execution."""

SUPERSEDE_CHECKPOINT: Final = Statement(
    update(checkpoints)
    .where(checkpoints.c.execution_id == bindparam("given_id"), checkpoints.c.id == bindparam("cp"))
    .values(superseded=literal_column("true"))
)


def checkpoint_columns(checkpoint: Checkpoint) -> dict[str, Any]:
    """Return a checkpoint's row."""
    return {
        "execution_id": checkpoint.execution_id,
        "id": checkpoint.id,
        "step": checkpoint.step,
        "at": checkpoint.at,
        "label": checkpoint.label,
        "state": None if checkpoint.state is None else to_json(checkpoint.state),
        "superseded": checkpoint.superseded,
        "missing": to_json(checkpoint.missing) if checkpoint.missing else None,
    }


def checkpoint_from(row: Row) -> Checkpoint:
    """Return the checkpoint of all columns of `checkpoints`."""
    execution_id, checkpoint_id, step, at, label, state, superseded, missing = row
    return Checkpoint(
        checkpoint_id,
        execution_id,
        step,
        at,
        label,
        None if state is None else orjson.loads(state),
        bool(superseded),
        () if missing is None else tuple(orjson.loads(missing)),
    )


def known_checkpoints(workspace_id: str, execution_id: str) -> Part[tuple[Checkpoint, ...]]:
    """Return the checkpoints, oldest first, superseded ones too."""
    rows = yield Query(CHECKPOINTS, {"id": execution_id, "workspace": workspace_id})
    return tuple(sorted(map(checkpoint_from, rows), key=lambda found: found.place))


def save(checkpoint: Checkpoint) -> Part[None]:
    """Insert a checkpoint; its state becomes the execution's."""
    yield Query(INSERT_CHECKPOINT, checkpoint_columns(checkpoint))
    if checkpoint.state is not None:
        yield from set_state(checkpoint.execution_id, checkpoint.state)


def with_state(checkpoint: Checkpoint) -> Part[Checkpoint]:
    """Return the checkpoint with the state, which a client-driven execution's steps do not give."""
    ((state,),) = yield Query(STATE, {"id": checkpoint.execution_id})
    return replace(checkpoint, state={} if state is None else orjson.loads(state))


def _of(
    workspace_id: str, execution_id: str, *, memory: bool
) -> Transaction[tuple[Checkpoint, ...]]:
    """Read the checkpoints, oldest first."""
    found = yield from known_checkpoints(workspace_id, execution_id)
    if memory:
        of = {"id": execution_id, "workspace": workspace_id}
        rows = yield Query(MEMORY_OF_EXECUTION, of)
        found = with_memory(found, map(written_from, rows))
    return TransactionResult(found)


def _page(workspace_id: str, execution_id: str, page: Page) -> Transaction[list[Checkpoint]]:
    """Read a page, newest first, and one more to tell whether there are more."""
    of: dict[str, Any] = {"id": execution_id, "workspace": workspace_id, "limit": page.limit + 1}
    if page.after is None:
        rows = yield Query(NEWEST_CHECKPOINTS, of)
    else:
        rows = yield Query(CHECKPOINTS_BEFORE, of | {"before": page.after})
    return TransactionResult([checkpoint_from(row) for row in rows])


def _one(statement: Statement, given: dict[str, Any]) -> Transaction[Checkpoint | None]:
    """Read the last of those that a statement selects; None if there is none."""
    found = [checkpoint_from(row) for row in (yield Query(statement, given))]
    return TransactionResult(max(found, key=lambda one: one.place, default=None))


class CheckpointStore:
    """The checkpoints of executions; `ExecutionStore.resume` goes back to one."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver

    async def of(self, workspace_id: str, execution_id: str) -> tuple[Checkpoint, ...]:
        """Return the checkpoints, oldest first, superseded ones too."""
        return await self._driver.read(lambda: _of(workspace_id, execution_id, memory=False))

    async def page(self, workspace_id: str, execution_id: str, page: Page) -> list[Checkpoint]:
        """Return a page, newest first, superseded ones too; one more if there are more.

        `page.after` is a checkpoint; what is older follows.
        """
        return await self._driver.read(lambda: _page(workspace_id, execution_id, page))

    async def find(
        self, workspace_id: str, execution_id: str, checkpoint_id: str
    ) -> Checkpoint | None:
        """Return a checkpoint; None if there is none of this id."""
        given = {"workspace": workspace_id, "id": execution_id, "cp": checkpoint_id}
        return await self._driver.read(lambda: _one(CHECKPOINT, given))

    async def behind(self, workspace_id: str, execution_id: str, step: int) -> Checkpoint | None:
        """Return the last one that stands behind a step; None if there is none."""
        given = {"workspace": workspace_id, "id": execution_id, "step": step}
        return await self._driver.read(lambda: _one(CHECKPOINTS_BEHIND, given))

    async def shown(self, execution: Execution) -> tuple[Checkpoint, ...]:
        """Return the same, with what was written to memory stores behind each."""
        place, memory = (execution.workspace_id, execution.id), bool(execution.memory_stores)
        return await self._driver.read(lambda: _of(*place, memory=memory))
