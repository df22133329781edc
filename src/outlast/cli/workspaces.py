"""`outlast workspaces`: on the database, with or without a running server."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated

from typer import Argument, Option, Typer, echo

from outlast.cli.options import AsJson, DatabaseUrl, DataDir, require_one_of, settings
from outlast.cli.output import note, write_json, write_table
from outlast.model.clock import iso
from outlast.model.error import Conflict, InvalidRequest
from outlast.model.retention import MOST_DAYS, Plans
from outlast.model.workspace import Plan, Workspace
from outlast.settings import Settings

workspaces = Typer(help="Workspaces in the database, one for each tenant.", no_args_is_help=True)

Name = Annotated[str, Argument(help="The workspace's name.")]
Days = Annotated[
    int | None,
    Option(min=1, max=MOST_DAYS, help="Keep conversations for fewer days than the plan does."),
]


@workspaces.command("create")
def create_workspace(
    name: Name,
    plan: Annotated[
        str | None, Option(help="starter, professional or enterprise; default: the settings'.")
    ] = None,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
    json: AsJson = False,
) -> None:
    """Create a workspace. An existing one of that name is left unchanged."""
    chosen = settings(data_dir=data_dir, database_url=database_url)
    if not name.strip():
        raise InvalidRequest("A workspace needs a name.")
    wanted = _plan(plan)
    made = asyncio.run(_create(chosen, name.strip(), wanted))
    if wanted is not None and made.plan is not wanted:
        note(f"It exists, with another plan. To change it: outlast workspaces set-plan {name}")
    _show(chosen, [made], json=json, one=True)


@workspaces.command("list")
def list_workspaces(
    data_dir: DataDir = None, database_url: DatabaseUrl = None, json: AsJson = False
) -> None:
    """List the workspaces."""
    chosen = settings(data_dir=data_dir, database_url=database_url)
    _show(chosen, asyncio.run(_all(chosen)), json=json)


@workspaces.command("set-plan")
def set_plan(
    name: Name,
    plan: Annotated[str, Argument(help="starter, professional or enterprise.")],
    retention_days: Days = None,
    yes: Annotated[
        bool, Option("--yes", help="Also if conversations are deleted because of it at once.")
    ] = False,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
    json: AsJson = False,
) -> None:
    """Set a plan, which says how long conversations are kept.

    A change by which conversations would be deleted at once needs --yes.
    """
    chosen = settings(data_dir=data_dir, database_url=database_url)
    wanted = _plan(plan)
    assert wanted is not None
    changed = asyncio.run(_set_plan(chosen, name, wanted, retention_days, sure=yes))
    _show(chosen, [changed], json=json, one=True)


async def _create(chosen: Settings, name: str, plan: Plan | None) -> Workspace:
    from outlast.cli.state import opened

    async with opened(chosen) as state:
        return await state.workspaces.put(name, plan)


async def _all(chosen: Settings) -> list[Workspace]:
    from outlast.cli.state import opened

    async with opened(chosen, make=False) as state:
        return await state.workspaces.all()


async def _set_plan(
    chosen: Settings, name: str, plan: Plan, retention_days: int | None, *, sure: bool
) -> Workspace:
    """Change the plan. Raises Conflict if something would be due at once, unless `sure`."""
    from outlast.cli.state import opened

    async with opened(chosen, make=False) as state:
        before = await state.workspaces.named(name)
        after = replace(before, plan=plan, retention_days=retention_days)
        days, known = chosen.plans.days_of(after), chosen.plans.days[plan]
        if retention_days is not None and known is not None and retention_days > known:
            raise InvalidRequest(
                f"--retention-days can only shorten: the plan {plan} keeps {known} days."
            )
        if not sure and days is not None:
            due = await state.store.conversations.inactive(after.id, state.clock.now(), days)
            if due:
                many = "conversation" if due == 1 else "conversations"
                raise Conflict(
                    f"{due} {many} of {name}, inactive for {days} days or longer, would be deleted "
                    "at once; to do it: --yes"
                )
        return await state.store.workspaces.set_plan(after.id, plan, retention_days)


def _plan(text: str | None) -> Plan | None:
    require_one_of("the plan", text, list(Plan))
    return None if text is None else Plan(text)


def _show(chosen: Settings, found: Sequence[Workspace], *, json: bool, one: bool = False) -> None:
    rows = [_row(workspace, chosen.plans) for workspace in found]
    if json:
        write_json(rows[0] if one else rows)
    elif one:
        echo(f"{rows[0]['name']}\t{rows[0]['id']}\t{rows[0]['plan']}\t{_kept(rows[0])}")
    else:
        cells = [
            (row["name"], row["id"], row["plan"], _kept(row), row["createdAt"]) for row in rows
        ]
        write_table(["name", "id", "plan", "kept", "created"], cells)


def _kept(row: dict[str, object]) -> str:
    days = row["retentionDays"]
    return "for ever" if days is None else f"{days} days"


def _row(workspace: Workspace, plans: Plans) -> dict[str, object]:
    return {
        "name": workspace.name,
        "id": workspace.id,
        "plan": workspace.plan.value,
        "retentionDays": plans.days_of(workspace),
        "createdAt": iso(workspace.created_at),
    }
