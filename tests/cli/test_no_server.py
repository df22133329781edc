"""Commands that need a running server, without one."""

import asyncio
from collections.abc import Callable

import pytest

from outlast.model.clock import SystemClock
from outlast_client.asynchronous import client as client_module
from tests.support.databases import SQLITE

Outlast = Callable[..., tuple[int, str, str]]
_SHORT = 5.0
"""Seconds after which a person at a terminal takes a command for stuck."""


class _CountingClock(SystemClock):
    """Adds up what is slept, and sleeps no time."""

    slept = 0.0

    def monotonic(self) -> float:
        return _CountingClock.slept

    async def sleep(self, seconds: float) -> None:
        _CountingClock.slept += seconds
        await asyncio.sleep(0)


@pytest.mark.only(SQLITE)
@pytest.mark.parametrize(
    "command",
    [
        ("schedules", "create", "demo", "--at", "09:00"),
        ("schedules", "fire", "sch_01k00000000000000000000000"),
        ("schedules", "pause", "sch_01k00000000000000000000000"),
        ("executions", "cancel", "exec_01k00000000000000000000000"),
        ("budgets", "list"),
    ],
    ids=" ".join,
)
def test_a_command_without_a_server_soon_names_the_one_that_starts_it(
    command: tuple[str, ...], outlast: Outlast, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OUTLAST_API_KEY", "sk_of_nothing")
    monkeypatch.setattr(client_module, "SystemClock", _CountingClock)
    _CountingClock.slept = 0.0

    code, out, err = outlast(*command, "--url", "http://127.0.0.1:1")

    assert (code, out) == (1, "")
    assert err.startswith("outlast: http://127.0.0.1:1 does not answer")
    assert err.rstrip().endswith("Start a server: outlast serve")
    assert _CountingClock.slept < _SHORT
