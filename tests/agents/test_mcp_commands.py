"""MCP servers that are commands: the oldest protocol, and everything that one may do wrong."""

import contextlib
from pathlib import Path
from typing import Any

import orjson
import pytest

from outlast.agents.mcp import connection, stdio
from outlast.model.error import ToolFailed, ToolsUnavailable, ToolTimeout
from tests.support.mcp_servers import (
    CONTEXT,
    Tools,
    lives,
    noted,
    odd,
    stop,
    tools_of,
    until_gone,
    until_noted,
)
from tests.support.waiting import until, until_found

pytestmark = pytest.mark.anyio


def pid_of(folder: Path, beginning: str) -> int:
    return int(next(line for line in noted(folder) if line.startswith(beginning)).split()[-1])


async def test_the_oldest_protocol_is_spoken_and_the_process_ends_with_the_box(
    tmp_path: Path,
) -> None:
    async with tools_of(**odd(tmp_path, "plain")) as tools:
        assert await tools.call("act") == "acted"
        pid = pid_of(tmp_path, "started")
        assert lives(pid)
    assert not lives(pid)


async def test_what_a_command_has_started_ends_with_it(tmp_path: Path) -> None:
    async with tools_of(**odd(tmp_path, "stays")) as tools:
        assert await tools.call("act") == "acted"
        child = pid_of(tmp_path, "child")
        assert lives(child)
    await until_gone(child)
    assert not lives(pid_of(tmp_path, "started"))


async def test_a_server_that_dies_in_a_call_is_started_again_for_the_next(tmp_path: Path) -> None:
    environ = {"KEY": "s3cret-token"}
    server = odd(tmp_path, "dies") | {"env": {"SHOP_KEY": "${KEY}"}}
    async with tools_of(environ=environ, **server) as tools:
        for _ in range(2):
            with pytest.raises(ToolFailed, match=r"lost.*It is not known") as raised:
                await tools.call("act")
            assert "s3cret" not in raised.value.message
            assert "s3cret" not in raised.value.cause
        assert len([line for line in noted(tmp_path) if line.startswith("act")]) == 2
        assert len([line for line in noted(tmp_path) if line.startswith("started")]) == 2


async def test_a_server_that_is_killed_is_started_again(tmp_path: Path) -> None:
    async with tools_of(**odd(tmp_path, "plain")) as tools:
        assert await tools.call("act") == "acted"
        pid = pid_of(tmp_path, "started")
        stop(pid)
        await until_gone(pid)
        with contextlib.suppress(ToolFailed):  # it may go out before the end of the process is seen
            await tools.call("act")
        assert await tools.call("act") == "acted"


async def test_a_server_that_hangs_costs_its_timeout_and_is_sent_a_cancellation(
    tmp_path: Path,
) -> None:
    async with tools_of(timeout=0.3, **odd(tmp_path, "hangs")) as tools:
        with pytest.raises(ToolTimeout, match="did not answer within"):
            await tools.call("act")
        await until_noted(tmp_path, "cancelled")


async def test_a_server_that_never_begins_costs_the_time_to_connect(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "CONNECT_SECONDS", 1.0)
    monkeypatch.setattr("outlast.agents.mcp.shared._PAUSES", (0.01,))
    async with tools_of(**odd(tmp_path, "deaf")) as tools:
        with pytest.raises(ToolsUnavailable, match="shop"):
            await tools.listed()
    assert len(noted(tmp_path)) <= 2  # on a busy machine the time is over before one has started
    assert not any(lives(int(line.split()[-1])) for line in noted(tmp_path))


async def test_what_a_command_says_when_it_cannot_begin_is_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("outlast.agents.mcp.shared._PAUSES", ())
    async with tools_of(**odd(tmp_path, "crashes")) as tools:
        with pytest.raises(ToolsUnavailable, match="exit code 1: there is no licence"):
            await tools.listed()
    async with tools_of(command="/no/such/command") as tools:
        with pytest.raises(ToolsUnavailable, match="there is no such command"):
            await tools.listed()


