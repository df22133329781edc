"""Findings of `outlast doctor`: one value per check."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Level(StrEnum):
    """Result of a check."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


OK: Final = Level.OK
WARN: Final = Level.WARN
FAIL: Final = Level.FAIL


def executions(count: int, one: str, several: str) -> str:
    """Return `1 execution` or `N executions` with the verb that fits."""
    return f"1 execution {one}" if count == 1 else f"{count:,} executions {several}"


@dataclass(frozen=True, slots=True)
class Finding:
    """The finding of one check."""

    check: str
    level: Level
    text: str
    remedy: str | None = None
    """The command or step that fixes it."""
