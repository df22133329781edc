"""Which addresses tools may dial: by the address after DNS, in every spelling."""

import asyncio

import pytest

from outlast.agents.dial import guarded, refusal
from outlast.agents.tools.toolbox import ToolBox
from outlast.model.clock import SystemClock
from outlast.model.error import ToolFailed
from tests.support.http_tools import CONTEXT, HttpToolServer, answer, failure, look

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    "address",
    [
        "169.254.169.254",
        "169.254.0.1",
        "fe80::1%eth0",
        "::ffff:169.254.169.254",
        "64:ff9b::a9fe:a9fe",
        "2002:a9fe:a9fe::1",
        "fd00:ec2::254",
        "100.100.100.200",
        "224.0.0.1",
        "ff02::1",
        "255.255.255.255",
    ],
)
def test_link_local_metadata_and_multicast_addresses_are_refused_to_all(address: str) -> None:
    assert refusal(address, private=True)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "::1",
        "0.0.0.0",
        "::",
        "10.0.0.1",
        "172.16.9.9",
        "192.168.1.1",
        "100.64.0.1",
        "fd12:3456::1",
        "::ffff:127.0.0.1",
        "64:ff9b::7f00:1",
        "64:ff9b::10.0.0.1",
    ],
)
def test_private_and_loopback_addresses_are_for_those_who_may(address: str) -> None:
    assert refusal(address, private=True) is None
    assert refusal(address, private=False)


@pytest.mark.parametrize("address", ["1.1.1.1", "93.184.216.34", "2606:4700::1111"])
def test_addresses_of_the_internet_may_be_dialled(address: str) -> None:
    assert refusal(address, private=False) is None


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "2130706433", "0x7f000001", "127.1", "[::ffff:127.0.0.1]"]
)
async def test_a_refused_address_is_not_dialled_whatever_its_spelling(host: str) -> None:
    server = HttpToolServer([answer()])
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    box = ToolBox(SystemClock(), connector=guarded(private=False))
    try:
        message = await failure(box, look(f"http://{host}:{port}/x", retries=3))
        if host not in {"2130706433", "0x7f000001", "127.1"}:  # aiohttp may refuse these itself
            assert "is not called: private and loopback addresses are not called" in message
        assert server.seen == []
    finally:
        await box.close()
        listening.close()


async def test_the_operators_own_addresses_are_dialled_and_metadata_never() -> None:
    server = HttpToolServer([answer(b"1")])
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    server.port = listening.sockets[0].getsockname()[1]
    box = ToolBox(SystemClock(), connector=guarded(private=True))
    try:
        assert await box.call(look(server.url), {}, CONTEXT) == 1
        with pytest.raises(ToolFailed, match="link-local and metadata addresses are never called"):
            await box.call(look("http://169.254.169.254/latest/meta-data"), {}, CONTEXT)
    finally:
        await box.close()
        listening.close()
