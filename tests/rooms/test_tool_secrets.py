"""What an HTTP tool's secrets leave behind: nothing, in whichever room it is looked for."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from outlast.agents.tools.toolbox import ToolBox
from outlast.model.agent import Effect, HttpCall, ToolSpec
from outlast.model.clock import SystemClock
from tests.support.api import MakeApi
from tests.support.http_tools import HttpToolServer, answer
from tests.support.models import FakeModel, by_turn
from tests.support.tools import call, spec

pytestmark = pytest.mark.anyio
SECRETS = ("s3cret-token", "p4ssw0rd", "forwarded-t0ken", "s3cret-in-query")


@pytest.fixture
async def shop() -> AsyncIterator[HttpToolServer]:
    shop = HttpToolServer()
    server = await asyncio.start_server(shop.serve, "127.0.0.1", 0)
    shop.port = server.sockets[0].getsockname()[1]
    yield shop
    server.close()


@pytest.mark.parametrize("status", ["200 OK", "403 Forbidden"])
async def test_secrets_that_a_tool_s_server_echoes_are_in_no_room_and_no_log(
    make_api: MakeApi, shop: HttpToolServer, status: str, capsys: pytest.CaptureFixture[str]
) -> None:
    said = ("you sent " + " ".join(SECRETS)).encode()
    shop.answers = [answer(said, status, content_type="text/plain")]
    http = HttpCall(
        f"http://me:${{PASSWORD}}@127.0.0.1:{shop.port}/orders/{{id}}",
        headers={"X-Api-Key": "${TOKEN}"},
        method="GET",
        query={"key": "${KEY}"},
    )
    parameters = {"type": "object", "properties": {"id": {"type": "string"}}}
    tool = ToolSpec("look", "Look", parameters, Effect.READ_ONLY, http=http)
    environ = {"PASSWORD": "p4ssw0rd", "TOKEN": "s3cret-token", "KEY": "s3cret-in-query"}
    box = ToolBox(SystemClock(), environ=environ)
    model = FakeModel(by_turn([call(1, "look", id="A 1")], ["Done"]))
    api = await make_api(model, spec(tool), box)
    headers = {"X-Auth-Token": "forwarded-t0ken"}
    execution = (await api.execute({"input": "Hi", "forwardedHeaders": headers})).json()
    assert execution["status"] == "completed", execution
    (sent,) = shop.seen
    assert sent.line == "GET /orders/A%201?key=s3cret-in-query HTTP/1.1"
    assert sent.headers["x-auth-token"] == "forwarded-t0ken"
    (made,) = execution["toolCalls"]
    assert "you sent *** *** *** ***" in made["result"]

    path = f"/v1/executions/{execution['id']}"
    record = f"/api/v1/executions/nestings?executionId={execution['id']}"
    for where in (path, f"{path}/stream", f"/run/api/executions/{execution['id']}/stream", record):
        found = await api.client.get(where)
        shown = found.text + capsys.readouterr().out
        assert not [secret for secret in SECRETS if secret in shown], where
    for request in model.requests:
        assert not [secret for secret in SECRETS if secret in repr(request)]
