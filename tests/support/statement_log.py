"""The statements that Postgres ran, by its own log.

The server logs them where `log_statement` is `all`, and whose they are by the prefix below.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

LOGGED: Final = {"log_line_prefix": "%d|%p|"}
"""Settings of a `Cluster` whose log can be read here."""
_STATEMENT: Final = re.compile(
    r"^(?P<database>\w*)\|(?P<process>\d+)\|LOG:  (?:statement|execute [^:]+): "
    r"(?P<text>.*(?:\n\t.*)*)",
    re.MULTILINE,
)
_CONTROL: Final = re.compile(r"(BEGIN|COMMIT|ROLLBACK|SET)\b")


@dataclass(frozen=True, slots=True)
class Ran:
    """One statement of one connection."""

    process: str
    text: str

    @property
    def control(self) -> str | None:
        """BEGIN, COMMIT, ROLLBACK or SET; None of a statement that reads or writes."""
        found = _CONTROL.match(self.text)
        return found and found[1]


def transactions(ran: list[Ran]) -> int:
    """How many transactions these were: a statement outside of one is one by itself."""
    open_, count = set[str](), 0
    for one in ran:
        if one.control == "BEGIN":
            open_.add(one.process)
            count += 1
        elif one.control in ("COMMIT", "ROLLBACK"):
            open_.discard(one.process)
        elif one.process not in open_:
            count += 1
    return count


class StatementLog:
    """Reads what one database has run since it was looked at last."""

    def __init__(self, log: Path, url: str) -> None:
        self._log = log
        self._database = url.rpartition("/")[2]
        self._read = log.stat().st_size

    def new(self) -> list[Ran]:
        """Return the statements in their order, each on one line."""
        with self._log.open("rb") as log:
            log.seek(self._read)
            text = log.read()
        self._read += len(text)
        return [
            Ran(found["process"], " ".join(found["text"].split()))
            for found in _STATEMENT.finditer(text.decode())
            if found["database"] == self._database
        ]
