"""An MCP server of the official SDK, as a process: `python -m … http|sse|stdio FOLDER [PORT]`.

What its tools do is a line in `FOLDER/calls`; a tool that waits goes on when there is `FOLDER/go`.
"""

import base64
import sys
from pathlib import Path
from typing import Any

import anyio
import mcp_types
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from pydantic import BaseModel

server = MCPServer("shop")
folder = Path(sys.argv[2]) if len(sys.argv) > 2 else Path()
PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
READ_ONLY = mcp_types.ToolAnnotations(read_only_hint=True)
IDEMPOTENT = mcp_types.ToolAnnotations(idempotent_hint=True)


def note(line: str) -> None:
    with (folder / "calls").open("a") as calls:
        calls.write(f"{line}\n")


async def until_go() -> None:
    while not (folder / "go").exists():  # noqa: ASYNC110 - another process makes it
        await anyio.sleep(0.01)


class Order(BaseModel):
    number: int
    items: list[str]


class Delivery(BaseModel):
    street: str


@server.tool(annotations=READ_ONLY)
def add(a: int, b: int) -> str:
    """Add two numbers."""
    note(f"add {a} {b}")
    return str(a + b)


@server.tool()
def order(number: int) -> Order:
    """Look up an order."""
    return Order(number=number, items=["bread", "äpfel"])


@server.tool()
async def pay(amount: int, ctx: Context) -> str:
    """Pay."""
    meta: Any = ctx.request_context.meta or {}
    note(f"pay {amount} {meta.get('outlast/idempotency-key')}")
    await until_go()
    note(f"paid {amount}")
    return f"paid {amount}"


@server.tool(annotations=READ_ONLY)
async def wait(number: int) -> str:
    """Wait, and change nothing."""
    note(f"wait {number}")
    try:
        await until_go()
    except BaseException:
        note(f"cancelled {number}")
        raise
    return f"waited {number}"


@server.tool(annotations=IDEMPOTENT)
def picture() -> list[Any]:
    """Draw."""
    return pictures()


@server.tool(structured_output=False)
def plain_picture() -> list[Any]:
    """Draw, without structure."""
    return pictures()


def pictures() -> list[Any]:
    data = base64.b64encode(b"\x89PNG" * 100).decode()
    image = base64.b64encode(PIXEL).decode()
    return [
        mcp_types.TextContent(type="text", text="Here it is"),
        mcp_types.ImageContent(type="image", data=image, mime_type="image/jpeg"),
        mcp_types.AudioContent(type="audio", data=data, mime_type="audio/wav"),
    ]


@server.tool()
def fail(reason: str) -> str:
    """Fail."""
    raise ToolError(reason)


@server.tool()
def large(size: int) -> str:
    """Say much."""
    return "x" * size


@server.tool()
async def progress(ctx: Context) -> str:
    """Report progress."""
    for step in range(5):
        await ctx.report_progress(step, 5)
    return "done"


@server.tool()
async def deliver(ctx: Context) -> str:
    """Ask where to."""
    answer = await ctx.elicit("Which street?", Delivery)
    return f"to {answer}"


if __name__ == "__main__":
    match sys.argv[1]:
        case "http":
            server.run("streamable-http", host="127.0.0.1", port=int(sys.argv[3]))
        case "sse":
            server.run("sse", host="127.0.0.1", port=int(sys.argv[3]))
        case _:
            server.run("stdio")
