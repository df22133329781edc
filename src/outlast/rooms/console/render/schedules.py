"""View models of schedules."""

from dataclasses import dataclass
from typing import Any, Final

from outlast.model.schedule import PausedReason, Schedule

_REASONS: Final = {
    PausedReason.REQUESTED: "paused on request",
    PausedReason.AGENT_PAUSED: "paused with its agent",
    PausedReason.FAILURES: "paused: too many runs in a row could not start",
    PausedReason.ENDED: "ended: no run is left",
    PausedReason.UNREADABLE: "paused: its next run cannot be computed",
}


@dataclass(frozen=True, slots=True)
class ShownSchedule:
    """A schedule, and when it runs next."""

    id: str
    name: str
    agent: str
    when: str
    """The cron expression, or the times of the day, with the zone."""
    input: str
    state: str
    is_active: bool
    next_runs: list[int]
    last_run_at: int | None
    failures: int
    queued: bool
    of_file: bool
    rules: dict[str, str]
    metadata: dict[str, Any]
    conversation_id: str | None


def shown_schedule(found: Schedule, agent: str, most: int) -> ShownSchedule:
    """Return a schedule for its page, with at most so many of its next times."""
    made = found.definition
    times = f"cron {made.cron}" if made.cron else f"every day at {', '.join(made.times)}"
    reason = found.paused_reason
    return ShownSchedule(
        found.id,
        found.name or agent,
        agent,
        f"{times}, {made.timezone}",
        made.input,
        "active" if reason is None else _REASONS[reason],
        found.is_active,
        found.next_runs(most) if found.is_active else [],
        found.last_run_at,
        found.failures,
        found.waiting is not None,
        found.of_file,
        {
            "While an earlier run is live": made.overlap.value,
            "Runs that were missed": made.catch_up.value,
            "Spread over": f"{made.jitter_seconds} s",
            "Paused after failures": str(made.pause_after_failures or "never"),
        },
        made.metadata,
        found.conversation_id,
    )
