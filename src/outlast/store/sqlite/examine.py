"""Integrity check of a database file."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Final

_LONGEST: Final = 300


def damage(path: Path) -> str | None:
    """Return what is damaged in the file, in one line; None if intact. Reads the whole file.

    It may be the file of a running server. https://sqlite.org/pragma.html#pragma_quick_check
    """
    try:
        with closing(sqlite3.connect(path)) as connection:
            rows = connection.execute("PRAGMA quick_check(3)").fetchall()
    except sqlite3.Error as error:
        return str(error)
    found = " ".join(" ".join(str(text).split()) for (text,) in rows)
    return None if found == "ok" else found[:_LONGEST]
