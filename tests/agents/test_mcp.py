"""Tools of the official SDK's server, over HTTP, its older transport, and as a command."""

import asyncio
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from outlast.model.agent import Effect
from outlast.model.error import ToolFailed, ToolTimeout
from tests.support.mcp_servers import (
    CONTEXT,
    SDK,
    SdkServer,
    Tools,
    noted,
    sdk_server,
    tools_of,
    until_noted,
)
from tests.support.python_process import as_fork

pytestmark = pytest.mark.anyio

TOOLS = [
    *("shop__add", "shop__order", "shop__pay", "shop__wait", "shop__picture"),
    *("shop__plain_picture", "shop__fail", "shop__large", "shop__progress", "shop__deliver"),
]


@pytest.fixture(scope="module")
def http(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SdkServer]:
    with sdk_server(tmp_path_factory.mktemp("http")) as server:
        yield server


@pytest.fixture(scope="module")
def sse(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SdkServer]:
    with sdk_server(tmp_path_factory.mktemp("sse"), "sse") as server:
        yield server


@pytest.fixture(params=["http", "sse", "stdio"])
async def reached(
    request: pytest.FixtureRequest, http: SdkServer, sse: SdkServer, tmp_path: Path
) -> dict[str, Any]:
    """How the server is reached, and the folder of its notes."""
    if request.param == "stdio":
        return {"command": sys.executable, "args": [as_fork(SDK, tmp_path), "stdio", str(tmp_path)]}
    server = {"http": http, "sse": sse}[request.param]
    await server.ready()
    return {"url": server.url}


async def test_tools_are_listed_and_called_over_every_transport(reached: dict[str, Any]) -> None:
    async with tools_of(**reached) as tools:
        assert await tools.names() == TOOLS
        assert await tools.call("add", a=2, b=3) == {"result": "5"}
        assert await tools.call("order", number=7) == {"number": 7, "items": ["bread", "äpfel"]}
        assert await tools.call("progress") == {"result": "done"}
        text, image, audio = await tools.call("plain_picture")
        assert text == "Here it is"
        (kept,) = tools.images
        assert (kept.image.media_type, kept.data[:4]) == ("image/png", b"\x89PNG")
        assert image == kept.image.placeholder
        assert audio == "[audio: audio/wav, 400 bytes, not shown]"
        structured = (await tools.call("picture"))["result"]
        assert [part.get("data") for part in structured] == [None, image, audio]
        assert tools.connections == 1
    assert tools.connections == 0


async def test_errors_say_what_has_happened_and_leave_the_connection_alone(
    reached: dict[str, Any],
) -> None:
    async with tools_of(max_result_bytes=1010, **reached) as tools:
        with pytest.raises(ToolFailed, match="no luck"):
            await tools.call("fail", reason="no luck")
        with pytest.raises(ToolFailed, match="larger than 1010 bytes"):
            await tools.call("large", size=1001)
        assert await tools.call("large", size=990) == {"result": "x" * 990}
        with pytest.raises(ToolFailed, match='"a" is a required property'):
            await tools.call("add", b=1)
        with pytest.raises(ToolFailed, match=r"input|Elicitation|elicitation"):
            await tools.call("deliver")
        assert await tools.call("add", a=1, b=1) == {"result": "2"}
        assert tools.connections == 1


@pytest.fixture
async def tools(http: SdkServer) -> Any:
    await http.ready()
    (http.folder / "go").unlink(missing_ok=True)
    (http.folder / "calls").unlink(missing_ok=True)
    async with tools_of(url=http.url, trust=True, timeout=20) as tools:
        yield tools


async def test_a_call_that_is_cancelled_or_takes_too_long_is_cancelled_at_the_server(
    http: SdkServer, tools: Tools
) -> None:
    call = asyncio.create_task(tools.call("wait", number=1))
    await until_noted(http.folder, "wait 1")
    call.cancel()
    await until_noted(http.folder, "cancelled 1")
    with pytest.raises(asyncio.CancelledError):
        await call
    async with tools_of(url=http.url, timeout=0.5) as impatient:
        with pytest.raises(ToolTimeout, match=r"within 0.5 s\. It is not known"):
            await impatient.call("wait", number=2)
    await until_noted(http.folder, "cancelled 2")
    assert await tools.call("add", a=1, b=1) == {"result": "2"}


async def test_annotations_count_only_if_the_operator_trusts_them(
    http: SdkServer, tools: Tools
) -> None:
    def effects(of: Any) -> dict[str, Effect]:
        return {tool.name.removeprefix("shop__"): tool.effect for tool in of.offered}

    trusted = effects(await tools.listed())
    assert (trusted["add"], trusted["picture"]) == (Effect.READ_ONLY, Effect.IDEMPOTENT)
    assert trusted["pay"] is Effect.DESTRUCTIVE
    given: dict[str, Any] = {
        "effects": {"order": "read_only"},
        "approval": {"pay": True},
        "tools": ["add", "pay"],
    }
    async with tools_of(url=http.url, effects={"order": "read_only"}) as plain:
        found = effects(await plain.listed())
        assert found.pop("order") is Effect.READ_ONLY
        assert set(found.values()) == {Effect.DESTRUCTIVE}
    given["effects"] = {"add": "idempotent"}
    async with tools_of(url=http.url, **given) as chosen:
        listed = (await chosen.listed()).offered
        assert [(t.name, t.effect.value, t.approval) for t in listed] == [
            ("shop__add", "idempotent", False),
            ("shop__pay", "destructive", True),
        ]


async def test_the_calls_id_is_the_idempotency_key(http: SdkServer, tools: Tools) -> None:
    (http.folder / "go").touch()
    assert await tools.call("pay", amount=3) == {"result": "paid 3"}
    assert noted(http.folder) == ["pay 3 tc_1", "paid 3"]


async def test_two_hundred_calls_share_one_connection(http: SdkServer, tools: Tools) -> None:
    await tools.names()
    calls = [asyncio.create_task(tools.call("wait", number=n)) for n in range(200)]
    await until_noted(http.folder, "wait", 200)
    assert tools.connections == 1
    (http.folder / "go").touch()
    assert await asyncio.gather(*calls) == [{"result": f"waited {n}"} for n in range(200)]


async def test_a_server_that_was_away_is_used_again_and_no_call_is_repeated(
    tmp_path: Path,
) -> None:
    with sdk_server(tmp_path) as server:
        await server.ready()
        async with tools_of(url=server.url) as tools:
            call = asyncio.create_task(tools.call("pay", amount=1))
            await until_noted(tmp_path, "pay 1")
            spec = await tools.spec("add")
            server.stop()
            with pytest.raises(ToolFailed, match=r"lost.* It is not known"):
                await call
            with pytest.raises(ToolFailed, match="could not be reached"):
                await tools.box.call(spec, {"a": 1, "b": 1}, CONTEXT)
            server.start()
            await server.ready()
            assert await tools.call("add", a=1, b=1) == {"result": "2"}
            assert noted(tmp_path) == ["pay 1 tc_1", "add 1 1"]
