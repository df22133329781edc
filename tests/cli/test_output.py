"""Tables of commands at a terminal: what they name can be copied, however narrow it is."""

import os
import pty
import re
from contextlib import redirect_stdout

import pytest

from outlast.cli.output import write_table

COLUMNS = ["execution", "tool call", "tool", "why", "arguments"]
ROW = ["exec_01m8nz2094e00tz9bhc7qsmtbp", "tc_01m8nz20kxe00sw3rwa3fqfacs", "注文", "approval"]
ARGUMENTS = '{"orderId":"ORD-12345","amount":3,"reason":"It arrived broken"}'


@pytest.mark.parametrize("term", ["xterm", "dumb"])
@pytest.mark.parametrize("width", [20, 80, 300])
def test_ids_are_whole_and_only_the_last_column_is_shortened(
    width: int, term: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", term)
    lines = at_a_terminal(width, [[*ROW, ARGUMENTS]], monkeypatch)
    assert [line.split()[:4] for line in lines] == [["execution", "tool", "call", "tool"], ROW]
    arguments = lines[1].partition("approval")[2].strip()
    if width == 300 and term == "xterm":
        assert arguments == ARGUMENTS
    else:
        assert arguments == ARGUMENTS[:31] + "…"


def test_a_time_in_the_last_column_is_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    time = "2026-12-01T00:00:00.000Z"
    assert at_a_terminal(40, [[*ROW, time]], monkeypatch)[1].endswith(f"approval  {time}")


def test_without_rows_the_heading_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    assert [one.split() for one in at_a_terminal(80, [], monkeypatch)] == [
        ["execution", "tool", "call", "tool", "why", "arguments"]
    ]


def at_a_terminal(width: int, rows: list[list[str]], monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the lines that a terminal of this width gets, without colours."""
    monkeypatch.setenv("COLUMNS", str(width))
    ours, theirs = pty.openpty()
    with os.fdopen(ours, "rb", buffering=0) as terminal, os.fdopen(theirs, "w") as out:
        with redirect_stdout(out):
            write_table(COLUMNS, rows)
            print("end", flush=True)
        seen = b""
        while not seen.endswith(b"end\r\n"):
            seen += terminal.read(65536)
    text = re.sub(r"\x1b\[[0-9;]*m", "", seen.decode())
    return [line.rstrip() for line in text.split("\r\n")[:-2]]
