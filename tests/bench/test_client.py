"""The load generator's client against the fake provider and against raw bytes."""

import asyncio

import pytest
from bench.client import Connection, ConnectionCut, ask_once
from bench.load import first_token
from bench.requests import DIRECT_TOKEN, ask_provider

from tests.support.provider import FakeProvider

pytestmark = pytest.mark.anyio


async def test_a_connection_serves_one_answer_after_another() -> None:
    async with FakeProvider() as provider:
        connection = await Connection.open(provider.port)
        first = await connection.ask(ask_provider("words-3", stream=False))
        second = await connection.ask(ask_provider("words-2", stream=False))
        connection.close()
        assert first.json()["choices"][0]["message"]["content"] == "lorem ipsum dolor"
        assert second.json()["choices"][0]["message"]["content"] == "lorem ipsum"
        assert provider.connection_count == 1


async def test_a_watcher_gets_every_chunk_once() -> None:
    chunks: list[bytes] = []
    async with FakeProvider() as provider:
        connection = await Connection.open(provider.port)
        answer = await connection.ask(ask_provider("words-30"), chunks.append)
        connection.close()
    assert answer.status == 200
    assert answer.body == b""
    assert sum(DIRECT_TOKEN in chunk for chunk in chunks) == 30
    assert chunks[-1] == b"data: [DONE]\n\n"


async def test_an_error_status_is_no_json() -> None:
    async with FakeProvider() as provider:
        answer = await ask_once(provider.port, ask_provider("status-500"))
    assert answer.status == 500
    with pytest.raises(RuntimeError, match="HTTP 500"):
        answer.json()


async def test_an_answer_that_is_cut_off_is_an_error() -> None:
    async with FakeProvider() as provider:
        with pytest.raises(ConnectionCut):
            await ask_once(provider.port, ask_provider("die-after-2"))


async def test_a_stream_without_a_token_gives_no_time() -> None:
    async with FakeProvider() as provider:
        connection = await Connection.open(provider.port)
        with pytest.raises(RuntimeError, match="no token"):
            await first_token(connection, ask_provider("words-1"), b"never said")
        connection.close()


@pytest.mark.parametrize("size", [1, 2, 3, 7])
async def test_an_answer_in_pieces_of_any_size_is_the_same(size: int) -> None:
    whole = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
    pieces = [whole[at : at + size] for at in range(0, len(whole), size)]
    assert await _heard(pieces) == b"abcde"
    counted = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabcde"
    assert (
        await _heard([counted[at : at + size] for at in range(0, len(counted), size)]) == b"abcde"
    )


async def _heard(pieces: list[bytes]) -> bytes:
    connection = Connection()

    class Fed(asyncio.Transport):
        def write(self, data: object) -> None:
            for piece in pieces:
                connection.data_received(piece)

        def is_closing(self) -> bool:
            return False

    connection.connection_made(Fed())
    return (await connection.ask(b"")).body
