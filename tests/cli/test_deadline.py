"""SIGTERM ends a process in bounded time even where C code keeps the interpreter's lock."""

import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

import pytest

from tests.support.command_line import CommandLine
from tests.support.databases import POSTGRESQL, SQLITE
from tests.support.long_cases import WHOLE, first_of
from tests.support.python_process import PythonProcess
from tests.support.waiting import BOUND

DRAIN: Final = 1
MOST: Final = DRAIN + 20 + 12
"""Seconds until the process has gone, on a busy machine."""
PATTERN: Final = 're.match("(a+)+$", "a" * 64 + "b")'
SLEEP: Final = "ctypes.PyDLL(None).sleep(1000)"
"""PyDLL keeps the lock while it calls."""
KEEP: Final = PATTERN if WHOLE else SLEEP
"""For the seconds that a server has: the pattern takes all of a core."""
AGENTS: Final = f"""
import ctypes
import re
import sys
from pathlib import Path

from outlast import Agent, tool

SEEN = Path(__file__).with_name("seen")


def match() -> str:
    if not SEEN.exists():
        SEEN.touch()
        print("BEGUN", file=sys.stderr, flush=True)
        {KEEP}
    return "at last"


@tool(effect="read_only")
def in_a_thread() -> str:
    "A call that never returns, the first time"
    return match()


@tool(effect="read_only")
async def in_the_loop() -> str:
    "The same where the event loop runs"
    return match()


agents = [Agent("main", model="scripted:calls.yaml", tools=[in_a_thread, in_the_loop])]
"""
CALLS: Final = "turns:\n" + "".join(
    f"  - when: {name}\n    steps:\n"
    f"      - tool_calls: [{{name: {name}, parameters: {{}}}}]\n"
    "        delay_ms: 500\n"
    "      - text: '{result}'\n"
    for name in ("in_a_thread", "in_the_loop")
)
PROCESS: Final = """
import ctypes, os, re, signal, sys, threading, time
from outlast.cli.deadline import Deadline

def keep():
    print("BEGUN", flush=True)
    {keep}

def leave(number, frame):
    os.write(1, b"handled\\n")  # a print might interrupt another
    {leave}

signal.signal(signal.SIGTERM, leave)
Deadline({seconds}).watch([signal.SIGTERM])
{begin}
time.sleep(1000)
"""
IN_A_THREAD: Final = "threading.Thread(target=keep, daemon=True).start()"


