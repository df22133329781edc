"""A small MCP server with the official SDK: the orders of a shop, and refunds.

Outlast starts it as a command (see agents.yaml). It keeps what it has paid back in memory.
"""

from typing import Annotated

import mcp_types
from mcp.server.mcpserver import Elicit, MCPServer, Resolve
from pydantic import BaseModel, Field

server = MCPServer("desk", log_level="ERROR")
ORDERS = {"17": ("a lamp", 40), "18": ("a chair", 90)}
READ_ONLY = mcp_types.ToolAnnotations(read_only_hint=True)


class Reason(BaseModel):
    reason: str = Field(max_length=200, description="Why the money goes back")


async def reason() -> Elicit[Reason]:
    return Elicit("Why is this refunded?", Reason)


@server.tool(annotations=READ_ONLY)
def look_up(order: str) -> str:
    """Look up an order by its number."""
    item, price = ORDERS[order]
    return f"Order {order} is {item} for {price}."


@server.tool()
def refund(order: str, why: Annotated[Reason, Resolve(reason)]) -> str:
    """Refund an order; a person gives the reason."""
    _, price = ORDERS[order]
    return f"{price} refunded for order {order}: {why.reason}."


if __name__ == "__main__":
    server.run("stdio")
