"""The console's stream: a fold over the log, batch by batch, into fragments of HTML.

One event of the stream holds the fragments of one batch of entries, in the order of the page, and
has the cursor of the batch's end as its id. A page carries the cursor that it has seen; after a cut
the browser sends the last id, the log is read from where the page begins, and what came up to there
is silent.
"""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any, Final

from starlette.responses import Response

from outlast.http.call import Call
from outlast.http.sse import RECONNECT, EventStream
from outlast.model.event import Cursor, Entry
from outlast.model.execution import Execution
from outlast.rooms.console.render.earlier import NOTHING, Earlier
from outlast.rooms.console.render.executions import actions
from outlast.rooms.console.render.page import environment
from outlast.rooms.console.render.sentences import sentence
from outlast.rooms.console.render.transcript import Transcript
from outlast.rooms.console.render.words import visible
from outlast.services.all import Services

_TOGETHER_SECONDS: Final = 0.05
"""Text of so long is sent together: a page changes at most twenty times a second."""
_END: Final = b"event: end\ndata: ended\n\n"
_LEAVING: Final = RECONNECT + b"event: leaving\ndata: leaving\n\n"
"""Sent before the server stops: the page shows it."""
_BREAKS: Final = str.maketrans(
    {"\n": "&#10;", "\r": "&#13;", "\u0085": "&#x85;", "\u2028": "&#x2028;", "\u2029": "&#x2029;"}
)
"""Characters at which readers of streams end a line."""


class Fold:
    """Folds an execution's log into fragments; `after` is what the page has seen.

    The log is read behind what stood `earlier` than the page.
    """

    def __init__(
        self,
        execution: Execution,
        frame: dict[str, Any],
        after: Cursor,
        earlier: Earlier = NOTHING,
    ) -> None:
        self._execution = execution
        self._frame = frame
        self._after = after
        self._read = Transcript(earlier)
        self._known: set[int] = set()
        """Steps that the page has."""

    @property
    def ended(self) -> bool:
        """Whether the log has ended."""
        return self._read.ended

    @property
    def earlier(self) -> Earlier:
        """What stands before it."""
        return self._read.earlier

    def miscounts(self, entries: list[Entry]) -> bool:
        """Whether these entries supersede steps that are earlier, which must be counted again."""
        return any(self._read.voids_earlier(entry.event) for entry in entries)

    def recount(self, steps: int) -> None:
        """Take the number of earlier steps that stand."""
        self._read.earlier = self._read.earlier._replace(steps=steps)

    def events(self, entries: list[Entry]) -> bytes:
        """Return the event of the next entries, which are single pieces; empty if it is silent."""
        read = self._read
        shown = [entry for entry in entries if entry.cursor > self._after]
        for entry in entries[: len(entries) - len(shown)]:
            read.add(entry)
        if len(shown) < len(entries):
            self._forget()
        for entry in shown:
            read.add(entry)
        if not shown:
            return b""
        fragments = "".join(self._fragments())
        self._forget()
        if not fragments:
            return b""
        line = fragments.translate(_BREAKS).encode()
        return b"id: %b\ndata: %b\n\n" % (str(read.cursor).encode(), line)

    def _forget(self) -> None:
        read = self._read
        read.changed.clear()
        read.grown.clear()
        read.moved = False
        self._known |= read.steps.keys()

    def _fragments(self) -> list[str]:
        read, parts = self._read, _macros()
        found = []
        for (number, part), pieces in read.grown.items():
            if number not in read.changed:
                found.append(_partial(f"#p{number}-{part}", "beforeend", _escaped("".join(pieces))))
        for number in sorted(read.changed):
            drawn = parts.step(self._frame, self._execution.id, read.steps[number])
            if number in self._known:
                found.append(_partial(f"#step-{number}", "outerHTML", drawn))
            else:
                found.append(_partial("#transcript", "beforeend", drawn))
        if read.moved:
            drawn = parts.head(self._frame, head_of(self._execution, read, self._frame))
            found.append(_partial("#head", "outerHTML", drawn))
        return found


def head_of(
    execution: Execution, read: Transcript, frame: dict[str, Any], *, fresh: bool = False
) -> dict[str, Any]:
    """Return what the head of an execution's page shows; `fresh`: the row is as new as the log."""
    may, driven = "agents:execute" in frame["may"], execution.is_client_driven
    waits = fresh and execution.waiting
    return {
        "id": execution.id,
        "status": read.status,
        "since": read.since,
        "sentence": sentence(read, waits_for_turn=waits, client_driven=driven),
        "client_driven": driven,
        "steps": read.count,
        "tokens": read.tokens,
        "credits": read.credits,
        "actions": actions(read.status, may=may, client_driven=driven),
    }


def _macros() -> Any:
    return environment().get_template("execution_parts.html").module


def _partial(target: str, swap: str, content: str) -> str:
    return f'<hx-partial hx-target="{target}" hx-swap="{swap}">{content}</hx-partial>'


def _escaped(text: str) -> str:
    from markupsafe import escape

    return str(escape(visible(text)))


def stream_of(
    call: Call,
    services: Services,
    execution: Execution,
    frame: dict[str, Any],
    after: Cursor,
    earlier: Earlier,
) -> Response:
    """Return the fragments of the log behind a cursor, then live."""

    def again() -> AsyncGenerator[bytes, None]:
        return _events(Fold(execution, frame, after, earlier), call, services, execution.id)

    return EventStream(again(), call.streams, again=again, goodbye=_LEAVING)


async def _events(
    fold: Fold, call: Call, services: Services, execution_id: str
) -> AsyncGenerator[bytes, None]:
    principal, earlier = call.principal, fold.earlier
    log = services.executions.follow(principal, execution_id, earlier.cursor)
    async with aclosing(log) as batches:
        async for entries in batches:
            if fold.miscounts(entries):
                behind = earlier.step + 1
                count = await services.step_pages.count_before(principal, execution_id, behind)
                fold.recount(count)
            found = fold.events(entries)
            yield found
            if found and not fold.ended:
                await services.clock.sleep(_TOGETHER_SECONDS)
    if fold.ended:
        yield _END
