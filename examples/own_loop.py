"""An agent whose loop is this function: `outlast serve --agents examples/own_loop.py`.

It asks the model, calls what the answer names, and asks again, as the server's own loop does;
change it as you like. A checkpoint after each round keeps what is known, so that a later start
begins with the round that was under way.
"""

from typing import Any

from outlast import AssistantMessage, Context, ToolFailed, ToolMessage, UserMessage, agent, tool

ROUNDS = 8
PRICES = {"tea": 3, "bread": 4}


@tool(effect="read_only")
async def price(article: str) -> int:
    """What an article costs.

    Args:
        article: Its name.
    """
    return PRICES[article]


@agent(model="openai-chat:gpt-5-mini", instructions="You sell tea and bread.", tools=[price])
async def seller(ctx: Context, given: str) -> str:
    """Sells, and looks prices up."""
    notes: list[str] = list(ctx.state.get("notes", ()))
    for _ in range(len(notes), ROUNDS):
        known = "\n".join(("Known:", *notes)) if notes else "Nothing is known yet."
        said = [*ctx.history, UserMessage(f"{given}\n\n{known}")]
        answer = await ctx.model(said, tools=ctx.tools)
        if not answer.tool_calls:
            return answer.text
        results = [await called(ctx, answer, index) for index in range(len(answer.tool_calls))]
        notes.append("; ".join(f"{m.name}: {m.content}" for m in results))
        await ctx.checkpoint({"notes": notes})
    return "I could not find that out."


async def called(ctx: Context, answer: AssistantMessage, index: int) -> ToolMessage:
    """Make one of the answer's calls; the model gets the text of an error."""
    wanted = answer.tool_calls[index]
    try:
        result: Any = await ctx.tool(wanted.name, **wanted.parameters)
    except ToolFailed as error:
        return ToolMessage(wanted.id, wanted.name, error.message, is_error=True)
    return ToolMessage(wanted.id, wanted.name, result)
