"""`outlast tools`: what a model is offered, and one call by hand."""

import asyncio
from typing import Annotated, Any

from typer import Argument, Option, Typer

from outlast.cli.completion import agent_names
from outlast.cli.options import AgentsFile, AsJson, settings
from outlast.cli.output import note, shorten, write_json, write_table

tools = Typer(help="The tools of an agent: list them, try one.", no_args_is_help=True)

AgentName = Annotated[
    str, Argument(help="The agent's name in the agents file.", autocompletion=agent_names)
]


@tools.callback()
def about() -> None:
    """List the tools of an agent as its model sees them, and try one."""


@tools.command("list")
def list_tools(agent: AgentName, agents: AgentsFile = None, json: AsJson = False) -> None:
    """List an agent's tools as its model sees them, those of MCP servers too.

    With --json, whole: description and the JSON Schema of the arguments.
    """
    from outlast.cli.tool_call import listed_tools, seen

    spec = asyncio.run(listed_tools(settings(agents=agents), agent))
    rows = [seen(tool) for tool in spec.offered]
    if json:
        write_json(rows)
        return
    write_table(
        ["tool", "kind", "effect", "approval", "arguments", "description"],
        [
            (
                row["name"],
                row["kind"],
                row["effect"],
                row["approval"],
                " ".join(_argument(row["parameters"], name) for name in _names(row["parameters"])),
                shorten(row["description"]),
            )
            for row in rows
        ],
    )


@tools.command("call")
def call_tool(
    agent: AgentName,
    tool: Annotated[str, Argument(help="The tool's name.")],
    arguments: Annotated[str, Argument(help="The arguments, as JSON.")] = "{}",
    agents: AgentsFile = None,
    yes: Annotated[
        bool, Option("--yes", help="Call it even if a person has to approve it.")
    ] = False,
) -> None:
    """Call a tool here, as an execution would; write its result as JSON.

    No execution is created. What the tool changes, it changes: it is a real call.
    """
    from outlast.cli.tool_call import arguments_of, call

    chosen = settings(agents=agents)
    given = arguments_of(arguments)
    found, images, seconds = asyncio.run(call(chosen, agent, tool, given, yes=yes))
    write_json(found)
    for image in images:
        note(f"It brought {image.id}, {image.media_type}, {image.size} bytes.")
    note(f"{tool} answered in {seconds:.2f} s.")


def _names(schema: dict[str, Any]) -> list[str]:
    return list(schema.get("properties", {}))


def _argument(schema: dict[str, Any], name: str) -> str:
    """Return an argument's name, with a question mark if it may be left out."""
    return name if name in schema.get("required", ()) else f"{name}?"
