"""The connections of HTTP tools: what is dialled, kept, replaced and closed."""

import asyncio
import socket
from dataclasses import replace

import aiohttp
import anyio
import pytest

from outlast.agents.tools.toolbox import ToolBox
from outlast.model.agent import Effect, HttpCall
from tests.support.clocks import InstantClock
from tests.support.http_tools import CONTEXT, HttpToolServer, answer, failure, look

pytestmark = pytest.mark.anyio


async def test_a_kept_connection_that_died_is_replaced_at_once_where_the_effect_may_be_repeated(
    tool_server: HttpToolServer, box: ToolBox, clock: InstantClock
) -> None:
    async def hang_up(writer: asyncio.StreamWriter) -> None:
        writer.close()

    tool_server.answers = [answer(b"1"), hang_up, answer(b"2"), hang_up, answer(b"3")]
    assert await box.call(look(tool_server.url), {}, CONTEXT) == 1
    assert await box.call(look(tool_server.url), {}, CONTEXT) == 2
    message = await failure(box, look(tool_server.url, Effect.DESTRUCTIVE))
    assert message.endswith("was lost. It is not known whether the call had its effect.")
    assert len(tool_server.seen) == 4
    assert clock.slept == []


async def test_a_login_in_the_url_is_sent_unless_a_header_says_otherwise(
    tool_server: HttpToolServer, box: ToolBox
) -> None:
    tool_server.answers = [answer(b"1")]
    url = tool_server.url.replace("http://", "http://me:p%40ss@") + "?a=%2F&c=%41"
    await box.call(look(url), {}, CONTEXT)
    await box.call(look(url, headers={"authorization": "Bearer x"}), {}, CONTEXT)
    assert [r.headers["authorization"] for r in tool_server.seen] == [
        "Basic bWU6cEBzcw==",
        "Bearer x",
    ]
    assert tool_server.seen[0].line == "POST /tools/look?a=%2F&c=%41 HTTP/1.1"


async def test_cookies_are_not_kept(tool_server: HttpToolServer, box: ToolBox) -> None:
    tool_server.answers = [answer(b"1", set_cookie="a=b")]
    for _ in range(2):
        await box.call(look(tool_server.url), {}, CONTEXT)
    assert "cookie" not in tool_server.seen[1].headers


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_a_connector_decides_about_the_very_address_that_is_dialled(
    tool_server: HttpToolServer, clock: InstantClock, host: str
) -> None:
    dialled: list[str] = []

    def refuse(address: aiohttp.AddrInfoType) -> socket.socket:
        dialled.append(str(address[4][0]))
        raise PermissionError("not this address")

    box = ToolBox(clock, connector=lambda: aiohttp.TCPConnector(socket_factory=refuse))
    url = tool_server.url.replace("127.0.0.1", host)
    assert await failure(box, look(url)) == f"Could not connect to {url}."
    assert set(dialled) <= {"127.0.0.1", "::1"}
    assert dialled
    assert tool_server.seen == []
    await box.close()


async def test_warming_up_is_safe_many_times(tool_server: HttpToolServer, box: ToolBox) -> None:
    tool_server.answers = [answer(b"1")]
    await asyncio.gather(*(box.warm_up() for _ in range(10)))
    assert await box.call(look(tool_server.url), {}, CONTEXT) == 1
    await box.warm_up()


async def test_a_connection_that_was_never_made_is_tried_again_for_every_effect(
    tool_server: HttpToolServer, clock: InstantClock
) -> None:
    server = await asyncio.start_server(tool_server.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()

    class OpeningClock(InstantClock):
        async def sleep(self, seconds: float) -> None:
            await super().sleep(seconds)
            if len(self.slept) == 2:
                opened.append(await asyncio.start_server(tool_server.serve, "127.0.0.1", port))

    opened: list[asyncio.Server] = []
    tool_server.answers = [answer(b'"done"')]
    opening = OpeningClock()
    box = ToolBox(opening)
    spec = look(f"http://127.0.0.1:{port}/x", Effect.DESTRUCTIVE, retries=2)
    assert await box.call(spec, {}, CONTEXT) == "done"
    assert opening.slept == [0.2, 0.4]
    opened[0].close()
    await box.close()
    message = await failure(ToolBox(clock), replace(spec, http=HttpCall("http://127.0.0.1:1/x")))
    assert message == "Could not connect to http://127.0.0.1:1/x."


async def test_proxies_of_the_environment_are_not_used(
    tool_server: HttpToolServer, box: ToolBox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")
    tool_server.answers = [answer(b"1")]
    assert await box.call(look(tool_server.url), {}, CONTEXT) == 1


async def test_a_cancel_closes_the_connection(box: ToolBox) -> None:
    requested, gone = asyncio.Event(), asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        requested.set()
        await reader.read()
        gone.set()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/x"
    task = asyncio.create_task(box.call(look(url), {}, CONTEXT))
    with anyio.fail_after(5):
        await requested.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await gone.wait()
    server.close()


async def test_a_hundred_calls_run_at_once(tool_server: HttpToolServer, box: ToolBox) -> None:
    everybody = asyncio.Event()

    async def together(writer: asyncio.StreamWriter) -> None:
        if len(tool_server.seen) == 100:
            everybody.set()
        await everybody.wait()
        writer.write(answer(b"1"))

    tool_server.answers = [together]
    with anyio.fail_after(20):
        calls = [box.call(look(tool_server.url), {}, CONTEXT) for _ in range(100)]
        assert await asyncio.gather(*calls) == [1] * 100
