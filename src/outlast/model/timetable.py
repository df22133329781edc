"""When a schedule runs: cron expressions and times of day, in a time zone.

cronsim reads the expression and finds matching wall times; the zone's changes are applied here, by
Debian's rule. An expression whose minute and hour are both fixed runs once a day whatever the clock
does: a wall time that the clock skips runs at the first instant after the gap, one that it repeats
runs the first time. An expression with a wildcard in the minute or the hour follows the clock: it
runs whenever the wall time matches, so not in a gap and twice in a repeated hour. Times of day are
fixed.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from functools import lru_cache
from itertools import islice
from typing import Final
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from outlast.model.error import InvalidField

_LONGEST: Final = 256
_FIELDS: Final = 5
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLI: Final = timedelta(milliseconds=1)
_DAY: Final = timedelta(days=1)
_NICKNAMES: Final = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_TIME: Final = re.compile(r"([01][0-9]|2[0-3]):[0-5][0-9]")
_FIRST_TIME, _LAST_TIME = 9 * 60, 17 * 60
"""Minutes of the day between which `spread` places times."""


_NO_ZONE: Final = re.compile(r"(localtime|posixrules|Factory)$|(right|posix)/")
"""Files of the data that are no zone, a machine's own, or count leap seconds."""


class UnknownZone(InvalidField):
    """This machine's time zone data does not have this zone."""


@dataclass(frozen=True, slots=True)
class Timetable:
    """Wall times in a zone: those of a cron expression, or the same times every day."""

    cron: str | None
    times: tuple[str, ...]
    """`HH:MM`, ascending; used if there is no expression."""
    timezone: str = "UTC"

    def after(self, at: int) -> int | None:
        """Return the first run later than this time, both in milliseconds since the epoch.

        None if there is none within fifty years. Raises UnknownZone.
        """
        return _after(self, at, zone_of(self.timezone))

    def first_after(self, moment: datetime, zone: ZoneInfo) -> datetime | None:
        """Return the same as an instant, in the zone's data. Raises OverflowError, ValueError."""
        return self._fixed(moment, zone) if self._is_fixed else self._clock(moment, zone)

    @property
    def _is_fixed(self) -> bool:
        if self.cron is None:
            return True
        minute, hour, *_ = self.cron.split()
        return not (minute.startswith("*") or hour.startswith("*"))

    def _fixed(self, moment: datetime, zone: ZoneInfo) -> datetime | None:
        """Each wall time has one instant, and later ones have no earlier instants."""
        for wall in self._walls(_wall(moment, zone)):
            instant = _instant(wall, zone)
            if instant > moment:
                return instant
        return None

    def _clock(self, moment: datetime, zone: ZoneInfo) -> datetime | None:
        """Follow the clock from one change of its offset to the next."""
        while True:
            offset = moment.astimezone(zone).utcoffset()
            assert offset is not None
            wall = next(self._walls((moment + offset).replace(tzinfo=None)), None)
            if wall is None:
                return None
            found = wall.replace(tzinfo=UTC) - offset
            change = _first_change(moment, found, zone)
            if change is None:
                return found
            offset = change.astimezone(zone).utcoffset()
            assert offset is not None
            first = (change + offset).replace(tzinfo=None)
            if next(self._walls(first - _MILLI)) == first:
                return change
            moment = change

    def _walls(self, after: datetime) -> Iterator[datetime]:
        """Yield matching wall times later than this one, ascending."""
        if self.cron is not None:
            before = after if after.microsecond == 0 else after.replace(microsecond=0)
            return iter(CronSim(self.cron, before))
        return self._of_days(after)

    def _of_days(self, after: datetime) -> Iterator[datetime]:
        day = after.date()
        while True:
            for text in self.times:
                wall = datetime.combine(day, time.fromisoformat(text))
                if wall > after:
                    yield wall
            day += _DAY


@lru_cache(maxsize=4096)
def _after(timetable: Timetable, at: int, zone: ZoneInfo) -> int | None:
    """Many schedules have the same times: each is found once."""
    try:
        found = timetable.first_after(_EPOCH + at * _MILLI, zone)
    except (OverflowError, ValueError):  # beyond the year 9999
        return None
    return None if found is None else (found - _EPOCH) // _MILLI


def upcoming(timetable: Timetable, after: int, most: int) -> list[int]:
    """Return the next runs later than this time. Raises UnknownZone."""
    return list(islice(runs(timetable, after), most))


