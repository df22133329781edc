"""The image of examples/deploy, really built and run: killed, started again, stopped.

The base is Debian's, made by mmdebstrap, where a registry may be out of reach.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import orjson
import pytest

from outlast.client import SyncClient
from tests.support.containers import (
    AGENTS,
    BASE,
    IMAGE,
    MISSING,
    PODMAN,
    SCRIPT,
    WORDS,
    build_outlast,
    run,
)
from tests.support.long_cases import WHOLE
from tests.support.mcp_servers import free_port
from tests.support.waiting import BOUND

KEY: Final = "sk_container_00000000000"
LIMITS: Final = ("--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024")
"""That a host of tests may set, which may not be allowed more than its own."""
MOST_BYTES: Final = 180_000_000
"""What the image may add to its base."""

pytestmark = [
    pytest.mark.skipif(not WHOLE, reason="it takes minutes: make hostile"),
    pytest.mark.skipif(bool(MISSING), reason=f"not on this machine: {', '.join(MISSING)}"),
]


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Build the image; return what podman says of it."""
    build_outlast(tmp_path_factory.mktemp("base"))
    described: dict[str, Any] = orjson.loads(run("podman", "image", "inspect", IMAGE))[0]
    return described


@pytest.fixture
def container(image: dict[str, Any], tmp_path: Path) -> Iterator[int]:
    """A container as the documents run it; its port. Its root is read-only."""
    (tmp_path / "agents.yaml").write_text(AGENTS)
    (tmp_path / "script.yaml").write_text(SCRIPT)
    tmp_path.chmod(0o755)
    port = free_port()
    settings = {"OUTLAST_HOST": "127.0.0.1", "OUTLAST_PORT": str(port), "OUTLAST_API_KEY": KEY}
    given = [f"--env={name}={value}" for name, value in settings.items()]
    kept = [f"--volume={tmp_path}:/etc/outlast:ro", "--volume=outlast-test:/data"]
    bounds = ["--network=host", "--read-only", "--tmpfs=/tmp", *LIMITS]
    command = ["serve", "--agents", "/etc/outlast/agents.yaml"]
    run(*PODMAN, "run", "--detach", "--name=outlast-test", *bounds, *kept, *given, IMAGE, *command)
    yield port
    run(*PODMAN, "rm", "--force", "--time=0", "outlast-test")
    run(*PODMAN, "volume", "rm", "outlast-test")


def test_the_image_is_what_the_file_says(image: dict[str, Any]) -> None:
    config = image["Config"]
    assert (config["User"], config["StopSignal"]) == ("outlast", "SIGTERM")
    assert set(config["Volumes"]) == {"/data"}
    assert "/readyz" in image["Healthcheck"]["Test"][-1]
    (base,) = orjson.loads(run("podman", "image", "inspect", BASE))
    assert image["Size"] - base["Size"] < MOST_BYTES


def test_a_killed_container_goes_on_and_a_stopped_one_leaves_in_order(container: int) -> None:
    with SyncClient(f"http://127.0.0.1:{container}", KEY, patience=BOUND) as client:
        frames = client.stream("writer", "write")
        seen = [next(frames) for _ in range(5)]
        run(*PODMAN, "kill", "--signal=KILL", "outlast-test")
        run(*PODMAN, "start", "outlast-test")
        seen += frames
    end = seen[-1]
    assert end.type == "done"
    assert end.data["execution"]["output"] == WORDS
    assert any(frame.type == "retry" for frame in seen)
    run(*PODMAN, "healthcheck", "run", "outlast-test")
    assert run(*PODMAN, "exec", "outlast-test", "id", "-u") == "10001"
    with pytest.raises(AssertionError, match="Read-only"):
        run(*PODMAN, "exec", "outlast-test", "touch", "/opt/outlast/x")
    run(*PODMAN, "stop", "--time=40", "outlast-test")
    state = orjson.loads(run(*PODMAN, "inspect", "outlast-test"))[0]["State"]
    assert (state["Status"], state["ExitCode"]) == ("exited", 0)
