"""`outlast run`: an execution from the terminal, with and without a server."""

import asyncio
import signal

import orjson
import pytest

from outlast.cli.run import require_answer
from outlast.client import Client
from tests.support.command_line import CommandLine
from tests.support.databases import POSTGRESQL, SQLITE


def test_text_goes_to_standard_output_and_tools_to_standard_error(with_worker: CommandLine) -> None:
    code, out, err = with_worker.run("run", "demo", "the sum")

    assert code == 0
    assert out == "It is 4.\n"
    assert '→ calculator {"expression":"2+2"}' in err
    assert "← calculator 4" in err


def test_a_failed_execution_exits_with_1_and_shows_what_it_wrote(with_worker: CommandLine) -> None:
    code, out, err = with_worker.run("run", "demo", "fail")

    assert code == 1
    assert out == "This much\n"
    assert "not today" in err
    assert "Traceback" not in err


def test_a_suspended_execution_exits_with_3(with_worker: CommandLine) -> None:
    code, _, err = with_worker.run("run", "careful", "pay")

    assert code == 3
    assert "? pay {} waits for approval" in err


def test_a_conversation_goes_on_and_json_is_the_api_s(with_worker: CommandLine) -> None:
    code, out, _ = with_worker.run("run", "demo", "hello", "--json")
    first = orjson.loads(out)
    assert code == 0
    assert (first["status"], first["output"]) == ("completed", "You said: hello")
    assert first["usage"]["totalTokens"] > 0

    conversation = first["conversationId"]
    _, out, _ = with_worker.run("run", "demo", "again", "--conversation", conversation, "--json")
    assert orjson.loads(out)["conversationId"] == conversation


def test_a_user_and_metadata_go_with_a_run_and_lists_filter_by_them(
    with_worker: CommandLine,
) -> None:
    indexed = {"OUTLAST_INDEXED_METADATA": "source"}
    tags = ("--metadata", "source=web", "--metadata", "n=a=b")
    code, out, _ = with_worker.run(
        "run", "demo", "hello", "--user", "ann", *tags, "--json", **indexed
    )
    ann = orjson.loads(out)
    assert code == 0
    assert (ann["user"], ann["metadata"]) == ("ann", {"source": "web", "n": "a=b"})
    bob = ("--user", "bob", "--metadata", "source=app")
    with_worker.run("run", "demo", "hello", *bob, **indexed)

    def listed(*filters: str) -> list[str]:
        _, found, _ = with_worker.run("executions", "list", *filters, "--json", **indexed)
        return [one["id"] for one in orjson.loads(found)["data"]]

    assert listed("--user", "ann") == [ann["id"]]
    assert listed("--metadata", "source=web") == [ann["id"]]
    assert listed("--user", "ann", "--metadata", "source=app") == []
    for wrong in (("--metadata", "n=1"), ("--metadata", "source")):
        code, _, err = with_worker.run("executions", "list", *wrong, **indexed)
        assert code == 2
        assert "metadata" in err
    code, _, err = with_worker.run("run", "demo", "hello", "--user", "x" * 257)
    assert code == 2
    assert "user: 1 to 256 characters" in err


def test_ctrl_c_cancels_and_keeps_what_was_written(with_worker: CommandLine) -> None:
    process = with_worker.start("run", "demo", "hold on")
    process.err.until("← calculator 2")
    process.signal(signal.SIGINT)
    code, out, err = process.wait()
    assert code == 130
    assert out.startswith("Started.")
    assert "cancelled" in err

    _, out, _ = with_worker.run("executions", "list", "--json")
    (execution,) = orjson.loads(out)["data"]
    assert (execution["status"], execution["output"]) == ("cancelled", "Started.")


def test_unknown_agents_and_bad_usage_are_one_line(with_worker: CommandLine) -> None:
    code, _, err = with_worker.run("run", "unknown", "hello")
    known = "agents.yaml has demo, careful."
    assert code == 1
    assert err == f"outlast: There is no agent 'unknown'. {known} See: outlast agents list\n"
    _, _, err = with_worker.run("run", "unknown", "hello", OUTLAST_AGENTS="")
    assert "outlast init writes a file of agents" in err

    code, _, err = with_worker.run("run", "demo", "hello", "--conversation", "nonsense")
    assert code == 2
    assert err.count("\n") == 1


@pytest.mark.only(SQLITE)
def test_with_a_server_on_the_data_it_runs_there(command_line: CommandLine) -> None:
    command_line.serve()

    code, out, err = command_line.run("run", "demo", "the sum")
    assert code == 0
    assert out == "It is 4.\n"
    assert "the run goes through it, at http://127.0.0.1:" in err
    assert "← calculator 4" in err

    assert command_line.run("run", "demo", "fail")[0] == 1
    assert command_line.run("run", "careful", "pay")[0] == 3


@pytest.mark.only(SQLITE)
def test_a_server_that_listens_elsewhere_is_reported_at_once(command_line: CommandLine) -> None:
    command_line.serve()
    code, out, err = command_line.run("run", "demo", "the sum", "--port", "1")
    assert (code, out) == (2, "")
    assert err.splitlines()[-1].startswith("outlast: http://127.0.0.1:1 does not answer")
    assert "--port" in err


@pytest.mark.only(SQLITE)
def test_ctrl_c_cancels_on_the_server_too(command_line: CommandLine) -> None:
    server = command_line.serve()
    process = command_line.start("run", "demo", "hold on")
    process.err.until("← calculator 2")
    process.signal(signal.SIGINT)
    code, _, _ = process.wait()

    assert code == 130
    (execution,) = server.client(command_line.key).get("/v1/executions").json()["data"]
    assert execution["status"] == "cancelled"


@pytest.mark.only(POSTGRESQL)
def test_without_a_worker_it_says_how_to_start_one(command_line: CommandLine) -> None:
    code, out, err = command_line.run("run", "demo", "the sum")
    assert (code, out) == (2, "")
    assert "outlast worker" in err
    assert err.count("\n") == 1


@pytest.mark.anyio
async def test_a_server_that_takes_no_work_now_is_said_before_the_wait_for_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        head = b"HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\ncontent-length: 2\r\n"
        writer.write(head + b"content-type: application/json\r\n\r\n{}")
        writer.close()

    async with await asyncio.start_server(refuse, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with Client(f"http://127.0.0.1:{port}", "key", retries=0) as client:
            await require_answer(client)
    assert "takes no work now; trying again" in capsys.readouterr().err
