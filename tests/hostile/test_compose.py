"""The compose file of examples/deploy, run as a whole: a proxy, two API processes, three workers.

Postgres and Caddy are stand-ins of Debian's packages under the names that the file has.
"""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from outlast.client import SyncClient
from tests.support.containers import (
    AGENTS,
    BASE,
    IMAGE,
    MISSING,
    ROOT,
    SCRIPT,
    WORDS,
    build,
    build_outlast,
    run,
)
from tests.support.long_cases import WHOLE
from tests.support.mcp_servers import free_port
from tests.support.waiting import BOUND

COMPOSE: Final = "podman-compose==1.6.0"
STAND_INS: Final = {"postgres": "localhost/postgres:18", "caddy": "localhost/caddy:2"}
KEY: Final = "sk_compose_000000000000"
SECRETS: Final = f"""
POSTGRES_PASSWORD=of-postgres-in-this-test
OUTLAST_API_KEY={KEY}
OUTLAST_SECRET_KEY=secret-of-the-servers-of-this-test
OPENAI_API_KEY=unused
SITE=http://localhost
"""
LIMITS: Final = """
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
[engine]
runtime = "runc"
"""
"""Of a host of tests, which may not be allowed more than its own."""

pytestmark = [
    pytest.mark.skipif(not WHOLE, reason="it takes minutes: make hostile"),
    pytest.mark.skipif(bool(MISSING), reason=f"not on this machine: {', '.join(MISSING)}"),
]


class Stack:
    """The services of the file, in a folder of their own."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.folder = folder / "deploy"
        shutil.copytree(ROOT / "examples" / "deploy", self.folder)
        self._env = {"CONTAINERS_CONF": str(folder / "containers.conf")}
        (folder / "containers.conf").write_text(LIMITS)
        for name, text in (("agents.yaml", AGENTS), ("script.yaml", SCRIPT), (".env", SECRETS)):
            (self.folder / name).write_text(text)
        file = self.folder / "compose.yaml"
        agents = "- ./agents.yaml:/etc/outlast/agents.yaml:ro"
        changes = {
            agents: f"{agents}\n    - ./script.yaml:/etc/outlast/script.yaml:ro",
            "- 80:80": f"- 127.0.0.1:{self.port}:80",
            "      - 443:443\n": "",
        }
        composed = file.read_text()
        for old, new in changes.items():
            assert old in composed
            composed = composed.replace(old, new)
        file.write_text(composed)
        run(sys.executable, "-m", "venv", str(folder / "venv"))
        run(str(folder / "venv" / "bin" / "pip"), "install", "--quiet", COMPOSE)
        self._compose = [str(folder / "venv" / "bin" / "podman-compose"), "-p", "outlast-test"]

    def compose(self, *command: str) -> None:
        run(*self._compose, "-f", str(self.folder / "compose.yaml"), *command, env=self._env)

    def podman(self, *command: str) -> str:
        return run("podman", *command, env=self._env)

    def remove(self) -> None:
        """Delete all that it has made; `down` leaves workers beyond the first, and what they use.

        Without systemd podman reports a failure, but removes containers that no other needs.
        """
        label = "label=io.podman.compose.project=outlast-test"
        while found := self.podman("ps", "--all", "--quiet", "--filter", label).split():
            before = len(found)
            command = ["podman", "rm", "--force", "--time", "0", *found]
            subprocess.run(command, capture_output=True, check=False)
            left = self.podman("ps", "--all", "--quiet", "--filter", label).split()
            assert len(left) < before
        self.compose("down", "--volumes", "--timeout", "0")

    def works_on(self, execution_id: str) -> str:
        """The worker that runs an execution, by its log; empty if none does."""
        found = ""
        for number in (1, 2, 3):
            name = f"outlast-test_worker_{number}"
            said = subprocess.run(["podman", "logs", name], capture_output=True, check=True)
            if execution_id.encode() in said.stdout + said.stderr:
                found = name
        return found


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    folder = tmp_path_factory.mktemp("compose")
    build_outlast(folder)
    run("podman", "tag", IMAGE, "localhost/outlast")
    here = Path(__file__).parent / "stand_ins"
    for target, image in STAND_INS.items():
        build(image, here / "Dockerfile", here, f"--build-arg=BASE={BASE}", f"--target={target}")
    made = Stack(folder)
    try:
        made.compose("up", "--detach", "--no-build", "--scale", "worker=3")
        yield made
    finally:
        made.remove()


def test_a_run_survives_its_worker_and_the_api_process_that_streams_it(stack: Stack) -> None:
    with SyncClient(f"http://localhost:{stack.port}", KEY, patience=BOUND) as client:
        frames = client.stream("writer", "write")
        seen = [next(frames) for _ in range(8)]
        run_id = str(client.list(limit=1)["data"][0]["id"])
        worker = stack.works_on(run_id)
        assert worker
        stack.podman("kill", "--signal=KILL", worker)
        stack.podman("kill", "--signal=KILL", "outlast-test_api1_1")
        seen += frames
        assert seen[-1].type == "done"
        assert seen[-1].data["execution"]["output"] == WORDS
        assert any(frame.type == "retry" for frame in seen)
        stack.podman("kill", "--signal=KILL", "outlast-test_postgres_1")
        stack.podman("start", "outlast-test_postgres_1")
        assert client.get(run_id)["output"] == WORDS
