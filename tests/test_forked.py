"""The tests' own processes: what fails or dies in one is reported, and the others go on."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[1]
CONFTEST: Final = """
import os
import pytest
from tests.support.forked import Forked

def pytest_configure(config):
    config.pluginmanager.register(Forked(2))

@pytest.fixture(scope="session")
def shared():
    yield os.getpid()
    open(f"ended{os.getpid()}", "x").close()
"""
ONE: Final = """
import os, signal
import pytest

def test_before(shared):
    pass

def test_dies():
    os.kill(os.getpid(), signal.SIGKILL)

@pytest.mark.parametrize("number", range(20))
def test_after(number, shared, tmp_path):
    print("printed by one")
    assert shared == os.getpid()
    assert number != 7
"""
OTHER: Final = """
import pytest

@pytest.fixture
def broken():
    yield
    raise RuntimeError("torn")

@pytest.mark.parametrize("number", range(20))
def test_other(number, shared):
    print("printed by other")

def test_torn(broken):
    pass

def test_skipped():
    pytest.skip("not here")
"""

END: Final = """
import pytest

@pytest.fixture(scope="session")
def held():
    yield
    raise RuntimeError("still held")

def test_held(held):
    pass
"""


def run(folder: Path, *options: str) -> tuple[int, str]:
    files = {"conftest.py": CONFTEST, "test_one.py": ONE, "test_other.py": OTHER}
    for name, text in files.items():
        (folder / name).write_text(text)
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-rA", *options]
    done = subprocess.run(
        command,
        check=False,
        capture_output=True,
        text=True,
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        timeout=300,
    )
    return done.returncode, done.stdout + done.stderr


def test_every_test_is_reported_once_and_a_dead_process_costs_one(tmp_path: Path) -> None:
    status, output = run(tmp_path)
    assert status == 1
    assert "2 failed, 41 passed, 1 skipped, 1 error" in output
    assert "Its process ended with -9." in output
    assert "FAILED test_one.py::test_after[7]" in output
    assert "ERROR test_other.py::test_torn - RuntimeError: torn" in output
    parts = output.split("_____ ")
    assert not any("printed by one" in part and "printed by other" in part for part in parts[:3])
    # The process that was killed could not end its fixture; its successor and the other one did.
    assert len(list(tmp_path.glob("ended*"))) == 2


def test_the_first_failure_ends_the_run(tmp_path: Path) -> None:
    status, output = run(tmp_path, "-x", "-k", "after")
    assert status == 1
    assert "stopping after 1 failures" in output
    assert "1 failed, 7 passed" in output


def test_errors_of_the_collection_run_nothing(tmp_path: Path) -> None:
    (tmp_path / "test_broken.py").write_text("import nothing_of_that_name\n")
    status, output = run(tmp_path)
    assert status == pytest.ExitCode.INTERRUPTED
    assert "errors during collection" in output


def test_an_error_at_the_end_of_a_process_fails_the_run(tmp_path: Path) -> None:
    (tmp_path / "test_end.py").write_text(END)
    status, output = run(tmp_path, "-k", "held")
    assert status == 1
    assert "1 failed, 1 passed" in output
    assert "Its process ended with 1." in output
    assert "RuntimeError: still held" in output
