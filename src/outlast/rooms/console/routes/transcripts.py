"""Reads transcripts: of the newest steps, of a page of earlier ones, of a whole log."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Final

from outlast.http.call import Call
from outlast.model.event import START, Cursor, Entry, Event, ExecutionResumed
from outlast.model.execution import Execution
from outlast.rooms.console.render.earlier import Earlier
from outlast.rooms.console.render.transcript import Transcript
from outlast.services.all import Services
from outlast.services.step_pages import LAST_STEP, Place

PAGE: Final = 100
"""Steps of a page."""


async def transcript_of(call: Call, services: Services, found: Execution) -> Transcript:
    """Return an execution's transcript as far as its log has come."""
    read = Transcript()
    if not found.is_purged:
        async with aclosing(_entries(call, services, found.id)) as entries:
            async for entry in entries:
                read.add(entry)
    return read


async def newest_of(call: Call, services: Services, found: Execution) -> Transcript:
    """Return the transcript of the newest steps, a page of them or a few more."""
    if found.is_purged:
        return Transcript()
    newest = await services.step_pages.newest(call.principal, found.id, PAGE)
    row, begin = newest.execution, newest.begin
    read = Transcript(_earlier(row, begin))
    async with aclosing(_entries(call, services, row.id, begin.cursor)) as entries:
        async for entry in entries:
            if entry.cursor <= newest.end:
                read.add(entry)
            if entry.cursor >= newest.end:
                break
    if begin.step:
        read.settle(row.steps, row.charged_tokens, row.credits)
    return read


async def steps_between(
    call: Call, services: Services, found: Execution, first: int, last: int
) -> Transcript:
    """Return a transcript that has the steps of these numbers, whose state is not the newest."""
    read, _ = await stretch_between(call, services, found, first, last)
    return read


async def steps_since(call: Call, services: Services, found: Execution, first: int) -> Transcript:
    """Return a transcript that has the steps from this number to the end of the log."""
    return await steps_between(call, services, found, first, LAST_STEP)


async def stretch_between(
    call: Call, services: Services, found: Execution, first: int, last: int
) -> tuple[Transcript, int | None]:
    """Return the same, and the step before which it ends; None if it ends with the log."""
    if found.is_purged:
        return Transcript(), None
    stretch = await services.step_pages.between(call.principal, found.id, first, last)
    read = Transcript(_earlier(found, stretch.begin))
    async with aclosing(_entries(call, services, found.id, stretch.begin.cursor)) as entries:
        async for entry in entries:
            if stretch.end is not None and _number(entry.event) >= stretch.end:
                break
            read.add(entry)
    for number in stretch.superseded & read.steps.keys():
        if not read.steps[number].superseded:  # by what stands behind the stretch
            read.steps[number].superseded_after = last
    return read, stretch.end


async def _entries(
    call: Call, services: Services, execution_id: str, after: Cursor = START
) -> AsyncGenerator[Entry, None]:
    """Read an execution's log behind a cursor, as far as it has come."""
    log = services.executions.replay(call.principal, execution_id, after, whole=True)
    async with aclosing(log) as batches:
        async for entries in batches:
            for entry in entries:
                yield entry


def _number(event: Event) -> int:
    """Return the step of an event; 0 if it has none."""
    return 0 if isinstance(event, ExecutionResumed) else getattr(event, "step", 0)


def _earlier(found: Execution, place: Place) -> Earlier:
    if not place.step:
        return Earlier()
    began = found.created_at if found.started_at is None else found.started_at
    since = began if found.segment == 1 else found.active_since or began
    return Earlier(*place.cursor, place.at, place.step, began, since)
