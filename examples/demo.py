"""What `make demo` runs: a real agent on a local model, called over HTTP, killed in the middle.

Nothing leaves this machine but the fetch of the model. Exit code 0 only if both answers had the
true status of their order. All that it makes is under `.demo/`: the model, the database, the logs.
"""

import contextlib
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2

import shop

EXAMPLES = Path(__file__).resolve().parent
PLACE = EXAMPLES.parent / ".demo"
DATABASE = PLACE / "demo.db"
OUTLAST = Path(sys.executable).with_name("outlast")
FIRST = ("What is the status of order ORD-12345?", "ORD-12345")
SECOND = ("Hello, this is Anna. My order is ORD-20417. Any news?", "ORD-20417")
READY_SECONDS = 180
ANSWER_SECONDS = 180


class Failed(Exception):
    """The demo cannot go on."""


class Processes:
    """What the demo started, and ends."""

    def __init__(self) -> None:
        self.running: list[subprocess.Popen[bytes]] = []

    def start(self, log: Path, *command: str, **environment: str) -> subprocess.Popen[bytes]:
        with log.open("ab") as output:
            process = subprocess.Popen(
                command,
                env={**os.environ, **environment},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        self.running.append(process)
        return process

    def end(self) -> None:
        for process in self.running:
            process.terminate()
        for process in self.running:
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@dataclass(frozen=True)
class Frame:
    """One frame of a stream."""

    cursor: str
    """Sent back as Last-Event-ID, it says where to go on."""
    data: dict[str, Any]


class Server:
    """`outlast serve`, which can be killed and started again."""

    def __init__(self, processes: Processes, agents: Path) -> None:
        self.processes = processes
        self.agents = agents
        self.port = free_port(0)
        self.key = secrets.token_urlsafe(24)
        self.log = PLACE / "server.log"
        self.client = httpx2.Client(
            base_url=f"http://127.0.0.1:{self.port}",
            headers={"Authorization": f"Bearer {self.key}"},
            timeout=ANSWER_SECONDS,
        )
        self.process = self.start()

    def start(self) -> subprocess.Popen[bytes]:
        self.process = self.processes.start(
            self.log,
            *(str(OUTLAST), "serve", "--agents", str(self.agents)),
            OUTLAST_DATA_DIR=str(PLACE / "data"),
            OUTLAST_DATABASE_URL=f"sqlite:///{DATABASE}",
            OUTLAST_PORT=str(self.port),
            OUTLAST_API_KEY=self.key,
        )
        began = time.monotonic()
        await_url(self.process, f"http://127.0.0.1:{self.port}/readyz", self.log)
        tell(f"ready after {time.monotonic() - began:.1f} s")
        return self.process

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def get(self, path: str) -> Any:
        return checked(self.client.get(path))

    def frames(self, method: str, path: str, **request: Any) -> Iterator[Frame]:
        """The frames of a stream as they come."""
        with self.client.stream(method, path, **request) as response:
            if response.status_code != httpx2.codes.OK:
                response.read()
                checked(response)
            cursor = ""
            for line in response.iter_lines():
                if line.startswith("id:"):
                    cursor = line[3:].strip()
                elif line.startswith("data:"):
                    yield Frame(cursor, json.loads(line[5:]))


def main() -> int:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    processes = Processes()
    try:
        return run(processes)
    except (Failed, httpx2.HTTPError) as error:
        say(f"The demo failed: {error}")
        return 1
    except KeyboardInterrupt:
        return 130
    finally:
        processes.end()


def run(processes: Processes) -> int:
    prepare()
    agents = open_shop(processes)
    say(f"Starting the server: outlast serve --agents {near(agents)}")
    server = Server(processes, agents)
    for agent in server.get("/v1/agents")["data"]:
        tell(f"agent {agent['name']} on {agent.get('model', '?')}: {agent.get('description', '')}")
    first = ask_streaming(server, *FIRST)
    second = ask_and_kill(server, *SECOND)
    say("Both answers are true." if first and second else "An answer was not true.")
    show_console(server)
    return 0 if first and second else 1


def prepare() -> None:
    PLACE.mkdir(exist_ok=True)
    for old in [*PLACE.glob("demo.db*"), *PLACE.glob("*.log")]:
        old.unlink()
    say("The model: outlast models pull smollm2 (SmolLM2, 135 million parameters, on your CPU)")
    environment = {**os.environ, "OUTLAST_DATA_DIR": str(PLACE / "data")}
    pulled = subprocess.run([OUTLAST, "models", "pull", "smollm2"], env=environment, check=False)
    if pulled.returncode != 0:
        raise Failed("the model could not be fetched")


def open_shop(processes: Processes) -> Path:
    """Start the shop; the agents file that knows its port."""
    port = free_port(shop.PORT)
    say(f"Starting a small shop on port {port}: the tool lookup_order asks it")
    log = PLACE / "shop.log"
    process = processes.start(log, sys.executable, str(EXAMPLES / "shop.py"), str(port))
    await_url(process, f"http://127.0.0.1:{port}/", log)
    agents = EXAMPLES / "agents.yaml"
    if port == shop.PORT:
        return agents
    changed = PLACE / "agents.yaml"
    changed.write_text(agents.read_text().replace(f":{shop.PORT}/", f":{port}/"))
    return changed


def ask_streaming(server: Server, question: str, order: str) -> bool:
    say(f"Asking, with stream: true\n    you      {question}")
    body = {"input": question, "stream": True}
    text, last, began = "", Frame("", {}), time.monotonic()
    for frame in server.frames("POST", "/v1/agents/support/execute", json=body):
        text, last = show(frame.data, text), frame
    print(flush=True)
    if last.data.get("type") != "done":
        raise Failed(f"the stream ended with {last.data}")
    tell(f"{time.monotonic() - began:.1f} s in all")
    execution = server.get(f"/v1/executions/{last.data['execution']['id']}")
    describe(execution)
    return is_true(execution, text, order)


def ask_and_kill(server: Server, question: str, order: str) -> bool:
    say(f"Asking in the background, and killing the server in the middle\n    you      {question}")
    body = {"input": question, "background": True}
    execution_id = checked(server.client.post("/v1/agents/support/execute", json=body))["id"]
    path = f"/v1/executions/{execution_id}/stream"
    seen: list[Frame] = []
    for frame in server.frames("GET", path):
        seen.append(frame)
        show(frame.data, "")
        if frame.data["type"] == "tool_call_end":
            break
    server.kill()
    print("    ***      kill -9: the server is gone", flush=True)
    say("Starting it again")
    server.start()
    tell("the stream goes on where it was cut")
    text = ""
    for frame in server.frames("GET", path, headers={"Last-Event-ID": seen[-1].cursor}):
        text = show(frame.data, text)
        seen.append(frame)
    print(flush=True)
    execution = server.get(f"/v1/executions/{execution_id}")
    describe(execution)
    replayed = list(server.frames("GET", path))
    same = replayed == seen
    replay = "gives the same" if same else "gives OTHERS"
    tell(f"{len(seen)} frames were seen before and after; a replay from the start {replay}")
    lookups = (PLACE / "shop.log").read_text().count(f"looked up {order}")
    tell(f"the shop was called {lookups} time{'s' * (lookups != 1)} about {order}")
    return is_true(execution, text, order) and same


def show_console(server: Server) -> None:
    """Say where both runs can be seen; at a terminal, until Enter is pressed."""
    link = f"{server.client.base_url}{checked(server.client.post('/console/link'))['path']}"
    say(f"Both runs in the console, signed in by a link that works once:\n    {link}")
    if sys.stdin.isatty():
        with contextlib.suppress(EOFError):
            input("    Enter ends the server. ")
    else:
        tell("The server ends now; in a terminal, it waits for Enter.")


def show(frame: dict[str, Any], text: str) -> str:
    """Print what a frame says; the answer's text so far."""
    match frame["type"]:
        case "tool_call_start":
            print(f"    tool     {frame['name']} {json.dumps(frame['parameters'])}", flush=True)
        case "tool_call_end":
            print(f"    shop     {json.dumps(frame['result'])}", flush=True)
        case "text_delta":
            print(frame["text"] if text else f"    support  {frame['text']}", end="", flush=True)
            return f"{text}{frame['text']}"
        case "retry":
            print("\n    (that step is done again)", flush=True)
            return ""
        case "error":
            raise Failed(frame["message"])
        case _:
            pass
    return text


def describe(execution: dict[str, Any]) -> None:
    usage = json.dumps(execution["usage"])
    tell(f"GET /v1/executions/{execution['id']}: {execution['status']}, usage {usage}")


def is_true(execution: dict[str, Any], text: str, order: str) -> bool:
    """Whether the text names the order's status, and no other."""
    answer = text.lower()
    wrong = [status for status in shop.ORDERS.values() if status != shop.ORDERS[order]]
    is_named = shop.ORDERS[order] in answer and not any(status in answer for status in wrong)
    return execution["status"] == "completed" and execution["output"] == text and is_named


def await_url(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    """Wait until a server answers: 200, or for a shop without pages anything at all."""
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise Failed(f"the process ended; the end of {near(log)}:\n{log.read_text()[-2000:]}")
        with contextlib.suppress(httpx2.TransportError):
            if httpx2.get(url, timeout=5).status_code != httpx2.codes.SERVICE_UNAVAILABLE:
                return
        time.sleep(0.05)
    raise Failed(f"{url} did not answer within {READY_SECONDS} s; see {near(log)}")


def checked(response: httpx2.Response) -> Any:
    if response.is_error:
        raise Failed(f"{response.request.method} {response.url}: {response.text}")
    return response.json()


def free_port(wanted: int) -> int:
    """The wanted port where it is free, else any that is."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", wanted))
        except OSError:
            probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def near(path: Path) -> Path:
    return path.relative_to(EXAMPLES.parent)


def say(line: str) -> None:
    print(f"\n==> {line}", flush=True)


def tell(line: str) -> None:
    print(f"    {line}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
