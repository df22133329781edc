"""`outlast agents`: the agents of a workspace, as the database has them."""

import asyncio
from typing import Any

from typer import Typer

from outlast.cli.options import AsJson, DatabaseUrl, DataDir, Workspace, settings
from outlast.cli.output import shorten, write_json, write_table
from outlast.model.agent import Agent
from outlast.model.clock import iso
from outlast.settings import Settings

agents = Typer(help="Agents.", no_args_is_help=True)

_PAGE = 100


@agents.callback()
def about() -> None:
    """Agents."""


@agents.command("list")
def list_agents(
    workspace: Workspace = "default",
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
    json: AsJson = False,
) -> None:
    """List the agents of a workspace, each in its newest version."""
    chosen = settings(data_dir=data_dir, database_url=database_url)
    found = [_row(agent) for agent in asyncio.run(_agents(chosen, workspace))]
    if json:
        write_json(found)
        return
    write_table(
        ["name", "id", "version", "model", "tools", "description"],
        [
            (
                row["name"],
                row["id"],
                row["version"],
                row["model"],
                " ".join(row["tools"]),
                shorten(row["description"]),
            )
            for row in found
        ],
    )


async def _agents(chosen: Settings, workspace: str) -> list[Agent]:
    from outlast.cli.opening import opened
    from outlast.store.port import Page

    async with opened(chosen, make=False) as state:
        owner = await state.keys.workspace_named(workspace)
        found: list[Agent] = []
        while True:
            after = found[-1].id if found else None
            page = await state.store.agents(owner.id, Page(_PAGE, after=after))
            found += page[:_PAGE]
            if len(page) <= _PAGE:
                return found


def _row(agent: Agent) -> dict[str, Any]:
    return {
        "id": agent.id,
        "name": agent.spec.name,
        "description": agent.spec.description,
        "model": agent.spec.model,
        "version": agent.version,
        "paused": agent.paused,
        "tools": [tool.name for tool in agent.spec.tools],
        "updatedAt": iso(agent.updated_at),
    }
