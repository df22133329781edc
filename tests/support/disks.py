"""Files of tests in memory, where there is room; and small disks, for tests that fill them."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import pytest

ON_DISK: Final = Path(tempfile.gettempdir())
"""Where temporary files go by default: for what is to stay."""
_USUAL: Final = "/tmp"
_NAME: Final = "outlast-test-files-"
"""Before the number of the process whose files are in a folder in memory."""
_ROOM: Final = 1 << 30
"""Bytes that must be free in memory."""


def memory() -> Path | None:
    """Return a folder in memory where there is one with room, in which programs may be."""
    folder = Path("/dev/shm")
    with suppress(OSError):
        runs = not os.statvfs(folder).f_flag & os.ST_NOEXEC
        if runs and os.access(folder, os.W_OK) and shutil.disk_usage(folder).free > _ROOM:
            return folder
    return None


def files_in_memory() -> None:
    """Put temporary files in memory, unless TMPDIR names another folder than the usual one.

    Processes of tests put theirs there too. On a disk, a third of the processor time of a test of
    the SQLite store is the disk's.
    """
    usual = os.environ.get("TMPDIR", _USUAL) == _USUAL
    if usual and (parent := memory()) is not None:
        for left in parent.glob(f"{_NAME}*"):
            if not (Path("/proc") / left.name.removeprefix(_NAME)).exists():
                shutil.rmtree(left, ignore_errors=True)
        folder = parent / f"{_NAME}{os.getpid()}"
        folder.mkdir(mode=0o711)  # Postgres has an owner of its own
        os.environ["TMPDIR"] = tempfile.tempdir = str(folder)


def of_this_run() -> Path | None:
    """Return the folder in memory that all processes of this run share; None without one."""
    folder = Path(tempfile.gettempdir())
    return folder if folder.name.startswith(_NAME) else None


def remove_files() -> None:
    """Remove the files of this run from memory; those of a failed one stay until the next run."""
    folder = Path(tempfile.gettempdir())
    if folder.name == f"{_NAME}{os.getpid()}":
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def small_disk(folder: Path, megabytes: int) -> Iterator[Path]:
    """A disk in memory, mounted in the folder; skips where nothing can be mounted."""
    disk = folder / "disk"
    disk.mkdir()
    options = f"size={megabytes}m,mode=0700"
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(disk)]
    if (
        shutil.which("mount") is None
        or subprocess.run(command, capture_output=True, check=False).returncode
    ):
        pytest.skip("mounting a small disk takes root")
    try:
        yield disk
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)
