"""Values as people read them: times, durations, amounts, ids, JSON. Filters of the templates."""

from collections.abc import Callable, Mapping
from typing import Any, Final

import orjson

from outlast.model.agent import shown_model
from outlast.model.clock import iso
from outlast.model.execution import Status
from outlast.model.price import credits_of
from outlast.services.lists import MOST_COUNTED

_SECOND: Final = 1000
_MINUTE: Final = 60 * _SECOND
_HOUR: Final = 60 * _MINUTE
_DAY: Final = 24 * _HOUR
_HUNDRED: Final = 100
_TEN: Final = 10
_ID_TAIL: Final = 6
_INDENT: Final = orjson.OPT_INDENT_2

STATUS_ICONS: Final[dict[Status, str]] = {
    Status.QUEUED: "clock",
    Status.RUNNING: "circle-play",
    Status.SUSPENDED: "hand",
    Status.PAUSED: "circle-pause",
    Status.COMPLETED: "circle-check",
    Status.FAILED: "circle-x",
    Status.CANCELLED: "ban",
}


def duration(millis: int | None) -> str:
    """Write a duration with three figures: 812 ms, 4.31 s, 12 min 4 s, 3 h 20 min, 2 d 4 h."""
    if millis is None:
        return ""
    if millis < _SECOND:
        return f"{millis} ms"
    if millis < _MINUTE:
        seconds = millis / _SECOND
        return f"{seconds:.2f} s" if seconds < _TEN else f"{seconds:.1f} s"
    for unit, name, part, part_name in (
        (_HOUR, "min", _MINUTE, "s"),
        (_DAY, "h", _HOUR, "min"),
    ):
        if millis < unit:
            whole, rest = divmod(millis, part)
            small = rest // (_SECOND if part == _MINUTE else _MINUTE)
            return f"{whole} {name} {small} {part_name}" if small else f"{whole} {name}"
    days, rest = divmod(millis, _DAY)
    return f"{days} d {rest // _HOUR} h" if rest >= _HOUR else f"{days} d"


def ago(at: int, now: int) -> str:
    """Write how long ago a time was, or in how long it will be."""
    between = abs(now - at)
    for unit, name in ((_DAY, "d"), (_HOUR, "h"), (_MINUTE, "min")):
        if between >= unit:
            said = f"{between // unit} {name}"
            return f"in {said}" if at > now else f"{said} ago"
    return "soon" if at > now else "just now"


def credits(nano: int) -> str:  # noqa: A001 - the product's word
    """Write billionths of a credit as credits, with at most three figures behind the point."""
    found = credits_of(nano)
    if found and abs(found) < 1 / _SECOND:
        return f"{found:.2g}"
    return f"{found:,.3f}".rstrip("0").rstrip(".")


def short_id(text: str) -> str:
    """Shorten an id in its middle: `exec_…x2k9f3`."""
    prefix, _, rest = text.partition("_")
    return text if len(rest) <= _ID_TAIL + 2 else f"{prefix}_…{rest[-_ID_TAIL:]}"


def first_line(text: str, most: int = 120) -> str:
    """Return the first line that is not blank, cut."""
    line = next((line.strip() for line in text.splitlines() if line.strip()), "")
    return line if len(line) <= most else line[: most - 1] + "…"


def pretty(value: Any) -> str:
    """Write JSON over several lines; a text alone stays as it is."""
    return value if isinstance(value, str) else orjson.dumps(value, option=_INDENT).decode()


def compact(value: Any, most: int = 100) -> str:
    """Write JSON on one line, cut."""
    text = value if isinstance(value, str) else orjson.dumps(value).decode()
    return text if len(text) <= most else text[: most - 1] + "…"


def size(count: int) -> str:
    """Write a number of bytes: 812 B, 12 KB, 3.4 MB."""
    if count < _SECOND:
        return f"{count} B"
    names = iter(("KB", "MB", "GB"))
    found, name = count / _SECOND, next(names)
    while found >= _SECOND and (larger := next(names, "")):
        found, name = found / _SECOND, larger
    return f"{found:.1f} {name}" if found < _TEN else f"{found:,.0f} {name}"


def squeezed(text: str, most: int = 100) -> str:
    """Write a text of several lines on one, cut."""
    line = " ".join(text[: 4 * most].split())
    return line if len(line) <= most else line[: most - 1] + "…"


def clock(millis: int) -> str:
    """Write a time of day, in UTC."""
    return f"{iso(millis)[11:19]} UTC"


def counted(count: int) -> str:
    """Write a count that stops at a bound: 12, 1,000+."""
    return f"{count:,}" if count < MOST_COUNTED else f"{MOST_COUNTED:,}+"


def shortened(text: str, most: int = 8192) -> str:
    """Cut a long text, and say how long it is; a step's own panel shows it whole."""
    return text if len(text) <= most else f"{text[:most]}… ({len(text):,} characters)"


_CONTROLS: Final = (*range(9), 0xB, 0xC, *range(0xE, 0x20), *range(0x7F, 0xA0))
_TURNING: Final = (0x200E, 0x200F, 0x061C, *range(0x202A, 0x202F), *range(0x2066, 0x206A))
_UNSEEN: Final = (0x200B, *range(0x2060, 0x2065), 0xFEFF)
"""Without a width; those that join letters and emoji are as people write."""
_TAGS: Final = range(0xE0000, 0xE0080)
"""Letters that only machines read."""
_HIDDEN: Final = {code: f"\\u{code:04x}" for code in (*_CONTROLS, *_TURNING, *_UNSEEN)} | {
    code: f"\\u{{{code:x}}}" for code in _TAGS
}


def visible(text: str) -> str:
    """Show control characters, those that turn the direction of text and unseen ones as code."""
    return text.translate(_HIDDEN)


FILTERS: Final[Mapping[str, Callable[..., str]]] = {
    "ago": ago,
    "bytes": size,
    "clock": clock,
    "compact": compact,
    "counted": counted,
    "credits": credits,
    "duration": duration,
    "first_line": first_line,
    "iso": iso,
    "model": shown_model,
    "pretty": pretty,
    "short_id": short_id,
    "shortened": shortened,
    "squeezed": squeezed,
    "visible": visible,
}