def runs(timetable: Timetable, after: int) -> Iterator[int]:
    """Yield the runs later than this time, ascending. Raises UnknownZone."""
    at = timetable.after(after)
    while at is not None:
        yield at
        at = timetable.after(at)


def newest(timetable: Timetable, since: int, until: int) -> int | None:
    """Return the last run in `since` to `until`, both included; None if there is none.

    `since` is at most 32 days before `until`.
    """
    for minutes in (2, 120, 2 * 24 * 60, 32 * 24 * 60):
        begin = max(since, until - minutes * 60_000)
        last = None
        for at in runs(timetable, begin - 1):
            if at > until:
                break
            last = at
        if last is not None:
            return last
    return None


def checked_cron(text: str) -> str:
    """Return a cron expression in its short form: five fields, or a nickname's five.

    Raises InvalidField.
    """
    fields = _NICKNAMES.get(text.strip().lower(), text).split()
    if len(text) > _LONGEST or len(fields) != _FIELDS:
        known = ", ".join(_NICKNAMES)
        raise InvalidField(
            f"cron: five fields (minute, hour, day of month, month, day of week), or {known}.",
            param="cron",
        )
    cron = " ".join(fields)
    try:
        is_ever = next(CronSim(cron, datetime(2024, 1, 1)), None) is not None  # noqa: DTZ001 - wall time
    except (CronSimError, AssertionError, ValueError, IndexError) as error:
        raise InvalidField(f"cron: {cron!r}: {error}.", param="cron") from error
    if not is_ever:
        raise InvalidField(f"cron: {cron!r} never comes.", param="cron")
    return cron


def checked_times(times: list[str]) -> tuple[str, ...]:
    """Return times of the day, ascending. Raises InvalidField."""
    for text in times:
        if not _TIME.fullmatch(text):
            raise InvalidField(f"times: {text[:20]!r} is not a time like 09:00.", param="times")
    if len(set(times)) < len(times):
        raise InvalidField("times: each time once.", param="times")
    return tuple(sorted(times))


def spread(count: int) -> list[str]:
    """Return this many times, evenly from 09:00 to 17:00; one is 09:00."""
    gap = (_LAST_TIME - _FIRST_TIME) / max(1, count - 1)
    minutes = (_FIRST_TIME + round(number * gap) for number in range(count))
    return [f"{minute // 60:02}:{minute % 60:02}" for minute in minutes]


@lru_cache(maxsize=1024)
def _known_zone(name: str) -> ZoneInfo:
    if _NO_ZONE.match(name):
        raise KeyError(name)
    return ZoneInfo(name)


def zone_of(name: str) -> ZoneInfo:
    """Return a zone of the IANA time zone data. Raises UnknownZone."""
    try:
        return _known_zone(name)
    except (KeyError, ValueError, OSError) as error:
        raise UnknownZone(
            f"timezone: {name[:80]!r} is not a time zone like Europe/Berlin.", param="timezone"
        ) from error


def _wall(moment: datetime, zone: ZoneInfo) -> datetime:
    return moment.astimezone(zone).replace(tzinfo=None, fold=0)


def _instant(wall: datetime, zone: ZoneInfo) -> datetime:
    """Return the first instant at which the clock shows this, or has skipped it."""
    instant = wall.replace(tzinfo=zone).astimezone(UTC)
    if _wall(instant, zone) == wall:
        return instant
    change = _first_change(instant - _DAY, instant + _DAY, zone, past=wall)
    return instant if change is None else change


def _first_change(
    begin: datetime, end: datetime, zone: ZoneInfo, past: datetime | None = None
) -> datetime | None:
    """Return when the zone's offset first changes in (begin, end]; None if it does not.

    past: only a change after which the clock shows at least this.
    """
    step, at = timedelta(hours=12), begin
    while at < end:
        upto = min(at + step, end)
        if at.astimezone(zone).utcoffset() != upto.astimezone(zone).utcoffset():
            change = _bisected(at, upto, zone)
            if past is None or _wall(change, zone) >= past:
                return change
        at = upto
    return None


def _bisected(before: datetime, after: datetime, zone: ZoneInfo) -> datetime:
    """Return the first whole second with another offset than `before`."""
    old = before.astimezone(zone).utcoffset()
    second = timedelta(seconds=1)
    low = before.replace(microsecond=0)
    steps = -(-(after - low) // second)
    first, last = 0, steps
    while last - first > 1:
        middle = (first + last) // 2
        if (low + middle * second).astimezone(zone).utcoffset() == old:
            first = middle
        else:
            last = middle
    return low + last * second
