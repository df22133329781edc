"""An execution's log: its entries, searched or all, or the API's frames, page by page."""

from contextlib import aclosing
from typing import Final

from starlette.responses import Response

from outlast.http.call import Call
from outlast.model.error import ExecutionNotFound, InvalidCursor
from outlast.model.event import START, Cursor
from outlast.model.ids import EXECUTION
from outlast.model.workspace import Scope
from outlast.rooms.console.render.log import LogRows
from outlast.rooms.console.render.page import page
from outlast.rooms.console.routes.endpoints import page_at
from outlast.services.all import Services

_ROWS: Final = 100
_LONGEST_SEARCH: Final = 200
_FRAMES: Final = 200
_LONGEST: Final = 64 * 1024
"""Bytes of frames on one page, the last one excluded."""


async def log(call: Call, services: Services) -> Response:
    """The entries behind a cursor, those with some words, or the frames that the API sends."""
    wanted = call.path_id("executionId", EXECUTION, ExecutionNotFound)
    view = await services.lists.row(call.principal, wanted)
    if view.execution.is_purged:
        raise ExecutionNotFound
    after = _after(call)
    if after != START and not await services.executions.holds(call.principal, wanted, after):
        raise InvalidCursor(param="after")
    as_frames = call.query_params.get("as") == "frames"
    search = "" if as_frames else call.query_params.get("q", "").strip()[:_LONGEST_SEARCH]
    rows, frames, last, more = LogRows(_ROWS, search), "", "", False
    if as_frames:
        frames, last, more = await _frames(call, services, wanted, after)
    else:
        log = services.executions.replay(call.principal, wanted, after)
        async with aclosing(log) as batches:
            async for entries in batches:
                rows.add(entries)
                if rows.more:
                    break
        rows.close()
        last, more = rows.last, rows.more
    return page(
        call,
        "log.html",
        execution=view.execution,
        agent=view.agent,
        after="" if after == START else str(after),
        as_frames=as_frames,
        search=search,
        rows=rows.rows,
        frames=frames,
        last=last,
        more=more,
        url=f"{call.scope['scheme']}://{call.headers.get('host')}{call.link('')}",
        may_execute=Scope.AGENTS_EXECUTE in call.principal.scopes,
    )


async def _frames(
    call: Call, services: Services, execution_id: str, after: Cursor
) -> tuple[str, str, bool]:
    """Return frames behind a cursor, the last one's cursor, and whether there are more."""
    fold, found, last = call.native(execution_id), bytearray(), after
    count = 0
    async with aclosing(services.executions.replay(call.principal, execution_id)) as batches:
        async for entries in batches:
            for entry in entries:
                if count == _FRAMES or len(found) > _LONGEST:
                    return found.decode(), str(last), True
                sent = fold.frames([entry])
                if entry.cursor > after:
                    found += sent
                    last = entry.cursor
                    count += bool(sent)
    return found.decode(), str(last), False


def _after(call: Call) -> Cursor:
    given = call.query_params.get("after", "")
    return Cursor.parse(given) if given else START


PAGES: Final = (page_at("/executions/{executionId}/log", log, "Log", scope=Scope.EXECUTIONS_READ),)
