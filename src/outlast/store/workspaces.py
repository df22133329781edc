"""Workspaces."""

from typing import Final

from sqlalchemy import (
    CheckConstraint,
    Column,
    Table,
    Text,
    UniqueConstraint,
    bindparam,
    insert,
    select,
    update,
)

from outlast.model.error import NotFound
from outlast.model.workspace import Plan, Workspace
from outlast.store.driver import Driver, Query, Row, Statement, Transaction, TransactionResult
from outlast.store.tables import count, identifier, metadata, time

workspaces: Final = Table(
    "workspaces",
    metadata,
    identifier("id", primary_key=True),
    Column("name", Text, nullable=False),
    Column("plan", Text, nullable=False),
    time("created_at"),
    # Since 0014:
    count("retention_days", nullable=True),
    UniqueConstraint("name"),
    CheckConstraint("plan IN ('starter', 'professional', 'enterprise')", name="plan"),
)


INSERT_WORKSPACE: Final = Statement(insert(workspaces))

WORKSPACES: Final = Statement(select(*workspaces.c).order_by(workspaces.c.id))

WORKSPACE_NAMED: Final = Statement(
    select(*workspaces.c).where(workspaces.c.name == bindparam("name"))
)

SET_PLAN: Final = Statement(
    update(workspaces)
    .where(workspaces.c.id == bindparam("workspace"))
    .values(plan=bindparam("new_plan"), retention_days=bindparam("new_days"))
    .returning(*workspaces.c)
)


def _workspace_from(row: Row) -> Workspace:
    """Read all columns of `workspaces`."""
    workspace_id, name, plan, created_at, retention_days = row
    return Workspace(workspace_id, name, created_at, Plan(plan), retention_days)


def put_workspace(workspace: Workspace) -> Transaction[Workspace]:
    """Insert a workspace, or find the one of that name."""
    rows = yield Query(WORKSPACE_NAMED, {"name": workspace.name})
    if rows:
        return TransactionResult(_workspace_from(rows[0]))
    yield Query(
        INSERT_WORKSPACE,
        {
            "id": workspace.id,
            "name": workspace.name,
            "plan": workspace.plan.value,
            "created_at": workspace.created_at,
            "retention_days": workspace.retention_days,
        },
    )
    return TransactionResult(workspace)


def _set_plan(workspace_id: str, plan: Plan, retention_days: int | None) -> Transaction[Workspace]:
    """Set what decides how long conversations are kept."""
    new = {"new_plan": plan.value, "new_days": retention_days}
    rows = yield Query(SET_PLAN, {"workspace": workspace_id} | new)
    if not rows:
        raise NotFound(f"There is no workspace {workspace_id}.")
    return TransactionResult(_workspace_from(rows[0]))


def _all() -> Transaction[list[Workspace]]:
    """Read all, oldest first."""
    rows = yield Query(WORKSPACES, {})
    return TransactionResult([_workspace_from(row) for row in rows])


def workspace_named(name: str) -> Transaction[Workspace]:
    """Read one by its name."""
    rows = yield Query(WORKSPACE_NAMED, {"name": name})
    if not rows:
        raise NotFound(f"There is no workspace {name!r}. Make it: outlast workspaces create {name}")
    return TransactionResult(_workspace_from(rows[0]))


class WorkspaceStore:
    """Workspaces."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver

    async def put(self, workspace: Workspace) -> Workspace:
        """Create a workspace, or return the one that has its name."""
        return await self._driver.write(lambda: put_workspace(workspace))

    async def set_plan(
        self, workspace_id: str, plan: Plan, retention_days: int | None
    ) -> Workspace:
        """Set a workspace's plan and its own retention; None: its plan's. Raises NotFound."""
        return await self._driver.write(lambda: _set_plan(workspace_id, plan, retention_days))

    async def all(self) -> list[Workspace]:
        """Return all workspaces, oldest first."""
        return await self._driver.read(_all)

    async def named(self, name: str) -> Workspace:
        """Return the workspace of this name. Raises NotFound."""
        return await self._driver.read(lambda: workspace_named(name))
