"""An MCP server of the official SDK whose tools ask: `… http|stdio old|new FOLDER [PORT]`.

`deliver` asks while it holds its call open, as servers did before 2026-07-28; `old` refuses that
protocol. `ship` asks by ending its call, as servers do since. What they did is in `FOLDER/calls`.
"""

import sys
from pathlib import Path
from typing import Annotated, Any

import mcp_types
from mcp.server import runner, streamable_http_manager
from mcp.server.mcpserver import Context, Elicit, MCPServer, Resolve
from mcp_types.version import HANDSHAKE_PROTOCOL_VERSIONS, LATEST_MODERN_VERSION
from pydantic import BaseModel, Field

server = MCPServer("post", log_level="ERROR")
folder = Path(sys.argv[3])
READ_ONLY = mcp_types.ToolAnnotations(read_only_hint=True)


def note(line: str) -> None:
    with (folder / "calls").open("a") as calls:
        calls.write(f"{line}\n")


class Address(BaseModel):
    street: str = Field(max_length=20)
    floor: int = 0


class Weight(BaseModel):
    kilos: int


async def address() -> Elicit[Address]:
    return Elicit("Which street?", Address)


async def weight(where: Annotated[Address, Resolve(address)]) -> Elicit[Weight]:
    return Elicit(f"How heavy is what goes to {where.street}?", Weight)


@server.tool()
async def deliver(item: str, ctx: Context) -> str:
    """Deliver, and ask where to."""
    return await delivered(item, ctx)


@server.tool(annotations=READ_ONLY)
async def quote(item: str, ctx: Context) -> str:
    """Say what a delivery costs, and ask where to."""
    return await delivered(item, ctx)


async def delivered(item: str, ctx: Context) -> str:
    note(f"asks {item}")
    answer: Any = await ctx.elicit(f"Where to, {item}?", Address)
    note(f"answered {item} {answer.action}")
    return f"{item} to {answer.data.street}" if answer.action == "accept" else answer.action


@server.tool()
async def ship(
    item: str,
    where: Annotated[Address, Resolve(address)],
    heavy: Annotated[Weight, Resolve(weight)],
) -> str:
    """Ship, and ask where to and how heavy it is, one after the other."""
    note(f"ships {item}")
    return f"{item}, {heavy.kilos} kg, to {where.street}"


def speak_old() -> None:
    """Refuse the protocol of 2026-07-28."""
    versions = (*HANDSHAKE_PROTOCOL_VERSIONS, LATEST_MODERN_VERSION)
    setattr(runner, "_has_modern_envelope", lambda _params: False)  # noqa: B010 - not ours
    setattr(streamable_http_manager, "HANDSHAKE_PROTOCOL_VERSIONS", versions)  # noqa: B010


if __name__ == "__main__":
    if sys.argv[2] == "old":
        speak_old()
    if sys.argv[1] == "http":
        server.run("streamable-http", host="127.0.0.1", port=int(sys.argv[4]))
    else:
        server.run("stdio")
