"""A problem of an agent at the path of its key, and the notation of such paths.

The reader of a file adds file, line and the file's spelling of the keys.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import isfinite
from typing import Any, Final, TypeAlias

import orjson

Path: TypeAlias = tuple[str | int, ...]

HALF_A_PAIR: Final = "half of a surrogate pair is no character; write the character itself"


@dataclass(frozen=True, slots=True)
class Problem:
    """A problem, at the path of its key."""

    path: Path
    text: str

    def below(self, *path: str | int) -> "Problem":
        """Return the problem of a part at this path of the whole."""
        return Problem((*path, *self.path), self.text)


def place(names: list[str], path: Path) -> str:
    """Return `agent "support", tool "refund", http.url` for a path in the spec of that agent.

    `names` are the names of the agent's tools in their order, as far as they are known.
    """
    if path[:1] == ("tools",) and len(path) > 1 and isinstance(path[1], int):
        index = path[1]
        name = names[index] if index < len(names) else ""
        tool = f'tool "{name}"' if name else f"tools[{index}]"
        return ", ".join(part for part in (tool, keys(path[2:])) if part)
    return keys(path)


def keys(path: Path) -> str:
    """Return `http.headers.X-Shop` for a path; indexes of lists in brackets."""
    return "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in path).lstrip(".")


def text_problems(path: Path, text: str) -> Iterator[Problem]:
    """Yield why a text cannot be stored."""
    try:
        text.encode()
    except UnicodeEncodeError:
        yield Problem(path, HALF_A_PAIR)


def json_problems(path: Path, value: Any) -> Iterator[Problem]:
    """Yield why a value is not JSON.

    Also values that orjson writes but that are read back as others.
    """
    try:
        orjson.dumps(
            value, option=orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_PASSTHROUGH_DATACLASS
        )
    except (orjson.JSONEncodeError, RecursionError) as error:
        yield Problem(path, f"this cannot be written as JSON: {error}")
        return
    for below, number in _infinite(value, path):
        yield Problem(below, f"{number} is no number of JSON")


def _infinite(value: Any, path: Path) -> Iterator[tuple[Path, float]]:
    """Yield NaN and infinite numbers, which would be written as null."""
    match value:
        case float() if not isfinite(value):
            yield path, value
        case dict():
            for key, item in value.items():
                yield from _infinite(item, (*path, key))
        case list() | tuple():
            for index, item in enumerate(value):
                yield from _infinite(item, (*path, index))
        case _:
            pass
