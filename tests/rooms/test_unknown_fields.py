"""What a request says and the server does not know: named in the answer, or refused."""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import pytest

from outlast.agents.models.scripted import ScriptedModel
from outlast.agents.tools.toolbox import ToolBox
from outlast.model.agent import AgentSpec
from outlast.model.clock import SystemClock
from outlast.testing import NamedModels, core_on, owner
from tests.support.api import Api

pytestmark = pytest.mark.anyio
HEADER = "Outlast-Warning"
MESSAGES = [{"role": "user", "content": "Hi"}]


@pytest.fixture(params=[False, True])
async def api(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Api]:
    """A server, by parameter one whose operator refuses what is unknown."""
    clock = SystemClock()
    script = ScriptedModel.from_data({"turns": [{"steps": [{"text": "Hello"}]}]}, clock)
    models = NamedModels({"script": script})
    strict: bool = request.param
    async with core_on(
        tmp_path, models=models, tools=ToolBox(clock), drain_seconds=1, strict_requests=strict
    ) as core:
        caller = await owner(core)
        key = await core.services.keys.create(caller.workspace_id, "k")
        await core.services.agents.put(caller.workspace_id, [(AgentSpec("agent", "script"), "1")])
        made = Api(core, caller, key.secret)
        yield made
        await made.client.aclose()


def strict(api: Api) -> bool:
    return api.core.settings.strict_requests


async def test_an_unknown_field_is_named_or_refused(api: Api) -> None:
    body = {"input": "Hi", "memmory": {}, "memory": {"sesion": {}, "session": {"any": 1}}}
    answer = await api.execute(body, params={"strict": "false"})
    assert answer.status_code == 200
    assert answer.headers[HEADER] == "unknown: memmory, memory.sesion"
    refused = await api.execute(body, params={"strict": "true"})
    assert (refused.status_code, refused.json()["error"]["param"]) == (422, "memmory")
    by_default = await api.execute(body)
    assert by_default.status_code == (422 if strict(api) else 200)
    assert len((await api.get("/v1/executions")).json()["data"]) == (1 if strict(api) else 2)


async def test_an_unknown_filter_is_named_or_refused(api: Api) -> None:
    answer = await api.get("/v1/executions", agentID="agent", strict="false")
    assert (answer.status_code, answer.headers[HEADER]) == (200, "unknown: agentID")
    refused = await api.get("/v1/executions", agentID="agent", strict="true")
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "agentID")
    wrong = await api.get("/v1/executions", agentID="agent", strict="maybe")
    assert (wrong.status_code, wrong.json()["error"]["param"]) == (400, "strict")


@pytest.mark.parametrize(
    ("path", "known"),
    [
        ("/v1/executions", "agentId=agent&limit=5"),
        ("/api/v1/executions", "responderIds=AGT&responderIds[]=AGT&pageSize=5"),
        ("/v1/events", "limit=5"),
        ("/v1/agents/agent/events", "limit=5"),
        ("/v1/agents", "limit=5"),
        ("/v1/approvals", "limit=5"),
    ],
)
async def test_every_list_knows_its_own_filters_and_no_other(
    api: Api, path: str, known: str
) -> None:
    agent = await api.core.services.agents.get(api.caller, "agent")
    known = known.replace("AGT", agent.id)
    answer = await api.client.get(f"{path}?{known}&strict=true")
    assert (answer.status_code, HEADER in answer.headers) == (200, False), answer.text
    refused = await api.client.get(f"{path}?{known}&bogus=1&strict=true")
    assert refused.status_code == 400
    assert "bogus" in refused.text
    assert (await api.client.get(f"{path}?bogus=1&strict=0")).headers[HEADER] == "unknown: bogus"


async def test_rooms_refuse_in_their_own_shape(api: Api) -> None:
    run = {"messages": MESSAGES, "bogus": 1}
    refused = await api.client.post("/run/api/executions?strict=true", json=run)
    assert refused.status_code in (400, 422)
    assert set(refused.json()) == {"error"}
    assert "bogus" in refused.json()["error"]
    accepted = await api.client.post("/run/api/executions?strict=false", json=run)
    assert accepted.headers[HEADER] == "unknown: bogus"
    task = await api.client.post("/v1/execution?strict=true", json={"name": "t", "bogus": 1})
    assert task.status_code in (400, 422)
    assert "request_id" in task.json()["error"]


async def test_a_name_that_no_header_can_hold_is_escaped_and_cut(api: Api) -> None:
    names = ["ü\r\nX-Evil: 1", "x" * 500, *(f"f{number}" for number in range(20))]
    body = {"input": "Hi"} | dict.fromkeys(names, 1)
    answer: httpx2.Response = await api.execute(body, params={"strict": "0"})
    warning = answer.headers[HEADER]
    assert "X-Evil" not in answer.headers
    assert warning.startswith(r"unknown: \xfc\r\nX-Evil: 1, " + "x" * 80 + ", f0")
    assert warning.endswith("and 12 more")
