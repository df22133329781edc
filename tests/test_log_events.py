"""docs/operations.md lists every event of the log with its levels, and no other."""

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from typing import Final

import pytest

from tests.test_docs import ROOT, section

OPERATIONS: Final = ROOT / "docs" / "operations.md"
LEVELS: Final = {"debug", "info", "warning", "error"}
BY_STATUS: Final = ("request.answered", {"debug", "info", "warning"})
"""Its level is a function of the answer."""


def events_of(source: str) -> Iterator[tuple[str, str]]:
    """(event, level) of every `logger.level("event")` and `line("level", "event")`."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Call(
                func=ast.Attribute(ast.Name("logger"), method), args=[ast.Constant(str(event)), *_]
            ):
                yield event, {"exception": "error"}.get(method, method)
            case ast.Call(
                func=ast.Name("line"), args=[ast.Constant(str(level)), ast.Constant(event), *_]
            ):
                yield str(event), level
            case _:
                pass


def logged() -> dict[str, set[str]]:
    found: dict[str, set[str]] = defaultdict(set)
    for file in sorted((ROOT / "src").rglob("*.py")):
        for event, level in events_of(file.read_text()):
            found[event].add(level)
    name, levels = BY_STATUS
    found[name] = levels
    return found


def documented() -> dict[str, set[str]]:
    rows = re.findall(r"^\| (`[^|]+) \| ([^|]+) \|", section(OPERATIONS, "Logs"), re.MULTILINE)
    return {
        event: {level for level in LEVELS if re.search(rf"\b{level}\b", levels)}
        for events, levels in rows
        for event in re.findall(r"`([\w.]+)`", events)
    }


def test_every_event_is_documented_with_its_levels_and_no_other_is() -> None:
    assert documented() == logged()


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ('logger.info("a.b", c=1)', [("a.b", "info")]),
        ('logger.exception("a.b")', [("a.b", "error")]),
        ('line("debug", "a.b", f, x)', [("a.b", "debug")]),
        ('other.info("a.b")', []),
    ],
)
def test_the_reader_finds_what_logs(source: str, found: list[tuple[str, str]]) -> None:
    assert list(events_of(source)) == found


def test_nothing_logs_by_another_way() -> None:
    """A logger of another name, or an event that is no literal, would not be found above."""
    for file in sorted((ROOT / "src").rglob("*.py")):
        text = file.read_text()
        if file.name == "logs.py":
            continue
        loggers = re.findall(r"(\w+) = structlog\.get_logger", text)
        assert set(loggers) <= {"logger"}, file
        calls = re.findall(r"^ *logger\.\w+\(\s*(.)", text, re.MULTILINE)
        assert set(calls) <= {'"'}, file
