"""The npm clients: installed once per lock file, and run as node scripts."""

import asyncio
import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.support.disks import ON_DISK
from tests.support.waiting import BOUND

HERE = Path(__file__).parents[1] / "clients"
_FILES = ("package.json", "package-lock.json", ".npmrc")
_UNREACHABLE = ("ENOTFOUND", "EAI_AGAIN", "ECONNREFUSED", "ECONNRESET", "ETIMEDOUT", "ENETUNREACH")


def installed() -> Path:
    """The folder with the packages and our scripts; skips where npm cannot be reached."""
    if shutil.which("npm") is None or shutil.which("node") is None:
        pytest.skip("node and npm are not installed")
    digest = hashlib.sha256(b"".join((HERE / name).read_bytes() for name in _FILES))
    folder = ON_DISK / f"outlast-clients-{os.getuid()}-{digest.hexdigest()[:16]}"
    if not folder.exists():
        _install(folder)
    for script in HERE.glob("*.mjs"):
        _put(script, folder / script.name)
    return folder


def _install(folder: Path) -> None:
    """Install beside the folder and move it there whole: another run may do the same."""
    fresh = Path(tempfile.mkdtemp(prefix=folder.name + ".", dir=folder.parent))
    for name in _FILES:
        shutil.copy(HERE / name, fresh / name)
    done = subprocess.run(
        ["npm", "ci", "--loglevel=error"],
        cwd=fresh,
        capture_output=True,
        text=True,
        timeout=BOUND,
        check=False,
    )
    if done.returncode and any(code in done.stderr for code in _UNREACHABLE):
        pytest.skip("npm cannot reach its registry")
    assert done.returncode == 0, done.stderr
    try:
        fresh.rename(folder)
    except OSError:
        shutil.rmtree(fresh)
    assert folder.exists()


def _put(script: Path, place: Path) -> None:
    if not place.exists() or place.read_bytes() != script.read_bytes():
        fresh = place.with_suffix(f".{os.getpid()}")
        shutil.copy(script, fresh)
        fresh.replace(place)


async def run(folder: Path, script: str, said: Any, *, seconds: float = BOUND) -> Any:
    """Run a script with JSON on stdin; what it prints as JSON."""
    process = await asyncio.create_subprocess_exec(
        "node",
        str(folder / script),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(seconds):
            out, complaints = await process.communicate(orjson.dumps(said))
    except BaseException:
        process.kill()
        await process.wait()
        raise
    assert process.returncode == 0, complaints.decode()
    return orjson.loads(out)