def begun(**parts: str) -> PythonProcess:
    parts = {"leave": "pass", "seconds": "0.5", "begin": IN_A_THREAD, "keep": "pass"} | parts
    process = PythonProcess(
        [sys.executable, "-c", PROCESS.format(**parts)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "BEGUN\n"
    return process


@pytest.mark.parametrize(
    ("keep", "begin"),
    [
        (PATTERN, IN_A_THREAD),
        (PATTERN, "keep()"),
        (SLEEP, IN_A_THREAD),
        ("sum(iter(int, 1))", "keep()"),
    ],
)
def test_what_keeps_the_lock_ends_at_the_deadline_and_says_where_it_hung(
    keep: str, begin: str
) -> None:
    process = begun(keep=keep, begin=begin)
    process.terminate()
    _, err = process.communicate(timeout=BOUND)

    assert process.returncode == -signal.SIGABRT
    assert "in keep" in err


def test_a_second_signal_ends_it_before_the_deadline() -> None:
    process = begun(keep=PATTERN, seconds="1000")
    process.terminate()
    for _ in range(100):
        process.terminate()
        try:
            process.communicate(timeout=0.1)
        except subprocess.TimeoutExpired:
            continue
        break

    assert process.returncode == -signal.SIGABRT


def test_a_process_that_leaves_by_itself_is_left_alone() -> None:
    process = begun(leave="sys.exit(0)", seconds="1000")
    process.terminate()
    out, err = process.communicate(timeout=BOUND)  # the child lets go of nothing of ours

    assert (process.returncode, out, err) == (0, "handled\n", "")


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_child_takes_little_memory_while_there_is_no_signal() -> None:
    process = begun(leave="sys.exit(0)", seconds="1000")
    (child,) = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    memory = Path(f"/proc/{child}/smaps_rollup").read_text()
    process.terminate()
    process.communicate(timeout=BOUND)

    found = re.search(r"^Rss: +(\d+) kB", memory, re.MULTILINE)
    assert found is not None
    assert int(found[1]) < 4096, "Python has more than twice that"


@pytest.fixture
def command_line(command_line: CommandLine) -> CommandLine:
    (command_line.folder / "agents.py").write_text(AGENTS)
    (command_line.folder / "calls.yaml").write_text(CALLS)
    command_line.environment |= {"OUTLAST_AGENTS": "agents.py", "OUTLAST_DRAIN_SECONDS": str(DRAIN)}
    return command_line


@pytest.mark.only(SQLITE)
@pytest.mark.parametrize("said", first_of(["in_a_thread", "in_the_loop"]))
def test_sigterm_ends_a_server_whose_tool_keeps_the_lock(
    command_line: CommandLine, said: str
) -> None:
    server = command_line.serve()
    client = server.client(command_line.key)
    body = {"input": said, "background": True}
    execution = client.post("/v1/agents/main/execute", json=body).json()["id"]
    server.process.err.until("BEGUN")

    began = time.monotonic()
    code, _, err = server.stop(signal.SIGTERM)

    assert code == -signal.SIGABRT
    assert time.monotonic() - began < MOST
    assert "agents.py" in err
    assert "in match" in err
    client = command_line.serve().client(command_line.key)
    client.get(f"/v1/executions/{execution}/stream")
    assert client.get(f"/v1/executions/{execution}").json()["output"] == "at last"


@pytest.mark.skipif(not WHOLE, reason="takes half a minute: make hostile")
@pytest.mark.only(POSTGRESQL)
@pytest.mark.parametrize("said", ["in_the_loop", "in_a_thread"])
def test_sigterm_ends_a_worker_whose_tool_keeps_the_lock(
    command_line: CommandLine, said: str
) -> None:
    server = command_line.serve("--no-worker")
    worker = command_line.work()
    client = server.client(command_line.key)
    body = {"input": said, "background": True}
    execution = client.post("/v1/agents/main/execute", json=body).json()["id"]
    worker.err.until("BEGUN")

    began = time.monotonic()
    worker.signal(signal.SIGTERM)
    code, _, _ = worker.wait()

    assert code == -signal.SIGABRT
    assert time.monotonic() - began < MOST
    command_line.work()
    client.get(f"/v1/executions/{execution}/stream")
    assert client.get(f"/v1/executions/{execution}").json()["output"] == "at last"


IN_PIECES: Final = """
import array, fcntl, os, select, subprocess, sys, termios
from outlast.cli.deadline import _CHILD

end, pipe = os.pipe()
child = subprocess.Popen([sys.executable, "-I", "-S", _CHILD, str(os.getpid()), "60"], stdin=end)

def write(piece):
    os.write(pipe, piece)
    left = array.array("i", [1])
    while left[0]:
        os.sched_yield()
        fcntl.ioctl(pipe, termios.FIONREAD, left)

for piece in {pieces}:
    write(piece)
select.select([], [], [], 3)
print("left by itself", flush=True)
"""


@pytest.mark.parametrize(
    ("pieces", "code"),
    [
        ([b"Stack (most recent", b" call first):\n", b'  File "a.py"', b", line 1", b" in f\n"], 0),
        (
            [b"Stack (most recent call first):\n  File", b"Stack (most recent call", b" first):\n"],
            -6,
        ),
    ],
    ids=["one signal", "two signals"],
)
def test_what_one_signal_writes_in_pieces_is_no_second_signal(
    pieces: list[bytes], code: int
) -> None:
    script = IN_PIECES.format(pieces=pieces)
    pipe = subprocess.PIPE
    process = PythonProcess([sys.executable, "-c", script], stdout=pipe, stderr=pipe, text=True)
    out, err = process.communicate(timeout=BOUND)
    assert process.returncode == code, err
    assert (out == "left by itself\n") is (code == 0)
