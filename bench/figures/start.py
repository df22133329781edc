"""From the start to `/readyz`, the memory of an idle server, the size of a default installation."""

import asyncio
import shutil
import sys
from pathlib import Path

from bench.lab import Lab
from bench.process import ROOT, Child
from bench.state import LABELS, SQLITE
from bench.table import Row, median, unpromised

SECONDS, IDLE_MIB, INSTALL_MIB = 0.9, 85.0, 100.0
MIB = 1024 * 1024
BOUND = 300.0


async def measure(lab: Lab) -> list[Row]:
    """Start it several times on new state and on used state; install it once for each database."""
    bare = await _bare(lab)
    rows = []
    for kind in lab.kinds:
        new, used, memory = await _starts(lab, kind)
        found = [
            _start_row(kind, "on an empty database", new, bare[0]),
            _start_row(kind, "on a used one", used, bare[0]),
            Row(
                "memory, idle",
                f"{memory / MIB:.0f} MiB",
                f"bare {bare[1] / MIB:.0f} MiB",
                f"{memory / bare[1]:.2f}×",
                f"≤ {IDLE_MIB:.0f} MiB",
                memory <= IDLE_MIB * MIB,
                LABELS[kind],
            ),
        ]
        if lab.scale.install:
            found.append(await _install(lab, kind))
        rows += found if kind == SQLITE else [unpromised(row) for row in found]
    return rows


def _start_row(kind: str, where: str, seconds: float, bare: float) -> Row:
    return Row(
        f"start to ready, {where}",
        f"{seconds:.2f} s",
        f"bare {bare:.2f} s",
        f"{seconds / bare:.2f}×",
        f"≤ {SECONDS} s",
        seconds <= SECONDS,
        LABELS[kind],
    )


async def _starts(lab: Lab, kind: str) -> tuple[float, float, float]:
    """Median seconds on an empty database and on a used one, and idle bytes."""
    new: list[float] = []
    used: list[float] = []
    memory: list[float] = []
    for _ in range(lab.scale.starts):
        state = lab.states.empty(kind, "start")
        for times in (new, used):
            child = lab.start(state)
            try:
                times.append(await child.ready("/readyz"))
                if times is used:
                    await asyncio.sleep(lab.scale.settle)
                    memory.append(child.memory())
            finally:
                await child.stop()
        lab.states.drop(state)
    return median(new), median(used), median(memory)


async def _bare(lab: Lab) -> tuple[float, float]:
    child = lab.start_bare()
    try:
        await child.listening()
        seconds = await child.ready("/readyz")
        await asyncio.sleep(lab.scale.settle)
        return seconds, child.memory()
    finally:
        await child.stop()


async def _install(lab: Lab, kind: str) -> Row:
    """What `pip install outlast` puts on a disk, on Postgres with its extra: all it depends on."""
    folder = lab.states.folder("install")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    await _run(build, lab.log("install"))
    wheel = str(next(folder.glob("*.whl"))) + ("" if kind == SQLITE else "[postgres]")
    target = folder / "site-packages"
    await _run([*_installer(folder), "--target", str(target), wheel], lab.log("install"))
    size = sum(path.stat().st_size for path in target.rglob("*") if path.is_file())
    shutil.rmtree(folder)
    return Row(
        "installation, all packages",
        f"{size / MIB:.0f} MiB",
        target=f"≤ {INSTALL_MIB:.0f} MiB",
        met=size <= INSTALL_MIB * MIB,
        database=LABELS[kind],
    )


def _installer(folder: Path) -> list[str]:
    """uv where the machine or the Makefile has it, else pip."""
    uv = shutil.which("uv", path=f"{ROOT / '.tools' / 'bin'}:{Path(sys.executable).parent}")
    uv = uv or shutil.which("uv")
    if uv:
        return [uv, "pip", "install", "--quiet", "--python", sys.executable]
    pip = shutil.which("pip3") or str(folder / "pip")
    return [pip, "install", "--quiet", "--no-compile"]


async def _run(arguments: list[str], log: Path) -> None:
    await Child(arguments, log, reads_port=False).finished(BOUND)
