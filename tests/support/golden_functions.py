"""The functions that golden transcripts name: loops of code agents, and tools."""

import asyncio

from outlast import Context, ToolContext, ToolFailed


async def half(ctx: Context, given: str) -> str:
    """A draft, a checkpoint, a word about it, a tool, and an output of its own."""
    if "draft" not in ctx.state:
        draft = await ctx.model(f"draft {given}")
        await ctx.checkpoint({"draft": draft.text}, "drafted")
    await ctx.emit("progress", {"done": 0.5})
    try:
        total = await ctx.tool("calculator", expression="6 * 7")
    except ToolFailed as error:
        return error.message
    return f"{ctx.state['draft']} {total}"


async def draw(context: ToolContext) -> str:
    """Draw the smallest image."""
    return context.images.keep(b"GIF89a\1\0\1\0\0\0\0;").placeholder


async def wait() -> None:
    """A call that never ends by itself."""
    await asyncio.Event().wait()
