"""The bench in this process, with servers that are forks: most of a run was their imports."""

import resource
import signal
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from bench.__main__ import main
from bench.lab import OUTLAST

from tests.support.python_process import PythonProcess

Bench = Callable[..., tuple[int, str]]
"""bench("--quick", NAME…) is the exit status, and the table."""


class _Fork(PythonProcess):
    """What a bench starts; the command `outlast` of this checkout as a module."""

    def __init__(self, arguments: list[str], **more: Any) -> None:
        program, *others = arguments
        command = [sys.executable, "-m", "outlast"] if program == str(OUTLAST) else [program]
        super().__init__([*command, *others], **more)


@pytest.fixture
def forks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let each process that a bench starts be a fork."""
    monkeypatch.setattr("bench.process.Popen", _Fork)


@pytest.fixture
def bench(
    forks: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Bench]:
    """Run the bench as `python -m bench` does, in this process."""
    del forks
    on_term, files = signal.getsignal(signal.SIGTERM), resource.getrlimit(resource.RLIMIT_NOFILE)

    def run(*arguments: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["bench", *arguments])
        return main(), capsys.readouterr().out

    yield run
    signal.signal(signal.SIGTERM, on_term)
    resource.setrlimit(resource.RLIMIT_NOFILE, files)
