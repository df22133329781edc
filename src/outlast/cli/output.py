"""Output of commands: lines, tables, JSON."""

from collections.abc import Iterable, Sequence
from typing import Any

from typer import echo


def write_json(value: Any) -> None:
    """Write a value as indented JSON to standard output."""
    import orjson

    echo(orjson.dumps(value, option=orjson.OPT_INDENT_2).decode())


def write_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a table; without a terminal, cells separated by tabs and no heading."""
    import sys

    if not sys.stdout.isatty():
        for row in rows:
            echo("\t".join(_cell(cell) for cell in row))
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in columns[:-1]:
        table.add_column(column, no_wrap=True, overflow="fold")  # copied ids stay whole
    table.add_column(columns[-1], no_wrap=True, overflow="ellipsis")
    for row in rows:
        table.add_row(*(Text(_cell(cell)) for cell in row))
    Console().print(table)


def note(text: str) -> None:
    """Write a note for the person at the terminal to standard error."""
    echo(text, err=True)


def shorten(value: object, length: int = 60) -> str:
    """Return one line of at most `length` characters."""
    line = " ".join(str(value or "").split())
    return line if len(line) <= length else line[: length - 1] + "…"


def _cell(cell: object) -> str:
    """Return the text on one line; what would steer a terminal, or forge a row, is escaped."""
    text = "" if cell is None else str(cell)
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else ascii(one)[1:-1] for one in text)
