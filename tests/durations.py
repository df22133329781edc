"""How long modules of tests take: a whole run begins with the slowest, a fast one skips them.

`--module-times` adds up, for each module, what its tests took, on however many processes. The
figures below are from such a run on two quiet cores, in seconds.
"""

from collections import Counter
from typing import Final

import pytest

SLOW: Final[dict[str, int]] = {}
"""Modules that take longer than four seconds, or start processes; such a new one belongs here."""


class ModuleTimes:
    """Adds up the time of each module, and writes it at the end."""

    def __init__(self) -> None:
        self._seconds: Counter[str] = Counter()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._seconds[report.nodeid.partition("::")[0]] += report.duration  # type: ignore[assignment]

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        terminalreporter.section("seconds of each module")
        for module, seconds in self._seconds.most_common():
            terminalreporter.write_line(f"{seconds:8.1f}  {module}")
        terminalreporter.write_line(f"{sum(self._seconds.values()):8.1f}  in all")


def module_of(item: pytest.Item) -> str:
    """Return the path of a test's module, as in SLOW."""
    return item.nodeid.partition("::")[0]


def slowest_first(items: list[pytest.Item]) -> None:
    """Sort tests by the time of their modules, so that processes that share them end together."""
    items.sort(key=lambda item: -SLOW.get(module_of(item), 0))
