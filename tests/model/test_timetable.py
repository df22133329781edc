"""When schedules run, against a second implementation: the clock of the zone, minute by minute."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise, takewhile
from zoneinfo import ZoneInfo

import pytest

from outlast.model.error import InvalidField
from outlast.model.timetable import (
    Timetable,
    UnknownZone,
    checked_cron,
    checked_times,
    newest,
    runs,
    spread,
    upcoming,
)

BERLIN, NEW_YORK = "Europe/Berlin", "America/New_York"
LORD_HOWE, SAO_PAULO = "Australia/Lord_Howe", "America/Sao_Paulo"
CHANGES = {
    BERLIN: ("2026-03-29", "2026-10-25"),
    NEW_YORK: ("2026-03-08", "2026-11-01"),
    LORD_HOWE: ("2026-04-05", "2026-10-04"),
    SAO_PAULO: ("2026-03-29", "2018-11-04"),  # a day without a change; the last spring that had one
    "Pacific/Apia": ("2011-12-30",),  # a day that was left out
    "Africa/Casablanca": ("2026-02-15", "2026-03-22"),
    "Asia/Kathmandu": ("2026-03-29",),
}
FIXED = ["30 2 * * *", "0,15,45 2 * * *", "0 2,3 * * *", "59 1,2 * * 0,1,6", "10 0-3 * * *"]
CLOCK = ["*/30 2 * * *", "*/10 * * * *", "15 * * * *", "* 2 * * *", "*/20 1-3 * * *", "7 */2 * * *"]
TIMES = ["01:45", "02:00", "02:15", "02:30", "03:00"]


def millis(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)


def at(text: str) -> int:
    return millis(datetime.fromisoformat(text))


def field(text: str, first: int, last: int) -> set[int]:
    """The values of a cron field with lists, ranges, steps and stars."""
    found: set[int] = set()
    for part in text.split(","):
        values, _, step = part.partition("/")
        low, _, high = values.partition("-")
        begin, end = (first, last) if low == "*" else (int(low), int(high or low))
        found |= set(range(begin, end + 1, int(step or 1)))
    return found


def matcher(cron: str) -> Callable[[datetime], bool]:
    minute, hour, day, month, weekday = cron.split()
    minutes, hours, days = field(minute, 0, 59), field(hour, 0, 23), field(day, 1, 31)
    months, weekdays = field(month, 1, 12), {n % 7 for n in field(weekday, 0, 7)}
    both = "*" in (day[0], weekday[0])

    def matches(wall: datetime) -> bool:
        of_month, of_week = wall.day in days, wall.isoweekday() % 7 in weekdays
        is_day = (of_month and of_week) if both else (of_month or of_week)
        return wall.minute in minutes and wall.hour in hours and wall.month in months and is_day

    return matches


def by_minutes(
    matches: Callable[[datetime], bool], zone: str, begin: datetime, end: datetime, *, fixed: bool
) -> Iterator[int]:
    """Every minute: what the clock shows; of fixed times also what it has jumped over."""
    minute = timedelta(minutes=1)
    instant, shown = begin, (begin - minute).astimezone(ZoneInfo(zone)).replace(tzinfo=None)
    while instant <= end:
        wall = instant.astimezone(ZoneInfo(zone)).replace(tzinfo=None, fold=0)
        if not fixed:
            passed = [wall]
        else:
            passed = []
            while shown < wall:
                shown += minute
                passed.append(shown)
        if any(map(matches, passed)):
            yield millis(instant)
        instant += minute


def between(table: Timetable, begin: int, end: int) -> list[int]:
    return list(takewhile(lambda run: run <= end, runs(table, begin - 1)))


@pytest.mark.parametrize("zone", CHANGES)
def test_every_run_around_a_change_of_the_clock_is_that_of_the_clock_itself(zone: str) -> None:
    for day in CHANGES[zone]:
        middle = datetime.fromisoformat(day).replace(tzinfo=UTC)
        begin, end = middle - timedelta(days=1), middle + timedelta(days=1, hours=12)
        tables = [
            *((Timetable(c, (), zone), matcher(c), True) for c in FIXED),
            *((Timetable(c, (), zone), matcher(c), False) for c in CLOCK),
            (Timetable(None, tuple(TIMES), zone), _at_times, True),
        ]
        for table, matches, fixed in tables:
            expected = list(by_minutes(matches, zone, begin, end, fixed=fixed))
            found = between(table, millis(begin), millis(end))
            assert found == expected, (zone, day, table)


def _at_times(wall: datetime) -> bool:
    return f"{wall:%H:%M}" in TIMES


@pytest.mark.parametrize(
    ("cron", "zone", "after", "expected"),
    [
        ("30 2 * * *", BERLIN, "2026-03-28T12:00Z", ["2026-03-29T01:00Z", "2026-03-30T00:30Z"]),
        ("30 2 * * *", BERLIN, "2026-10-24T12:00Z", ["2026-10-25T00:30Z", "2026-10-26T01:30Z"]),
        ("30 2 * * *", BERLIN, "2026-10-25T01:10Z", ["2026-10-26T01:30Z"]),  # in the repeated hour
        ("30 1 * * *", NEW_YORK, "2026-11-01T05:00Z", ["2026-11-01T05:30Z", "2026-11-02T06:30Z"]),
        ("*/30 2 * * *", BERLIN, "2026-03-28T12:00Z", ["2026-03-30T00:00Z"]),
        ("15 2 * * *", LORD_HOWE, "2026-10-03T12:00Z", ["2026-10-03T15:30Z", "2026-10-04T15:15Z"]),
        ("*/10 3 * * *", LORD_HOWE, "2026-10-03T15:00Z", ["2026-10-03T16:00Z"]),
        ("0 0 29 2 *", "UTC", "2026-01-01", ["2028-02-29T00:00Z"]),
        ("0 9 1 * 1", "UTC", "2026-02-27", ["2026-03-01T09:00Z", "2026-03-02T09:00Z"]),
        ("0 9 LW * *", "UTC", "2026-01-01", ["2026-01-30T09:00Z"]),
        ("0 9 * * MON#1", "UTC", "2026-01-01", ["2026-01-05T09:00Z"]),
    ],
)
def test_runs_are_where_the_table_says(
    cron: str, zone: str, after: str, expected: list[str]
) -> None:
    found = upcoming(Timetable(cron, (), zone), at(after), len(expected))
    assert found == [at(text) for text in expected]


def test_a_run_is_always_later_than_the_one_before_it() -> None:
    for zone, (day, *_) in CHANGES.items():
        for cron in (*FIXED, *CLOCK):
            found = upcoming(Timetable(cron, (), zone), at(day) - 86_400_000, 40)
            gaps = [later - earlier for earlier, later in pairwise(found)]
            assert min(gaps) >= 60_000, (zone, cron)


def test_nothing_runs_beyond_the_end_of_the_calendar() -> None:
    assert Timetable("0 0 * * *", ()).after(at("9999-12-31T12:00Z")) is None
    assert Timetable(None, ("09:00",)).after(at("9999-12-31T12:00Z")) is None


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("@daily", "0 0 * * *"),
        ("@HOURLY", "0 * * * *"),
        (" 0  9 * *\tmon-fri ", "0 9 * * mon-fri"),
        ("*/15 0-6,22 L * *", "*/15 0-6,22 L * *"),
    ],
)
def test_an_expression_is_kept_in_five_fields(given: str, expected: str) -> None:
    assert checked_cron(given) == expected


@pytest.mark.parametrize(
    "cron",
    [
        "",
        "* * * *",
        "0 0 9 * * *",  # seconds
        "@reboot",
        "@every 5m",
        "60 * * * *",
        "0 9 30 2 *",
        "0 9 ? * *",
        "a b c d e",
        "*/0 * * * *",
        "0 9 * * L",
        "5-1 * * * *",
        "٣ * * * *",
        f"{','.join(['1'] * 200)} * * * *",
    ],
)
def test_an_expression_that_cannot_be_is_refused(cron: str) -> None:
    with pytest.raises(InvalidField) as refused:
        checked_cron(cron)
    assert refused.value.param == "cron"


@pytest.mark.parametrize(
    "times", [["9:00"], ["24:00"], ["09:00", "09:00"], ["09:00:00"], ["٠٩:00"]]
)
def test_a_time_that_cannot_be_is_refused(times: list[str]) -> None:
    with pytest.raises(InvalidField):
        checked_times(times)


@pytest.mark.parametrize(
    "zone",
    [
        *("Mars/Base", "Europe", "", "../UTC", "/etc/localtime", "a\0b", "x" * 999),
        *("localtime", "posixrules", "Factory", "right/UTC", "posix/Europe/Berlin"),
    ],
)
def test_a_zone_that_is_not_known_is_refused(zone: str) -> None:
    with pytest.raises(UnknownZone):
        Timetable("0 9 * * *", (), zone).after(0)


def test_times_of_a_day_are_spread_from_nine_to_five() -> None:
    assert [spread(n) for n in (1, 2, 3)] == [
        ["09:00"],
        ["09:00", "17:00"],
        ["09:00", "13:00", "17:00"],
    ]
    assert len(checked_times(spread(100))) == 100


@pytest.mark.parametrize("cron", ["* * * * *", "0 9 * * *", "* 9 1 * *", "0 0 1 * *"])
def test_the_newest_run_of_a_time_is_the_last_of_all(cron: str) -> None:
    table, since = Timetable(cron, (), BERLIN), at("2026-03-20T09:17:30Z")
    for hours in (0, 1, 30) if cron.startswith("* * ") else (30, 31 * 24):
        until = since + hours * 3_600_000
        every = between(table, since, until)
        assert newest(table, since, until) == (every[-1] if every else None)
