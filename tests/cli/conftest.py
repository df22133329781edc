"""A folder with agents, and the command line in it."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.command_line import CommandLine
from tests.support.databases import POSTGRESQL, Database


@pytest.fixture
def command_line(tmp_path: Path, database: Database) -> Iterator[CommandLine]:
    made = CommandLine(tmp_path, database)
    yield made
    made.end()


@pytest.fixture
def with_worker(command_line: CommandLine, database: Database) -> CommandLine:
    """Where executions run without a server: on Postgres, a worker runs them."""
    if database.kind == POSTGRESQL:
        command_line.work()
    return command_line


@pytest.fixture
def outlast(
    command_line: CommandLine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """Run a command in this process: exit code, standard output, standard error."""

    def run(*arguments: str) -> tuple[int, str, str]:
        from outlast.cli import main

        monkeypatch.chdir(command_line.folder)
        for name, value in command_line.environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(sys, "argv", ["outlast", *arguments])
        capsys.readouterr()
        try:
            main()
        except SystemExit as end:
            code = end.code
        else:
            code = 0
        written = capsys.readouterr()
        return int(code or 0), written.out, written.err

    return run
