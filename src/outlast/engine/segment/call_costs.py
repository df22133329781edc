"""What the tool calls of an answer may cost, before they run."""

from collections.abc import Iterable

from outlast.agents.prices.price_list import PriceList
from outlast.agents.tools.memory_kind import may_embed
from outlast.engine.segment.segment import Segment
from outlast.model.message import ToolCall
from outlast.model.usage import Usage


def cost_of_calls(segment: Segment, calls: Iterable[ToolCall], prices: PriceList) -> int:
    """Return their prices, with those of their requests to embedding models, as estimated."""
    return sum(_cost(segment, call, prices) for call in calls)


def _cost(segment: Segment, call: ToolCall, prices: PriceList) -> int:
    cost = prices.of_tool(call.name)
    if not segment.execution.memory_stores or segment.agent is None:
        return cost
    tool = segment.agent.spec.tool(call.name)
    if tool is None:
        return cost
    embedded = may_embed(tool, call.parameters)
    return cost + sum(prices.of_model(model).of(Usage(tokens)) for model, tokens in embedded)
