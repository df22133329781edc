"""An MCP server's image, over a real `kill -9` between its result and the model's next request."""

from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest

from tests.support.chat_endpoint import chunk
from tests.support.databases import SQLITE, Database
from tests.support.mcp_server import PIXEL
from tests.support.mcp_servers import sdk_server
from tests.support.processes import ServerProcess
from tests.support.provider import FakeProvider, Reply
from tests.support.waiting import until_found

pytestmark = [pytest.mark.anyio, pytest.mark.only(SQLITE)]

AGENTS = """
providers:
  own: {{kind: openai-chat, baseUrl: "{provider}"}}
agents:
  - name: viewer
    model: own:seeing
    images: true
    tools: [{{name: shop, mcp: {{url: "{shop}", tools: [plain_picture]}}}}]
"""
DONE = b"data: [DONE]\n\n"
CALL = {
    "index": 0,
    "id": "call_1",
    "type": "function",
    "function": {"name": "shop__plain_picture", "arguments": "{}"},
}


class Viewer(FakeProvider):
    """A model that calls the tool, and then says nothing until it may."""

    speaks = False

    def reply_to(self, request: dict[str, Any]) -> Reply | None:
        if all(message["role"] != "tool" for message in request["messages"]):
            return Reply((chunk({"tool_calls": [CALL]}), chunk({}, "tool_calls"), DONE))
        if not self.speaks:
            return Reply((), hang=True)
        return Reply((chunk({"content": "I see a pixel."}), chunk({}, "stop"), DONE))


async def test_the_image_is_sent_after_the_kill_as_before(
    tmp_path: Path, database: Database
) -> None:
    folder = tmp_path / "shop"
    folder.mkdir()
    settings = {"OUTLAST_DATABASE_URL": database.url}
    with sdk_server(folder) as shop:
        await shop.ready()
        async with Viewer() as provider:
            agents = AGENTS.format(provider=provider.url, shop=shop.url)
            async with ServerProcess(tmp_path, agents, settings) as server:
                execution_id = await server.background("viewer", "Look")
                await provider.wait_requests(2)
                await server.kill()
                provider.speaks = True
                await server.start()

                async def ended() -> dict[str, Any] | None:
                    found = await server.execution(execution_id)
                    return found if found["status"] in ("completed", "failed") else None

                execution = await until_found(ended)
                assert execution["output"] == "I see a pixel.", execution["error"]
                (call,) = execution["toolCalls"]
                (image,) = call["images"]
                path = f"/v1/executions/{execution_id}/images/{image['id']}"
                answer = await server.http.get(path)
                assert (answer.headers["content-type"], answer.content) == ("image/png", PIXEL)
                log = server.log.read_text()
    before, after = provider.requests[1:]
    assert before["messages"] == after["messages"]
    *_, result, seen = after["messages"]
    assert image["id"] in result["content"]
    written = b64encode(PIXEL).decode()
    assert seen["content"][1]["image_url"]["url"] == f"data:image/png;base64,{written}"
    assert written not in log
