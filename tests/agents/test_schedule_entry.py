"""The exact words for what is wrong with an agent's schedule in the agents file."""

from pathlib import Path

import pytest

from outlast.agents.loader import load
from outlast.model.error import Misconfigured

WRONG = {
    "{cron: '0 0 9 * * *'}": "cron: five fields (minute, hour, day of month, month, day of week), "
    "or @yearly, @annually, @monthly, @weekly, @daily, @midnight, @hourly",
    "{input: Go}": "cron: one of cron and times is required",
    "{cron: '@daily', times: [17:30]}": "times: either cron or times",
    "{times: [17:30], timezone: Mars/Base}": "timezone: 'Mars/Base' is not a time zone like "
    "Europe/Berlin",
    "{times: [9:00]}": "times: '9:00' is not a time like 09:00",
    "{times: [09:00], tasksPerDay: 2}": "tasksPerDay: 2, and 1 times; leave one of them out",
    "{cron: '@daily', budget: {maxCredits: 1.0e+10}}": "budget.maxCredits: must be at most "
    "9000000000.0, not 10000000000.0",
    "{cron: '@daily', budget: {maxSteps: 1000000000000000000}}": "budget.maxSteps: must be at "
    "most 9007199254740992, not 1000000000000000000",
    "{cron: '@daily', timeZone: UTC}": "timeZone: unknown key; did you mean timezone?",
}


@pytest.mark.parametrize("given", WRONG)
def test_a_wrong_schedule_is_refused_in_these_words(tmp_path: Path, given: str) -> None:
    file = tmp_path / "x.yaml"
    file.write_text(f"agents:\n  - name: a\n    model: m\n    schedule: {given}\n")
    with pytest.raises(Misconfigured) as raised:
        load(str(file))
    assert raised.value.message == f'{file}:4: agent "a", schedule.{WRONG[given]}'
