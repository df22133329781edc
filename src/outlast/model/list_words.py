"""The language in which people filter the list of executions: the console's field, and saved views.

    agent:support status:failed,suspended since:24h before:2026-11-29T10:00Z user:ann
    conversation:conv_… parent:exec_… parent:none meta.customer:42 exec_…

A word without a colon is an execution's id, or an agent. Only what an index serves is there.
"""

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from outlast.model.error import InvalidId
from outlast.model.execution import Status
from outlast.model.ids import CONVERSATION, EXECUTION, parse

_WORD: Final = re.compile(r'([\w.-]+):("[^"]*"|\S+)|"([^"]*)"|(\S+)')
_SPAN: Final = re.compile(r"(\d{1,6})(min|h|d)")
_MILLIS: Final = {"min": 60_000, "h": 3_600_000, "d": 86_400_000}
_METADATA: Final = "meta."
_MOST_STATUSES: Final = 3
_UNSERVED: Final = {
    "tool": "No index finds them by their tools. Name the agent that has it: agent:a since:24h.",
    "model": "No index finds them by their models. Name the agent that has it: agent:a since:24h.",
    "cost": "No index orders them by cost. The screen Usage adds it up by hour, agent and key.",
    "text": "No index has the texts. Index a key of metadata, and filter by it: meta.customer:42.",
}
"""Words that would read every execution, with what an index serves instead."""
_NO_PARENT: Final = "none"
_NAMES: Final = ("agent", "status", "since", "before", "user", "conversation", "parent", "id")


class NotAFilter(Exception):
    """A word of the filter that is none, with what to write instead."""


@dataclass(frozen=True, slots=True)
class Filter:
    """What the filter field says; times are milliseconds since the epoch."""

    agent: str | None = None
    status: tuple[Status, ...] = ()
    since: int | None = None
    before: int | None = None
    user: str | None = None
    conversation: str | None = None
    parent: str | None = None
    roots: bool = False
    id: str | None = None
    metadata: tuple[tuple[str, str], ...] = field(default=())

    @property
    def is_wide(self) -> bool:
        """Whether it walks down an agent's executions until it has found enough completed ones."""
        few = self.user or self.conversation or self.parent or self.metadata
        return bool(self.agent and Status.COMPLETED in self.status and not few)


def filter_of(text: str, now: int) -> Filter:
    """Read the filter field. Raises NotAFilter."""
    found: dict[str, str] = {}
    metadata = []
    for name, value, quoted, bare in _WORD.findall(text):
        value = value.strip('"')  # noqa: PLW2901
        if name.startswith(_METADATA):
            metadata.append((name.removeprefix(_METADATA), value))
        elif name:
            found[_known(name)] = value
        else:
            word = quoted or bare
            found["id" if word.startswith("exec_") else "agent"] = word
    return Filter(
        agent=found.get("agent"),
        status=_statuses(found["status"]) if "status" in found else (),
        since=_time(found["since"], now) if "since" in found else None,
        before=_time(found["before"], now) if "before" in found else None,
        user=found.get("user"),
        conversation=_id(CONVERSATION, found.get("conversation")),
        parent=_id(EXECUTION, parent) if (parent := found.get("parent")) != _NO_PARENT else None,
        roots=parent == _NO_PARENT,
        id=_id(EXECUTION, found.get("id")),
        metadata=tuple(metadata),
    )


def without_times(text: str) -> str:
    """Return the filter field without its words for times."""
    words = (found for found in _WORD.finditer(text) if found[1] not in ("since", "before"))
    return " ".join(found[0] for found in words)


def _known(name: str) -> str:
    if name in _UNSERVED:
        raise NotAFilter(_UNSERVED[name])
    if name not in _NAMES:
        raise NotAFilter(
            f"There is no filter {name[:40]!r}. There are: {', '.join(_NAMES)}, meta.KEY."
        )
    return name


def _statuses(text: str) -> tuple[Status, ...]:
    names = [name for name in text.split(",") if name]
    try:
        found = tuple(dict.fromkeys(Status(name) for name in names))
    except ValueError as error:
        raise NotAFilter(f"status: one to three of {', '.join(Status)}.") from error
    if not 0 < len(found) <= _MOST_STATUSES:
        raise NotAFilter("status: one to three of them, with commas between.")
    return found


def _time(text: str, now: int) -> int:
    """Return a point in time, which is given as such or as a time ago."""
    if found := _SPAN.fullmatch(text):
        return now - int(found[1]) * _MILLIS[found[2]]
    try:
        given = datetime.fromisoformat(text)
    except ValueError as error:
        raise NotAFilter(
            "since and before: a time ago, such as 30min, 24h or 7d, or 2026-11-29T10:00Z."
        ) from error
    aware = given if given.tzinfo is not None else given.replace(tzinfo=UTC)
    return round(aware.timestamp() * 1000)


def _id(prefix: str, text: str | None) -> str | None:
    if text is None:
        return None
    try:
        return parse(prefix, text)
    except InvalidId as error:
        raise NotAFilter(str(error.message)) from error
