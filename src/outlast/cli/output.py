"""Output of commands: lines, tables, JSON."""

from collections.abc import Iterable, Sequence
from typing import Any, Final

from typer import echo

_LAST_COLUMN: Final = 32
"""At least so much of a table's last column is shown: an id or a time."""


def write_json(value: Any) -> None:
    """Write a value as indented JSON to standard output."""
    import orjson

    echo(orjson.dumps(value, option=orjson.OPT_INDENT_2).decode())


def write_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a table; without a terminal, cells separated by tabs and no heading.

    Only the last column is shortened to what the terminal has left: ids in the others are to be
    copied, so that a narrow terminal folds the lines.
    """
    import sys

    shown = [[_cell(cell) for cell in row] for row in rows]
    if not sys.stdout.isatty():
        for row in shown:
            echo("\t".join(row))
        return
    from rich.cells import cell_len
    from rich.console import Console, ConsoleDimensions
    from rich.table import Table
    from rich.text import Text

    *widths, last = (max(map(cell_len, cells)) for cells in zip(columns, *shown, strict=True))
    before = sum(width + 2 for width in widths)
    console = Console()
    room = max(console.width - before, min(last, _LAST_COLUMN))
    console.size = ConsoleDimensions(before + room, console.height)
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in columns[:-1]:
        table.add_column(column, no_wrap=True)
    table.add_column(columns[-1], no_wrap=True, overflow="ellipsis", max_width=room)
    for row in shown:
        table.add_row(*map(Text, row))
    console.print(table)


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
