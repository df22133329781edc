"""A LangGraph graph as the loop: `outlast serve --agents examples/langgraph_loop.py`.

One node asks the model through `ctx.model`, one calls tools through `ctx.tool`, so that every
request and every call is recorded and streamed, and waits for approval where it must. Behind each
step of the graph its state is a checkpoint; a later start enters the graph with it, at the node
that is due.
"""

from operator import add
from typing import Annotated, Any, TypedDict

from langgraph.graph import END, START, StateGraph
from langgraph.runtime import Runtime

from outlast import Context, ToolFailed, UserMessage, agent, tool

PRICES = {"tea": 3, "bread": 4}


class State(TypedDict):
    """What the nodes share; a checkpoint, so it is JSON."""

    question: str
    notes: Annotated[list[str], add]
    calls: list[dict[str, Any]]
    answer: str | None


async def think(state: State, runtime: Runtime[Context]) -> dict[str, Any]:
    """Ask the model what is next."""
    known = "\n".join(("Known:", *state["notes"])) if state["notes"] else "Nothing is known yet."
    said = [*runtime.context.history, UserMessage(f"{state['question']}\n\n{known}")]
    answer = await runtime.context.model(said, tools=runtime.context.tools)
    calls = [{"name": call.name, "arguments": call.parameters} for call in answer.tool_calls]
    return {"calls": calls, "answer": None if calls else answer.text}


async def act(state: State, runtime: Runtime[Context]) -> dict[str, Any]:
    """Make the calls that the model has named."""
    notes = [await noted(runtime.context, **call) for call in state["calls"]]
    return {"calls": [], "notes": notes}


async def noted(ctx: Context, name: str, arguments: dict[str, Any]) -> str:
    """Result of a call; the model gets the text of an error."""
    try:
        return f"{name}: {await ctx.tool(name, **arguments)}"
    except ToolFailed as error:
        return f"{name}: {error.message}"


def due(state: State) -> str:
    """The node that the state asks for, at the start as between two steps."""
    if state["calls"]:
        return "act"
    return "think" if state["answer"] is None else END


def graph() -> Any:
    """The loop: think, act, think …"""
    made = StateGraph(State, context_schema=Context)
    made.add_node("think", think)
    made.add_node("act", act)
    for node in (START, "think", "act"):
        made.add_conditional_edges(node, due, ["think", "act", END])
    return made.compile()


SHOP = graph()


@tool(effect="read_only")
async def price(article: str) -> int:
    """What an article costs.

    Args:
        article: Its name.
    """
    return PRICES[article]


@agent(model="openai-chat:gpt-5-mini", instructions="You sell tea and bread.", tools=[price])
async def seller(ctx: Context, given: str) -> str | None:
    """Sells, and looks prices up."""
    new = State(question=given, notes=[], calls=[], answer=None)
    state: dict[str, Any] = ctx.state or dict(new)
    async for reached in SHOP.astream(state, context=ctx, stream_mode="values"):
        if reached != state:  # the first is the state that it was entered with
            state = reached
            await ctx.checkpoint(state)
    return state["answer"]
