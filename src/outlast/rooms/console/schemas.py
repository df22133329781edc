"""Queries of the console's pages, and the language of the filter field.

    agent:support status:failed,suspended since:24h user:ann conversation:conv_… parent:exec_…
    meta.customer:42 exec_…

A word without a colon is an execution's id, or an agent. Only what an index serves is there.
"""

import re
from dataclasses import dataclass, field
from typing import Final

from outlast.model.error import InvalidId
from outlast.model.execution import Status
from outlast.model.ids import CONVERSATION, EXECUTION, parse

_WORD: Final = re.compile(r'([\w.-]+):("[^"]*"|\S+)|"([^"]*)"|(\S+)')
_SPAN: Final = re.compile(r"(\d{1,6})(min|h|d)")
_MILLIS: Final = {"min": 60_000, "h": 3_600_000, "d": 86_400_000}
_METADATA: Final = "meta."
_MOST_STATUSES: Final = 3
_NAMES: Final = ("agent", "status", "since", "before", "user", "conversation", "parent", "id")


class NotAFilter(Exception):
    """A word of the filter that is none, with what to write instead."""


@dataclass(frozen=True, slots=True)
class Filter:
    """What the filter field says; times are milliseconds before now."""

    agent: str | None = None
    status: tuple[Status, ...] = ()
    since: int | None = None
    before: int | None = None
    user: str | None = None
    conversation: str | None = None
    parent: str | None = None
    id: str | None = None
    metadata: tuple[tuple[str, str], ...] = field(default=())


def filter_of(text: str) -> Filter:
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
        since=_span(found["since"]) if "since" in found else None,
        before=_span(found["before"]) if "before" in found else None,
        user=found.get("user"),
        conversation=_id(CONVERSATION, found.get("conversation")),
        parent=_id(EXECUTION, found.get("parent")),
        id=_id(EXECUTION, found.get("id")),
        metadata=tuple(metadata),
    )


def _known(name: str) -> str:
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


def _span(text: str) -> int:
    found = _SPAN.fullmatch(text)
    if found is None:
        raise NotAFilter("since and before: a time ago, such as 30min, 24h or 7d.")
    return int(found[1]) * _MILLIS[found[2]]


def _id(prefix: str, text: str | None) -> str | None:
    if text is None:
        return None
    try:
        return parse(prefix, text)
    except InvalidId as error:
        raise NotAFilter(str(error.message)) from error
