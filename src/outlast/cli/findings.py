"""What `outlast doctor` finds: one value for each check."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Level(StrEnum):
    """How a check came out."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


OK: Final = Level.OK
WARN: Final = Level.WARN
FAIL: Final = Level.FAIL


@dataclass(frozen=True, slots=True)
class Finding:
    """One check's outcome."""

    check: str
    level: Level
    text: str
    mend: str | None = None
    """The command or the step that mends it."""
