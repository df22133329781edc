"""A folder with agents, and the command line in it."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cli.world import Place
from tests.database import POSTGRESQL, Database


@pytest.fixture
def place(tmp_path: Path, database: Database) -> Iterator[Place]:
    made = Place(tmp_path, database)
    yield made
    made.end()


@pytest.fixture
def manned(place: Place, database: Database) -> Place:
    """A place where executions run without a server: on Postgres, a worker runs them."""
    if database.kind == POSTGRESQL:
        place.work()
    return place


@pytest.fixture
def outlast(
    place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """Run a command in this process: exit code, standard output, standard error."""

    def run(*arguments: str) -> tuple[int, str, str]:
        from outlast.cli import main

        monkeypatch.chdir(place.folder)
        for name, value in place.environment.items():
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
