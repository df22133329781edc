"""The request of a model step as the console rebuilds it: what the model has really read."""

import re
from dataclasses import replace

import pytest

from outlast.model.agent import Limits
from outlast.model.event import ModelFinished, ToolFinished
from outlast.model.message import AssistantMessage, ToolMessage, UserMessage
from outlast.model.workspace import Scope
from outlast.rooms.console.routes import requests
from tests.support.api import MakeApi
from tests.support.console import signed_in
from tests.support.databases import SQLITE
from tests.support.images import Drawing, png
from tests.support.models import FakeModel, Reply, by_turn
from tests.support.tools import FakeTools, call, spec, tool

pytestmark = [pytest.mark.anyio, pytest.mark.only(SQLITE)]


def rebuilt(page: str) -> list[int]:
    """The numbers of the steps that a request had, as a page says."""
    (said,) = re.findall(r"<dt>Messages</dt><dd>(.*?)</dd>", page)
    runs = re.findall(r">steps? (\d+)(?: to (\d+))?<", said)
    return [n for first, last in runs for n in range(int(first), int(last or first) + 1)]


async def test_the_request_of_each_step_is_rebuilt_over_roll_backs(make_api: MakeApi) -> None:
    rounds: list[Reply] = [
        [f"Look {n}.", *(call(10 * n + m, "look") for m in range(n % 2 + 1))] for n in range(5)
    ]
    model = FakeModel(by_turn(*rounds, ["Done."]))
    agent = replace(
        spec(tool("look"), limits=Limits(max_steps=400)),
        instructions="Look <around>.",
        settings={"temperature": 0.25},
        tool_choice="required",
    )
    api = await make_api(model, agent=agent, tools=FakeTools(look=lambda _: "here"))
    run = await api.started()
    await api.rested(run)
    for step in (8, 3):  # the second one takes back steps from before and behind the first one
        points = await api.core.services.executions.checkpoints(api.caller, run)
        await api.core.services.executions.resume(
            api.caller, run, next(one.id for one in points if one.step >= step)
        )
        await api.rested(run)
    reader = await signed_in(api)
    log = await api.core.services.executions.log(api.caller, run)
    ends = [one.event for one in log if isinstance(one.event, ModelFinished | ToolFinished)]
    steps = {one.step: one for one in ends}
    numbers = [n for n, end in sorted(steps.items()) if isinstance(end, ModelFinished)]
    assert len(numbers) == len(model.requests) > 10
    for number, request in zip(numbers, model.requests, strict=True):
        page = await reader.page(f"/console/executions/{run}/steps/{number}")
        question, *read = request.messages
        assert isinstance(question, UserMessage)
        kinds = {AssistantMessage: ModelFinished, ToolMessage: ToolFinished}
        found = [steps[n] for n in rebuilt(page)]
        assert [type(one) for one in found] == [kinds[type(one)] for one in read], number
        calls = [one.tool_call_id for one in found if isinstance(one, ToolFinished)]
        assert calls == [one.tool_call_id for one in read if isinstance(one, ToolMessage)]
        choice = re.search(r"<dt>Tool choice</dt><dd>(\w+)</dd>", page)
        assert choice is not None
        assert choice[1] == request.tool_choice
        assert "<code>look</code>" in page
        assert "&#34;temperature&#34;: 0.25" in page
        assert "Look &lt;around&gt;." in page
    tool_step = next(n for n, end in steps.items() if isinstance(end, ToolFinished))
    page = await reader.page(f"/console/executions/{run}/steps/{tool_step}")
    assert "Its request" not in page


async def test_a_page_of_steps_before_it_is_read(
    make_api: MakeApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    rounds: list[Reply] = [[call(n, "look")] for n in range(5)]
    model = FakeModel(by_turn(*rounds, ["Done."]))
    api = await make_api(model, agent=spec(tool("look")), tools=FakeTools(look=lambda _: "here"))
    run = await api.started()
    await api.rested(run)
    monkeypatch.setattr(requests, "PAGE", 4)
    reader = await signed_in(api)
    page = await reader.page(f"/console/executions/{run}?step=9")
    assert rebuilt(page) == [5, 6, 7, 8]
    assert "what stood then of steps 1 to 4" in page


async def test_the_newest_images_are_named_and_instructions_only_to_who_may_read_agents(
    make_api: MakeApi,
) -> None:
    model = FakeModel(by_turn(*([call(n, "draw")] for n in range(6)), ["Done."]))
    agent = replace(spec(tool("draw")), instructions="Draw whales.")
    drawn = iter([1, 2, 3, 4, 5, 4])
    api = await make_api(model, agent=agent, tools=Drawing(lambda _: png(next(drawn))))
    run = await api.started()
    await api.rested(run)
    path = f"/console/executions/{run}/steps/13"
    page = await (await signed_in(api)).page(path)
    assert re.findall(r">of step (\d+)<", page) == ["4", "6", "10", "12"]
    assert "Draw whales." in page
    key = await api.core.services.keys.create(
        api.caller.workspace_id, "k", frozenset({Scope.EXECUTIONS_READ})
    )
    page = await (await signed_in(api, key.secret)).page(path)
    assert "Draw whales." not in page
    assert rebuilt(page) == list(range(1, 13))
