"""`outlast agents`: the agents of a workspace, as the database has them."""

import asyncio
from typing import Annotated, Any

from typer import Option, Typer, echo

from outlast.cli.options import AgentName, AsJson, DatabaseUrl, DataDir, Workspace, settings
from outlast.cli.output import note, shorten, write_json, write_table
from outlast.model.agent import Agent
from outlast.model.clock import iso
from outlast.settings import Settings

agents = Typer(help="Agents in the database: list, retire, restore.", no_args_is_help=True)

_PAGE = 100


@agents.callback()
def about() -> None:
    """List, retire and restore agents."""


@agents.command("list")
def list_agents(
    workspace: Workspace = "default",
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
    everything: Annotated[bool, Option("--all", help="Retired agents too.")] = False,
    json: AsJson = False,
) -> None:
    """List the agents of a workspace, each in its newest version."""
    chosen = settings(data_dir=data_dir, database_url=database_url)
    found = [
        _row(agent) for agent in asyncio.run(_agents(chosen, workspace, everything=everything))
    ]
    if json:
        write_json(found)
        return
    if not found:
        note("There are no agents. outlast init writes a file of them, outlast serve reads it.")
    write_table(
        [
            "name",
            "id",
            "version",
            "model",
            "tools",
            *(["retired"] if everything else []),
            "description",
        ],
        [
            (
                row["name"],
                row["id"],
                row["version"],
                row["model"],
                " ".join(row["tools"]),
                *([row["retiredAt"] or ""] if everything else []),
                shorten(row["description"]),
            )
            for row in found
        ],
    )


@agents.command()
def remove(
    agent: AgentName,
    workspace: Workspace = "default",
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Retire an agent.

    It starts no new executions, and running ones go on. A server whose agents file
    names it puts it back into use at its next start.
    """
    chosen = settings(data_dir=data_dir, database_url=database_url)
    name = asyncio.run(_retire(chosen, workspace, agent, retired=True))
    echo(f"Retired {name}. To put it back into use: outlast agents restore {name}")


@agents.command()
def restore(
    agent: AgentName,
    workspace: Workspace = "default",
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Put a retired agent back into use."""
    chosen = settings(data_dir=data_dir, database_url=database_url)
    name = asyncio.run(_retire(chosen, workspace, agent, retired=False))
    echo(f"In use again: {name}.")


async def _retire(chosen: Settings, workspace: str, agent: str, *, retired: bool) -> str:
    from outlast.cli.state import opened

    async with opened(chosen, make=False) as state:
        owner = await state.workspaces.named(workspace)
        found = await state.store.agents.get(owner.id, agent)
        at = state.clock.now() if retired else None
        await state.store.agents.retire(owner.id, found.id, at)
        return found.spec.name


async def _agents(chosen: Settings, workspace: str, *, everything: bool) -> list[Agent]:
    from outlast.cli.state import opened
    from outlast.store.page import Page

    async with opened(chosen, make=False) as state:
        owner = await state.workspaces.named(workspace)
        found: list[Agent] = []
        while True:
            after = found[-1].id if found else None
            page = await state.store.agents.page(
                owner.id, Page(_PAGE, after=after), retired=everything
            )
            found += page[:_PAGE]
            if len(page) <= _PAGE:
                return found


def _row(agent: Agent) -> dict[str, Any]:
    return {
        "id": agent.id,
        "name": agent.spec.name,
        "description": agent.spec.description,
        "model": agent.spec.model,
        "fallbackModels": [choice.name for choice in agent.spec.models[1:]],
        "version": agent.version,
        "paused": agent.paused,
        "retiredAt": None if agent.retired_at is None else iso(agent.retired_at),
        "tools": [tool.name for tool in agent.spec.tools],
        "updatedAt": iso(agent.updated_at),
    }
