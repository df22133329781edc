"""What the documents print is run as it stands, and answers what is shown."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import orjson
import pytest

from outlast import tool
from outlast.client import SyncClient
from outlast.testing import FakeServer, fake_server
from tests.support.mcp_servers import free_port
from tests.support.python_process import PythonProcess
from tests.support.waiting import BOUND

ROOT: Final = Path(__file__).parent.parent
TEXT: Final = (ROOT / "docs" / "http.md").read_text()
OF_A_CRASH: Final = {"step"}
"""What only the frame `retry` has, where the server was killed."""
SCRIPT: Final[dict[str, Any]] = {
    "turns": [
        {
            "when": "refund",
            "steps": [
                {"tool_calls": [{"name": "refund", "parameters": {"amount": 5}}]},
                {"text": "Done."},
            ],
        },
        {
            "when": "Where am I",
            "steps": [
                {"tool_calls": [{"name": "locate", "parameters": {}}]},
                {"text": "In {result.city}."},
            ],
        },
        {
            "when": "6",
            "steps": [
                {
                    "text": "Let me calculate.",
                    "tool_calls": [
                        {"name": "calculator", "parameters": {"expression": "6 * 7"}},
                    ],
                },
                {"text": "It is {result}."},
            ],
        },
        {"steps": [{"text": "You said: {input}"}]},
    ]
}
CLIENT_TOOL: Final = {
    "name": "locate",
    "description": "Where the user is",
    "parameters": {"type": "object", "properties": {}},
}


@tool(effect="destructive", approval=True)
def refund(amount: int) -> str:
    """Pay back."""
    return f"{amount} paid back"


SHOWN: Final = re.compile(
    r"^```sh\n(?P<command>.*?)^```$(?:\n\n```(?:json)?\n(?P<answer>.*?)^```$)?",
    re.MULTILINE | re.DOTALL,
)
"""A command, and what is printed below it."""


def names(text: str) -> set[str]:
    return set(re.findall(r'"(\w+)":', text))


@pytest.fixture(scope="module")
def server() -> Iterator[FakeServer]:
    with fake_server({"support": SCRIPT}, tools=["calculator", refund]) as serving:
        yield serving


def test_the_requests_of_the_http_page_are_answered_as_shown(server: FakeServer) -> None:
    shown = [(found["command"], found["answer"] or "") for found in SHOWN.finditer(TEXT)]
    shown = [one for one in shown if "outlast serve" not in one[0]]
    assert len(shown) > 15
    with SyncClient(server.url, server.key) as client:
        for command, answer in shown:
            ready = placed(command, client)
            done = subprocess.run(
                ["bash", "-ec", ready],
                env={**os.environ, "U": server.url, "K": server.key},
                capture_output=True,
                text=True,
                check=False,
                timeout=120,
            )
            assert (done.returncode, done.stderr) == (0, ""), command
            is_error = '"error":{"type"' in answer
            assert ('"error":{"type"' in done.stdout) == is_error, (command, done.stdout)
            missing = names(answer) - names(done.stdout)
            assert missing <= OF_A_CRASH, (command, missing)


def test_the_requests_of_the_readme_are_answered(server: FakeServer) -> None:
    text = (ROOT / "README.md").read_text()
    commands = re.findall(r"^    (curl (?:.*\\\n)*.*)", text, re.MULTILINE)
    assert len(commands) > 4
    with SyncClient(server.url, server.key) as client:
        run = client.execute("support", "Where is order ORD-12345?")["id"]
    for command in commands:
        done = subprocess.run(
            ["bash", "-ec", command.replace("localhost:8321", server.url).replace("1-17", "1-1")],
            env={**os.environ, "KEY": server.key, "ID": run},
            capture_output=True,
            text=True,
            check=False,
            timeout=BOUND,
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout
        assert '"error":{"type"' not in done.stdout, (command, done.stdout)


def test_the_script_of_the_start_page_runs(
    server: FakeServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (script,) = re.findall(
        r"^```python\n(# ask\.py\n.*?)^```$",
        (ROOT / "docs" / "start.md").read_text(),
        re.MULTILINE | re.DOTALL,
    )
    monkeypatch.setenv("KEY", server.key)
    script = script.replace("http://127.0.0.1:8321", server.url).replace("assistant", "support")
    exec(compile(script, "ask.py", "exec"), {"__name__": "ask"})
    assert "completed It is 42." in capsys.readouterr().out


def placed(command: str, client: SyncClient) -> str:
    """A command with the ids of executions that are as it wants them."""
    if "/client-calls/" in command:
        run = client.execute("support", "Where am I?", clientTools=[CLIENT_TOOL])
        call = run["pendingClientCalls"][0]["toolCallId"]
    elif "/approvals/" in command or "/cancel" in command:
        run = client.execute("support", "refund")
        call = run["pendingApprovals"][0]["toolCallId"]
    else:
        run, call = client.execute("support", "6"), ""
    command = re.sub(r"exec_01\w+…?|019cf10b-[\w-]+", run["id"], command)
    return re.sub(r"tc_01\w+…", call, command).replace("sleep 5", "sleep 0.1")


class Terminal:
    """A folder and an environment in which commands are typed."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self._given: dict[str, Any] = {"cwd": folder, "env": environment, "text": True}

    def run(self, command: str) -> str:
        done = subprocess.run(
            ["bash", "-ec", command],
            capture_output=True,
            check=False,
            timeout=BOUND,
            **self._given,
        )
        assert done.returncode == 0, done.stderr
        return str(done.stdout)

    def server(self, command: str) -> PythonProcess:
        process = PythonProcess(
            ["bash", "-c", f"exec {command}"],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            **self._given,
        )
        assert process.stdout is not None
        assert "Outlast answers on" in process.stdout.readline()
        return process


def test_the_tutorial_goes_as_it_is_written(tmp_path: Path) -> None:
    text = (ROOT / "docs" / "tutorial.md").read_text()
    port = free_port()
    for name, block in re.findall(
        r"^```(?:python|yaml)\n# (\S+)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL
    ):
        (tmp_path / name).write_text(block.replace("delay_ms: 300", "delay_ms: 60"))
    commands = re.findall(r"^```sh\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    serve, begin, kill, waiting, look = (one.replace("8321", str(port)) for one in commands)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("OUTLAST_")}
    environment = {
        **kept,
        "HOME": str(tmp_path),
        "OUTLAST_PORT": str(port),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }
    at = Terminal(tmp_path, environment)
    first = at.server(serve)
    run = str(orjson.loads(at.run(begin))["id"])
    key = (tmp_path / "data" / "api_key").read_text().strip()
    with SyncClient(f"http://127.0.0.1:{port}", key, patience=BOUND) as client:
        frames = client.follow(run)
        seen = []
        for frame in frames:
            seen.append(frame)
            if frame.type == "text_delta" and "sentence" in frame.data["text"]:
                break
        at.run(kill)
        assert first.wait(BOUND) == -signal.SIGKILL
        first.communicate()
        second = at.server(serve)
        for frame in frames:
            seen.append(frame)
            if frame.type == "approval_requested":
                assert "refund" in at.run(f"export ID={run}\n{waiting}")
        assert run in at.run(begin.partition("curl")[0] + look)
        second.terminate()
        second.communicate()
    end = seen[-1]
    assert end.type == "done"
    assert end.data["execution"]["output"] == "Refunded 24.9 euros."
    ran = [frame.data["name"] for frame in seen if frame.type == "tool_call_start"]
    assert ran == ["lookup_order", "refund"]
