"""Dates and times in a time zone: now, a time plus a duration, the difference of two times."""

from datetime import UTC, datetime, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from outlast.model.error import ToolFailed

_CALENDAR: Final = ("weeks", "days")
_EXACT: Final = ("hours", "minutes", "seconds")


def moment(arguments: dict[str, Any], now: int) -> dict[str, Any]:
    """Return the datetime tool's result; `now` is in milliseconds since the epoch.

    Weeks and days are added on the calendar (the hour stays the same over a change to summer time),
    hours, minutes and seconds on the time line. Raises ToolFailed with the reason.
    """
    zone = _zone(arguments.get("timezone", "UTC"))
    try:
        at = _read(arguments["at"], zone) if "at" in arguments else _now(now, zone)
        at = _add(at, arguments.get("add", {}))
        answer: dict[str, Any] = {
            "datetime": at.isoformat(),
            "weekday": at.strftime("%A"),
            "timezone": zone.key,
        }
        if "until" in arguments:
            answer["difference"] = _difference(at, _read(arguments["until"], zone))
    except OverflowError as error:
        raise ToolFailed("The date is outside the years 1 to 9999.") from error
    return answer


def _now(now: int, zone: ZoneInfo) -> datetime:
    return datetime.fromtimestamp(now // 1000, zone)


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        problem = f"{name!r} is not an IANA time zone; they look like Europe/Berlin or UTC."
        raise ToolFailed(problem) from error


def _read(text: str, zone: ZoneInfo) -> datetime:
    try:
        read = datetime.fromisoformat(text)
    except ValueError as error:
        problem = f"{text!r} is not an ISO 8601 date or time such as 2026-03-15T10:30:00+01:00."
        raise ToolFailed(problem) from error
    return read.replace(tzinfo=zone) if read.tzinfo is None else read.astimezone(zone)


def _add(at: datetime, duration: dict[str, float]) -> datetime:
    calendar = timedelta(**{unit: duration.get(unit, 0) for unit in _CALENDAR})
    exact = timedelta(**{unit: duration.get(unit, 0) for unit in _EXACT})
    return ((at + calendar).astimezone(UTC) + exact).astimezone(at.tzinfo)


def _difference(start: datetime, end: datetime) -> dict[str, Any]:
    seconds = (end.astimezone(UTC) - start.astimezone(UTC)).total_seconds()
    days, rest = divmod(abs(seconds), 86_400)
    hours, rest = divmod(rest, 3600)
    minutes, rest = divmod(rest, 60)
    text = f"{days:.0f} days {hours:.0f} hours {minutes:.0f} minutes {rest:g} seconds"
    return {"seconds": seconds, "text": f"-{text}" if seconds < 0 else text}
