"""A pydantic-ai Agent as the loop: `outlast serve --agents examples/pydantic_ai_loop.py`.

Its model asks through `ctx.model` and its tools call `ctx.tool`, so that every request and every
call is recorded and streamed; after a crash the Agent runs again and is handed back what it had.
"""

from collections.abc import Sequence

from pydantic_ai import Agent, ModelRetry, RunContext
from pydantic_ai import messages as theirs
from pydantic_ai.models.function import AgentInfo, FunctionModel

from outlast import (
    AssistantMessage,
    Context,
    ToolFailed,
    ToolMessage,
    UserMessage,
    agent,
    tool,
)

PRICES = {"tea": 3, "bread": 4}
shop = Agent(deps_type=Context, instructions="You sell tea and bread.")


@shop.tool(name="price")
async def looked_up(run: RunContext[Context], article: str) -> int:
    """What an article costs."""
    try:
        cost: int = await run.deps.tool("price", article=article)
    except ToolFailed as error:
        raise ModelRetry(error.message) from error
    return cost


@tool(effect="read_only")
async def price(article: str) -> int:
    """What an article costs."""
    return PRICES[article]


@agent(model="openai-chat:gpt-5-mini", tools=[price])
async def seller(ctx: Context, given: str) -> str:
    """Sells, and looks prices up."""

    async def ask(messages: list[theirs.ModelMessage], info: AgentInfo) -> theirs.ModelResponse:
        names = [offered.name for offered in info.function_tools]
        answer = await ctx.model(ours(messages), instructions=info.instructions, tools=names)
        return response(answer)

    return (await shop.run(given, deps=ctx, model=FunctionModel(ask))).output


def ours(
    messages: Sequence[theirs.ModelMessage],
) -> list[UserMessage | AssistantMessage | ToolMessage]:
    """The run's messages; an answer with tool calls is given as their results."""
    said: list[UserMessage | AssistantMessage | ToolMessage] = []
    for message in messages:
        for part in message.parts:
            match part:
                case theirs.UserPromptPart(content=str(text)):
                    said.append(UserMessage(text))
                case theirs.ToolReturnPart() | theirs.RetryPromptPart():
                    said.append(UserMessage(f"{part.tool_name}: {part.content}"))
                case _:
                    pass
    return said


def response(answer: AssistantMessage) -> theirs.ModelResponse:
    """Our answer as theirs."""
    parts: list[theirs.ModelResponsePart] = []
    if answer.text:
        parts.append(theirs.TextPart(answer.text))
    parts += [
        theirs.ToolCallPart(call.name, call.parameters, tool_call_id=call.id)
        for call in answer.tool_calls
    ]
    return theirs.ModelResponse(parts=parts)
