"""Calls that wait for a person's input or for their client: the list, their pages, the answers."""

import re
from html import unescape
from typing import Any, Final

import pytest

from outlast.agents.port import InputNeeded, ToolContext
from outlast.agents.tools.client_kind import client_tool
from outlast.agents.tools.toolbox import ToolBox
from outlast.model.agent import AgentSpec, Expiry, Limits, ToolSpec
from outlast.model.clock import SystemClock
from outlast.model.input_request import InputRequest
from outlast.model.workspace import Scope
from tests.support.api import Api, MakeApi
from tests.support.console import Reader, signed_in
from tests.support.databases import SQLITE
from tests.support.models import FakeModel, by_turn
from tests.support.tools import FakeTools, call, spec, tool

pytestmark = [pytest.mark.anyio, pytest.mark.only(SQLITE)]
ADDRESS: Final = {
    "type": "object",
    "properties": {
        "street": {"type": "string", "maxLength": 20},
        "floor": {"type": "integer", "default": 0},
    },
    "required": ["street"],
}
WHERE: Final = {"message": "Which <street>?", "mode": "form", "schema": ADDRESS}
PAY: Final = {"message": "Pay first.", "mode": "url", "url": "https://pay.example/1"}
BAD: Final = {"message": "Go.", "mode": "url", "url": "javascript:alert(1)"}
CALL: Final = call(1, "ship").id


class Asking(FakeTools):
    """Tools that end their call for want of input, once."""

    def __init__(self, **questions: dict[str, Any]) -> None:
        super().__init__()
        self.questions = questions
        self.answers: dict[str, Any] = {}

    async def call(self, spec: ToolSpec, arguments: dict[str, Any], context: ToolContext) -> Any:
        if context.given is None:
            raise InputNeeded(InputRequest(self.questions))
        self.answers = context.given.answers
        return "shipped"


async def asking(make_api: MakeApi, **questions: dict[str, Any]) -> tuple[Api, str, Asking]:
    tools = Asking(**questions)
    model = FakeModel(by_turn([call(1, "ship", item="lamp")], ["Done."]))
    api = await make_api(model, agent=spec(tool("ship")), tools=tools)
    run = await api.started(input="Ship it.")
    await api.rested(run)
    return api, run, tools


async def with_client(make_api: MakeApi) -> tuple[Api, str]:
    clock = SystemClock()
    model = FakeModel(by_turn(["Where?", call(1, "locate")], ["I see."]))
    agent = AgentSpec("agent", "actor", tools=(client_tool("locate", timeout=600),))
    api = await make_api(model, agent, ToolBox(clock), clock=clock)
    run = await api.started(input="Hello")
    await api.rested(run)
    return api, run


async def test_input_is_given_by_a_form_of_its_schema(make_api: MakeApi) -> None:
    api, run, tools = await asking(make_api, where=WHERE)
    reader, here = await signed_in(api), f"/console/calls/{run}/{CALL}"
    listed = await reader.page("/console/approvals")
    assert f'href="{here}"' in listed
    assert "Which &lt;street&gt;?" in listed
    assert "waits for input" in listed
    page = await reader.page(f"/console/executions/{run}")
    assert "Waits for input: ship" in page
    assert page.count(f'href="{here}"') == 2  # above, and at its step
    assert "<span>until <time" in page
    form = await reader.page(here)
    assert 'name="answer.where.street"' in form
    assert re.search(r'name="answer.where.floor" value="0"', form)
    fields = {"do": "accept", "answer.where.street": "x" * 21, "answer.where.floor": "2"}
    wrong = await reader.send(here, **fields)
    assert wrong.status_code == 422
    assert 'aria-invalid="true"' in wrong.text
    assert "x" * 21 in wrong.text
    assert (await reader.send(here, do="accept")).status_code == 422
    fields["answer.where.street"] = "High Street"
    done = await reader.send(here, **fields)
    assert done.headers["location"] == f"/console/approvals?done=answered&of={run}"
    assert (await api.rested(run))["status"] == "completed"
    content = {"street": "High Street", "floor": 2}
    assert tools.answers == {"where": {"action": "accept", "content": content}}
    late = await reader.send(here, do="decline")
    assert late.status_code == 409
    assert "answered" in await reader.page(here)
    assert "waits for input" not in await reader.page(f"/console/executions/{run}")


