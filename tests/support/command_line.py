"""`outlast` as processes, in a folder with an agents file."""

import os
import re
import subprocess
import sys
import threading
from contextlib import ExitStack
from pathlib import Path
from queue import Queue
from typing import IO, Final

import httpx2

from tests.support.databases import POSTGRESQL, Database
from tests.support.python_process import PythonProcess
from tests.support.waiting import BOUND

COMMAND: Final = [sys.executable, "-c", "from outlast.cli import main; main()"]

AGENTS: Final = """
agents:
  - name: demo
    model: scripted:script.yaml
    tools: [{builtin: calculator}]
  - name: careful
    model: scripted:script.yaml
    tools: [{name: pay, description: Pay, python: "os:getcwd", approval: true}]
"""
SCRIPT: Final = """
turns:
  - when: hold
    steps:
      - text: Started.
        tool_calls: [{name: calculator, parameters: {expression: 1+1}}]
      - text: for ever
        delay_ms: 600000
  - when: sum
    steps:
      - tool_calls: [{name: calculator, parameters: {expression: 2+2}}]
      - text: It is {result}.
  - when: fail
    steps:
      - text: This much
        fail: {code: model_rejected, message: not today}
  - when: pay
    steps:
      - tool_calls: [{name: pay, parameters: {}}]
      - text: Paid.
  - steps:
      - text: "You said: {input}"
"""


class CommandLine:
    """A folder with an agents file, an environment, and the processes started in it."""

    def __init__(self, folder: Path, database: Database) -> None:
        self.folder = folder
        self.data = folder / "data"
        (folder / "agents.yaml").write_text(AGENTS)
        (folder / "script.yaml").write_text(SCRIPT)
        self.environment = {
            "HOME": str(folder),
            "OUTLAST_DATA_DIR": str(self.data),
            "OUTLAST_AGENTS": "agents.yaml",
            "OUTLAST_PORT": "0",
            "OUTLAST_TAKEOVER_SECONDS": "2",
        }
        if database.kind == POSTGRESQL:
            self.environment["OUTLAST_DATABASE_URL"] = database.url
        self._processes: list[CommandProcess] = []
        self._clients = ExitStack()

    @property
    def key(self) -> str:
        return (self.data / "api_key").read_text().strip()

    def start(self, *arguments: str, **environment: str) -> "CommandProcess":
        process = CommandProcess(self, arguments, environment)
        self._processes.append(process)
        return process

    def serve(self, *arguments: str, **environment: str) -> "ServeCommand":
        server = ServeCommand(self.start("serve", *arguments, **environment), self._clients)
        self.environment["OUTLAST_PORT"] = server.url.rpartition(":")[2]
        return server

    def work(self) -> "CommandProcess":
        """A worker that has begun."""
        worker = self.start("worker", "--port", "0")
        worker.out.until("Outlast works")
        return worker

    def run(self, *arguments: str, **environment: str) -> tuple[int, str, str]:
        return self.start(*arguments, **environment).wait()

    def end(self) -> None:
        self._clients.close()
        for process in self._processes:
            process.kill()


class CommandProcess:
    """A command that runs."""

    def __init__(
        self, command_line: CommandLine, arguments: tuple[str, ...], more: dict[str, str]
    ) -> None:
        inherited = {
            name: value for name, value in os.environ.items() if not name.startswith("OUTLAST_")
        }
        self._process = PythonProcess(
            [*COMMAND, *arguments],
            cwd=command_line.folder,
            env={**inherited, **command_line.environment, **more},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self.out = Output(self._process.stdout)
        self.err = Output(self._process.stderr)

    def signal(self, number: int) -> None:
        self._process.send_signal(number)

    def wait(self) -> tuple[int, str, str]:
        code = self._process.wait(BOUND)
        return code, self.out.whole(), self.err.whole()

    def kill(self) -> None:
        self._process.kill()
        self.wait()


class Output:
    """What a process writes, as it writes it."""

    def __init__(self, stream: IO[bytes] | None) -> None:
        assert stream is not None
        self._stream = stream
        self._pieces: Queue[bytes] = Queue()
        self._seen = b""
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def until(self, pattern: str) -> re.Match[str]:
        """Wait until this has been written."""
        while (found := re.search(pattern, self._seen.decode())) is None:
            piece = self._pieces.get(timeout=BOUND)
            assert piece, f"{pattern!r} was not written: {self._seen.decode()!r}"
            self._seen += piece
        return found

    def whole(self) -> str:
        self._reader.join(BOUND)
        while not self._pieces.empty():
            self._seen += self._pieces.get()
        return self._seen.decode()

    def _read(self) -> None:
        with self._stream:
            while piece := os.read(self._stream.fileno(), 65536):
                self._pieces.put(piece)
        self._pieces.put(b"")


class ServeCommand:
    """A server that answers."""

    def __init__(self, process: CommandProcess, clients: ExitStack) -> None:
        self.process = process
        self._clients = clients
        self.url = process.out.until(r"(http://[^ ]+) · .*\n")[1]

    def client(self, key: str) -> httpx2.Client:
        headers = {"Authorization": f"Bearer {key}"}
        client = httpx2.Client(base_url=self.url, headers=headers, timeout=BOUND)
        return self._clients.enter_context(client)

    def stop(self, number: int) -> tuple[int, str, str]:
        self.process.signal(number)
        return self.process.wait()
