"""The whole bench, at a scale that only shows that every figure can be taken."""

import asyncio
import sys

import pytest
from bench.__main__ import FIGURES
from bench.process import ROOT

pytestmark = pytest.mark.anyio

BOUND = 240.0


async def test_every_figure_can_be_taken() -> None:
    status, table = await _bench("--quick")
    assert status == 0, table
    assert "failed:" not in table
    for words in ("first token", "runs/s", "streams", "killed", "list", "start", "suspended"):
        assert words in table
    assert "stored per run" in table


async def test_a_figure_that_cannot_be_taken_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OUTLAST_LOG_LEVEL", "nonsense")
    status, table = await _bench("--quick", "stored")
    assert status == 1
    assert "failed: DidNotStart" in table


async def test_an_unknown_figure_is_named_with_those_there_are() -> None:
    status, text = await _bench("nonsense")
    assert status == 2
    assert all(name in text for name in FIGURES)


async def _bench(*arguments: str) -> tuple[int | None, str]:
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "bench",
        *arguments,
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(BOUND):
            output, _ = await child.communicate()
    except TimeoutError:
        child.terminate()
        await child.wait()
        raise
    return child.returncode, output.decode()