async def test_several_questions_are_answered_together(make_api: MakeApi) -> None:
    api, run, tools = await asking(make_api, where=WHERE, pay=PAY, bad=BAD)
    reader, here = await signed_in(api), f"/console/calls/{run}/{CALL}"
    page = await reader.page(here)
    assert '<a href="https://pay.example/1" rel="noopener nofollow"' in page
    assert 'href="javascript' not in page
    chosen = {"action.where": "accept", "action.pay": "accept", "action.bad": "decline"}
    sent = await reader.send(here, do="answer", **chosen, **{"answer.where.street": "Low"})
    assert sent.status_code == 303, sent.text
    await api.rested(run)
    assert tools.answers == {
        "where": {"action": "accept", "content": {"street": "Low", "floor": 0}},
        "pay": {"action": "accept"},
        "bad": {"action": "decline"},
    }


@pytest.mark.parametrize("do", ["decline", "cancel"])
async def test_input_is_refused_or_dismissed(make_api: MakeApi, do: str) -> None:
    api, run, tools = await asking(make_api, where=WHERE)
    reader = await signed_in(api)
    assert (await reader.send(f"/console/calls/{run}/{CALL}", do=do)).status_code == 303
    await api.rested(run)
    assert tools.answers == {"where": {"action": do}}


async def test_a_call_of_a_client_is_shown_and_answered_in_its_place(make_api: MakeApi) -> None:
    api, run = await with_client(make_api)
    reader, here = await signed_in(api), f"/console/calls/{run}/{CALL}"
    assert "waits for its client" in await reader.page("/console/approvals")
    assert "Waits for its client to run locate." in await reader.page(f"/console/executions/{run}")
    assert "1" in await reader.page("/console/news/approvals")
    waits = await reader.page(f"/console/executions/{run}/waits")
    assert "its client, which runs it" in waits
    empty = await reader.send(here, do="error", error=" ")
    assert (empty.status_code, "Write why" in empty.text) == (422, True)
    assert (await reader.send(here, do="result", result='{"at": "home"}')).status_code == 303
    found = await api.rested(run)
    assert found["toolCalls"][0]["result"] == {"at": "home"}
    assert "It waits for" not in await reader.page(f"/console/executions/{run}/waits")
    assert "home" in await reader.page(here)


async def test_a_key_that_only_reads_sees_a_call_and_answers_none(make_api: MakeApi) -> None:
    api, run = await with_client(make_api)
    scopes = frozenset({Scope.EXECUTIONS_READ})
    made = await api.core.services.keys.create(api.caller.workspace_id, "reader", scopes)
    reader, here = await signed_in(api, made.secret), f"/console/calls/{run}/{CALL}"
    page = await reader.page(here)
    assert "Give this result" not in page
    assert "client-calls" not in page
    assert (await reader.send(here, do="result", result="1")).status_code == 403
    other = await api.core.services.workspaces.put("other")
    theirs = await api.core.services.keys.create(other.id, "theirs")
    stranger = await signed_in(api, theirs.secret)
    assert (await stranger.get(here)).status_code == 404
    assert (await stranger.send(here, do="result", result="1")).status_code == 404
    assert (await reader.get(f"/console/approvals/{run}/{CALL}")).status_code == 404


async def listed(reader: Reader) -> list[str]:
    """The calls of the list in its order, over its pages."""
    found, path = [], "/console/approvals"
    while path:
        page = await reader.page(path)
        found += re.findall(r'class="title" href="/console/approvals/exec_\w+/(\w+)"', page)
        more = re.search(r'href="([^"]+)">More<', page)
        path = unescape(more[1]) if more else ""
    return found


async def test_the_first_to_expire_stands_first_and_pages_have_each_once(
    make_api: MakeApi,
) -> None:
    names, times = ("slow", "soon", "never"), (900.0, 60.0, None)
    calls = [call(n, names[n % 3]) for n in range(1, 46)]
    tools = [
        tool(name, approval=True, expiry=seconds and Expiry(seconds))
        for name, seconds in zip(names, times, strict=True)
    ]
    model = FakeModel(by_turn(calls, ["Done."]))
    api = await make_api(model, agent=spec(*tools, limits=Limits(max_steps=99)), tools=FakeTools())
    await api.rested(await api.started())
    kinds = {one.id: one.name for one in calls}
    found = await listed(await signed_in(api))
    assert len(found) == len(set(found)) == 45
    assert [kinds[one] for one in found] == ["soon"] * 15 + ["slow"] * 15 + ["never"] * 15