async def test_lines_that_are_no_mcp_are_ignored_and_a_flood_of_them_ends_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with tools_of(**odd(tmp_path, "garbage")) as tools:
        assert await tools.call("act") == "acted"
    monkeypatch.setattr(stdio, "MAX_BYTES", 1_000_000)
    async with tools_of(**odd(tmp_path, "flood")) as tools:
        with pytest.raises(ToolFailed, match="it writes what is not MCP"):
            await tools.call("act")


async def test_a_result_that_is_no_result_and_a_refusal_are_errors(tmp_path: Path) -> None:
    async with tools_of(**odd(tmp_path, "wrong")) as tools:
        with pytest.raises(ToolFailed, match=r"not valid MCP\. It is not known"):
            await tools.call("act")
    async with tools_of(**odd(tmp_path, "error")) as tools:
        with pytest.raises(ToolFailed, match="refused the call: Unknown tool: act"):
            await tools.call("act")


async def test_five_hundred_tools_come_in_pages_and_without_end_they_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("outlast.agents.mcp.shared._PAUSES", ())
    async with tools_of(**odd(tmp_path, "many")) as tools:
        assert len(await tools.names()) == 500
    async with tools_of(tools=["tool_7", "tool_499"], **odd(tmp_path, "many")) as tools:
        assert await tools.names() == ["shop__tool_7", "shop__tool_499"]
    for behaviour in ("too_many", "endless"):
        async with tools_of(**odd(tmp_path, behaviour)) as tools:
            with pytest.raises(ToolsUnavailable, match="more than 1000 tools"):
                await tools.listed()


async def test_names_are_what_models_take_and_the_same_each_time(tmp_path: Path) -> None:
    async with tools_of(**odd(tmp_path, "names")) as tools:
        names = await tools.names()
        assert names == [
            "shop__w_ird_name__18a24fda",
            f"shop__{'x' * 49}_aa20c23e",
            f"shop__{'y' * 49}_ffbf30ab",
            f"shop__{'y' * 49}_dfb910e3",
            "shop__plain",
        ]
        assert all(len(name) <= 64 for name in names)


async def test_a_tool_with_a_broken_schema_is_left_out(tmp_path: Path) -> None:
    async with tools_of(**odd(tmp_path, "schemas")) as tools:
        assert await tools.names() == ["shop__good"]


async def test_a_list_that_is_not_valid_is_an_error_that_names_the_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("outlast.agents.mcp.shared._PAUSES", ())
    async with tools_of(**odd(tmp_path, "bad_list")) as tools:
        with pytest.raises(
            ToolsUnavailable, match=r"not valid MCP: tools\.1\.inputSchema\.required"
        ):
            await tools.listed()


async def test_a_renamed_tool_is_an_error_and_the_next_list_has_the_new_one(
    tmp_path: Path,
) -> None:
    async with tools_of(**odd(tmp_path, "renames")) as tools:
        spec = await tools.spec("act")
        assert await tools.box.call(spec, {}, CONTEXT) == "acted"
        await until_found(lambda: _is_listed(tools, "shop__other"))
        with pytest.raises(ToolFailed, match="no longer has the tool 'act'"):
            await tools.box.call(spec, {}, CONTEXT)


async def _is_listed(tools: Tools, name: str) -> bool:
    return await tools.names() == [name]


async def test_a_command_has_its_own_variables_and_few_of_the_servers(tmp_path: Path) -> None:
    environ = {"KEY": "s3cret-token", "OTHER_SECRET": "hidden", "HOME": "/home/shop"}
    server: dict[str, Any] = odd(tmp_path, "env") | {"env": {"SHOP_KEY": "${KEY}", "PLAIN": "x"}}
    async with tools_of(environ=environ, **server) as tools:
        found = orjson.loads(await tools.call("act"))
    assert found["SHOP_KEY"] == "***"
    assert (found["PLAIN"], found["HOME"]) == ("x", "/home/shop")
    assert "OTHER_SECRET" not in found
    assert "KEY" not in found


async def test_an_idle_command_is_ended_and_started_when_it_is_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("outlast.agents.mcp.client.IDLE_SECONDS", 0.05)
    async with tools_of(**odd(tmp_path, "plain")) as tools:
        assert await tools.call("act") == "acted"
        await until_gone(pid_of(tmp_path, "started"))
        await until(lambda: not tools.connections)
        assert await tools.call("act") == "acted"
