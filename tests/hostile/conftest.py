"""How long an attack lasts, and what it needs from the machine."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.support.disks import small_disk

EIO_SOURCE: Final = Path(__file__).parent / "eio.c"


@pytest.fixture(name="small_disk")
def _small_disk(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path, 24) as disk:
        yield disk


@pytest.fixture(scope="session")
def eio_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library that makes the database's file fail, while the file that EIO_WHILE names exists."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("there is no C compiler here")
    made = tmp_path_factory.mktemp("eio") / "eio.so"
    command = [compiler, "-shared", "-fPIC", "-O1", "-o", str(made), str(EIO_SOURCE), "-ldl"]
    subprocess.run(command, check=True, capture_output=True)
    return made
