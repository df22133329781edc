"""The log tells of every request, execution, failure and rest, and of nothing that was said."""

import io
import logging
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import orjson
import pytest

from outlast import logs
from outlast.agents.tools.signature import read_function
from outlast.agents.tools.toolbox import ToolBox
from outlast.model.agent import Effect, HttpCall
from outlast.model.clock import SystemClock
from outlast.model.error import ModelRateLimited, ModelRejected, ModelUnavailable, ToolFailed
from tests.support.api import Api, MakeApi
from tests.support.models import FakeModel, by_turn
from tests.support.tools import FakeTools, call, spec, tool
from tests.support.waiting import until

pytestmark = pytest.mark.anyio

Line: TypeAlias = dict[str, Any]
Read: TypeAlias = Callable[..., list[Line]]
SAID = "marzipan-4711"
"""Content: no line may hold it."""


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    """What the log writes, at level debug."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    stream = io.StringIO()
    logs.configure("debug", "json", stream)
    yield stream
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture
def lines(stream: io.StringIO) -> Read:
    """Read the lines so far: lines() or lines(event name)."""

    def read(name: str | None = None) -> list[Line]:
        logs.flush()
        found = [orjson.loads(line) for line in stream.getvalue().splitlines()]
        return [line for line in found if name in (None, line["event"])]

    return read


async def test_each_request_is_one_line_with_route_status_time_key_and_id(
    api: Api, lines: Read
) -> None:
    done = await api.execute({"input": "Hi"}, headers={"X-Request-Id": "req_mine"})
    await api.get(f"/v1/executions/{done.json()['id']}")

    ran, got = lines("request.answered")
    assert (ran["method"], ran["route"]) == ("POST", "/v1/agents/{agentId}/execute")
    assert (ran["status"], ran["level"], ran["request"]) == (200, "info", "req_mine")
    assert ran["ms"] >= 0
    assert ran["key_id"] == got["key_id"] == api.caller.key_id
    assert ran["execution"] == got["execution"] == done.json()["id"]
    assert got["route"] == "/v1/executions/{executionId}"


@pytest.mark.parametrize(
    ("method", "path", "status", "expected"),
    [
        ("GET", "/v1/executions/exec_0", 404, {"code": "execution_not_found"}),
        ("GET", "/nowhere?ticket=opensesame", 404, {"path": "/nowhere", "code": "not_found"}),
        ("GET", "/v2/sk_opensesame99/agents", 404, {"path": "/v2/sk-[hidden]/agents"}),
        ("PUT", "/v1/executions", 405, {"route": "/v1/executions", "code": "method_not_allowed"}),
        ("GET", "/api/v1/nothing", 404, {"code": "not_found"}),
        ("DELETE", "/run/api/executions", 405, {"code": "method_not_allowed"}),
        ("GET", "/v1/executions?limit=0", 400, {"code": "invalid_field_value"}),
    ],
)
async def test_a_refused_request_says_why_and_no_secret_of_its_address(
    api: Api, lines: Read, method: str, path: str, status: int, expected: Line
) -> None:
    await api.client.request(method, path)
    (line,) = lines("request.answered")
    assert line["status"] == status
    assert line | expected == line
    assert "opensesame" not in str(lines())


async def test_a_request_without_a_good_key_has_a_line_without_a_key(api: Api, lines: Read) -> None:
    await api.client.get("/v1/agents", headers={"Authorization": "Bearer opensesame99"})
    (line,) = lines("request.answered")
    assert (line["status"], line["code"], "key_id" in line) == (401, "invalid_api_key", False)
    assert "opensesame" not in str(lines())


async def test_a_mistake_of_the_server_has_a_warning_and_its_traceback_under_the_same_id(
    api: Api, lines: Read, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(type(api.core.services.lists), "views", broken)
    answer = await api.get("/v1/executions")
    (failed,) = lines("request.failed")
    (line,) = lines("request.answered")
    assert (answer.status_code, line["status"], line["level"]) == (500, 500, "warning")
    assert failed["request"] == line["request"] == answer.headers["x-request-id"]
    assert "ZeroDivisionError" in failed["exception"]


async def test_probes_have_lines_at_debug_only(api: Api, lines: Read) -> None:
    for path in ("/healthz", "/readyz", "/metrics"):
        await api.get(path)
    assert [line["level"] for line in lines("request.answered")] == ["debug"] * 3


async def test_an_execution_has_a_line_for_its_start_and_one_for_its_end(
    api: Api, lines: Read
) -> None:
    done = (await api.execute({"input": "Hi"})).json()

    (started,) = lines("execution.started")
    (ended,) = lines("execution.ended")
    assert started["execution"] == ended["execution"] == done["id"]
    assert started["agent"] == ended["agent"] == "agent"
    assert (started["key_id"], started["waited_ms"] >= 0) == (api.caller.key_id, True)
    assert (ended["status"], ended["level"]) == ("completed", "info")
    assert ended["tokens"] == done["usage"]["totalTokens"]
    assert (ended["steps"], ended["ms"]) == (1, done["timing"]["totalMs"])
    (step,) = lines("model.answered")
    assert (step["level"], step["model"], step["step"]) == ("debug", "actor-1", 1)


async def test_requests_to_a_model_that_fail_and_the_failure_they_lead_to_have_lines(
    make_api: MakeApi, lines: Read
) -> None:
    fails = FakeModel(lambda _: [ModelUnavailable("The provider answered 503.")])
    api = await make_api(fails, model_retries=2)
    execution = await api.started()
    await api.rested(execution)

    failed = lines("model.failed")
    assert [(line["attempt"], line["again"]) for line in failed] == [
        (1, True),
        (2, True),
        (3, False),
    ]
    for line in failed:
        assert (line["execution"], line["agent"]) == (execution, "agent")
        assert (line["model"], line["code"]) == ("actor", "model_unavailable")
        assert line["cause"] == "The provider answered 503."
        assert "request" not in line
    (ended,) = lines("execution.ended")
    assert (ended["status"], ended["code"]) == ("failed", "model_unavailable")
    assert (ended["level"], "cause" in ended) == ("warning", False)


async def test_what_a_provider_repeats_of_the_request_is_not_logged(
    make_api: MakeApi, lines: Read
) -> None:
    words = f"The provider answered 400: messages[1] is '{SAID}', and that is not allowed."
    api = await make_api(FakeModel(lambda _: [ModelRejected(words)]))
    await api.execute({"input": f"I like\n{SAID}"})
    (line,) = lines("model.failed")
    assert line["cause"].startswith("The provider answered 400: messages[1] is '[…]")
    assert line["cause"].endswith("and that is not allowed.")
    assert SAID not in str(lines())


async def test_a_limit_that_ends_an_execution_says_which(make_api: MakeApi, lines: Read) -> None:
    api = await make_api(
        FakeModel(by_turn([call(1, "look")])), spec(tool("look")), FakeTools(look=id)
    )
    await api.execute({"input": "Hi", "budget": {"maxSteps": 1}})
    (ended,) = lines("execution.ended")
    assert (ended["code"], ended["status"]) == ("budget_exceeded", "failed")
    assert ended["cause"] == (
        "The budget of 1 step is spent. The answer's 1 tool call would pass it; none was begun."
    )


@pytest.mark.parametrize(
    "error",
    [ModelRejected("Incorrect API key provided: sk-opensesame99"), ModelRateLimited("Slow down.")],
)
async def test_a_request_that_is_not_made_again_has_its_line_too(
    make_api: MakeApi, lines: Read, error: Exception
) -> None:
    api = await make_api(FakeModel(lambda _: [error]), model_retries=0)  # type: ignore[list-item]
    await api.execute({"input": "Hi"})
    (line,) = lines("model.failed")
    assert (line["attempt"], line["again"]) == (1, False)
    assert "opensesame" not in str(lines())


async def test_a_model_that_is_not_there_is_reported(make_api: MakeApi, lines: Read) -> None:
    api = await make_api(agent=spec(), tools=FakeTools())
    api.core.models._models.clear()  # type: ignore[attr-defined]
    await api.execute({"input": "Hi"})
    (line,) = lines("model.failed")
    assert (line["code"], line["again"]) == ("misconfigured", False)
    assert "There is no model 'actor'" in line["cause"]


async def test_a_python_tool_that_raises_leaves_its_traceback(
    make_api: MakeApi, lines: Read
) -> None:
    def refund(order: str) -> str:
        """Refund an order."""
        raise LookupError("no such table: refunds")

    box = ToolBox(SystemClock(), {"shop:refund": read_function(refund, "shop:refund")})
    agent = spec(tool("refund", python="shop:refund"))
    api = await make_api(FakeModel(by_turn([call(1, "refund", order=SAID)], ["Done"])), agent, box)
    execution = (await api.execute({"input": SAID})).json()["id"]

    (line,) = lines("tool.failed")
    assert (line["execution"], line["agent"], line["level"]) == (execution, "agent", "warning")
    assert (line["tool"], line["code"], line["cause"]) == ("refund", "tool_error", "LookupError")
    assert "in refund" in line["exception"]
    assert "no such table: refunds" in line["exception"]
    assert SAID not in str(lines())


@pytest.mark.parametrize("size", [20_000, 5_000_000])
async def test_a_huge_cause_of_a_failed_call_is_cut(
    make_api: MakeApi, lines: Read, size: int
) -> None:
    def refund() -> str:
        """Refund an order."""
        raise LookupError("x" * size)

    async def refused() -> str:
        """Look."""
        raise ToolFailed("y" * size)

    box = ToolBox(
        SystemClock(),
        {
            "shop:refund": read_function(refund, "shop:refund"),
            "shop:refused": read_function(refused, "shop:refused"),
        },
    )
    tools = tool("refund", python="shop:refund"), tool("refused", python="shop:refused")
    model = FakeModel(by_turn([call(1, "refund"), call(2, "refused")], ["Done"]))
    api = await make_api(model, spec(*tools), box)
    await api.execute({"input": "Hi"})
    found = {line["tool"]: line for line in lines("tool.failed")}
    assert "in refund" in found["refund"]["exception"]
    assert "xxx… (cut: " in found["refund"]["exception"]
    assert found["refused"]["cause"].startswith("yyy")
    assert f"(cut: {size} bytes in all)" in found["refused"]["cause"]
    assert all(len(str(line)) < 20_000 for line in found.values())


@pytest.mark.parametrize(
    ("name", "arguments", "shown", "cause"),
    [
        (f"made-up-{SAID}", {}, "unknown", "does not have"),
        ("look", {"count": SAID}, "look", "do not fit"),
        ("look", {"count": 1}, "look", "Could not connect to http://127.0.0.1:1/"),
    ],
)
async def test_a_call_that_fails_says_why_and_nothing_that_the_model_said(
    make_api: MakeApi, lines: Read, name: str, arguments: dict[str, Any], shown: str, cause: str
) -> None:
    look = tool("look", http=HttpCall("http://127.0.0.1:1/", retries=0))
    schema = {"type": "object", "properties": {"count": {"type": "integer"}}}
    agent = spec(type(look)("look", "Looks.", schema, Effect.READ_ONLY, http=look.http))
    said = [call(1, name, **arguments)]
    api = await make_api(FakeModel(by_turn(said, ["Done"])), agent, ToolBox(SystemClock()))
    await api.execute({"input": SAID})

    (line,) = lines("tool.failed")
    assert line["tool"] == shown
    assert cause in line["cause"]
    assert SAID not in str(lines())


async def test_a_rest_an_approval_and_the_way_on_have_lines(make_api: MakeApi, lines: Read) -> None:
    pay = tool("pay", Effect.DESTRUCTIVE, approval=True)
    model = FakeModel(by_turn([call(1, "pay", to=SAID)], [SAID]))
    api = await make_api(model, spec(pay), FakeTools(pay=lambda _: SAID))
    execution = (await api.execute({"input": SAID})).json()["id"]
    (requested,) = lines("approval.requested")
    (suspended,) = lines("execution.suspended")
    assert (requested["tool"], requested["kind"]) == ("pay", "approval")
    assert (suspended["execution"], suspended["steps"]) == (execution, 1)

    path = f"/v1/executions/{execution}/approvals/{call(1, 'pay').id}"
    await api.client.post(path, json={"approved": True, "reason": SAID})
    await api.rested(execution)
    await until(lambda: bool(lines("execution.ended")))

    (decided,) = lines("approval.decided")
    assert (decided["approved"], decided["key_id"]) == (True, api.caller.key_id)
    (on,) = lines("execution.continued")
    assert (on["execution"], on["segment"]) == (execution, 2)
    assert [line["tool"] for line in lines("tool.answered")] == ["pay"]
    assert SAID not in str(lines())


async def test_a_pause_a_resume_and_a_cancel_have_lines(make_api: MakeApi, lines: Read) -> None:
    import asyncio

    api = await make_api(FakeModel(lambda _: ["Hm", asyncio.Event()]))
    execution = await api.started(input=SAID, metadata={"a": SAID})
    await until(lambda: bool(lines("execution.started")))
    path = f"/v1/executions/{execution}"
    await api.client.post(f"{path}/pause", json={"now": True, "reason": SAID})
    await api.client.post(f"{path}/resume", json={})
    await until(lambda: bool(lines("execution.continued")))
    await api.client.post(f"{path}/cancel")
    await until(lambda: bool(lines("execution.ended")))

    (paused,), (resumed,) = lines("execution.paused"), lines("execution.resumed")
    assert paused["execution"] == resumed["execution"] == execution
    assert resumed["key_id"] == api.caller.key_id
    (ended,) = lines("execution.ended")
    assert (ended["status"], ended["level"]) == ("cancelled", "info")
    assert SAID not in str(lines())
