"""As the first process of a container, whose signals Linux drops where there is no handler."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from tests.support.waiting import BOUND

UNSHARE: Final = ("unshare", "--pid", "--fork")


def test_sigterm_ends_it_before_it_serves_too(tmp_path: Path) -> None:
    if not _may_unshare():
        pytest.skip("no unshare, or not allowed to make a namespace of processes")
    agents = tmp_path / "agents.yaml"
    os.mkfifo(agents)
    command = [sys.executable, "-m", "outlast", "serve", "--agents", str(agents), "--port", "0"]
    environment = {**os.environ, "OUTLAST_DATA_DIR": str(tmp_path / "data")}
    with subprocess.Popen([*UNSHARE, *command], env=environment) as process:
        try:
            writer = os.open(agents, os.O_WRONLY)  # returns once the server reads its agents
            children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
            os.kill(int(children), signal.SIGTERM)
            assert process.wait(BOUND) == 128 + signal.SIGTERM
            os.close(writer)
        finally:
            process.kill()


def _may_unshare() -> bool:
    try:
        return subprocess.run([*UNSHARE, "true"], capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False
