"""Several executions at once, chosen in the list: paused, cancelled, deleted, exported."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

import orjson
from starlette.responses import Response

from outlast.http.call import Call
from outlast.model.error import InvalidId, InvalidRequest, OutlastError
from outlast.model.ids import EXECUTION, parse
from outlast.model.workspace import Scope
from outlast.rooms.console.render.commands import commands_of_each
from outlast.rooms.console.render.executions import Row, exported, row
from outlast.rooms.console.render.page import page
from outlast.rooms.console.routes.endpoints import page_at
from outlast.rooms.console.routes.forms import form_of
from outlast.services.all import Services

_MOST: Final = 100
_PAST: Final = {"pause": "paused", "cancel": "cancelled", "delete": "deleted"}
"""What may be done, and the word for it when it is done."""
_EXPORT: Final = "export"
_READ: Final = Scope.EXECUTIONS_READ


async def chosen(call: Call, services: Services) -> Response:
    """What would be done with the chosen ones, to be confirmed; an export is sent at once."""
    action = call.query_params.get("do", "")
    ids = _ids(call.query_params.getlist("id"))
    if action == _EXPORT:
        lines = [await _exported(call, services, one) for one in ids]
        return Response(
            b"".join(lines),
            media_type="application/x-ndjson",
            headers={"Content-Disposition": 'attachment; filename="executions.jsonl"'},
        )
    if action not in _PAST:
        raise InvalidRequest("Choose what to do.")
    rows = [await _row(call, services, one) for one in ids]
    code = commands_of_each(call, action, ({"execution": one} for one in ids))
    found = [(one, "") for one in rows]
    return page(call, "chosen.html", rows=found, action=action, done="", code=code)


async def act(call: Call, services: Services) -> Response:
    """Does it with each, and shows what became of it."""
    form = await form_of(call)
    action, ids = form.get("do"), _ids(form.all("id"))
    services_of = services.executions
    verbs: dict[str, Callable[[str], Awaitable[object]]] = {
        "pause": lambda one: services_of.pause(call.principal, one),
        "cancel": lambda one: services_of.cancel(call.principal, one),
        "delete": lambda one: services_of.delete(call.principal, one),
    }
    if action not in verbs:
        raise InvalidRequest("Choose what to do.")
    rows = [await _row(call, services, one) for one in ids]
    found = await asyncio.gather(*(_tried(verbs[action](one), _PAST[action]) for one in ids))
    shown = list(zip(rows, found, strict=True))
    return page(call, "chosen.html", rows=shown, action=action, done=_PAST[action], code=[])


async def _tried(doing: Awaitable[object], past: str) -> str:
    """Return what became of one."""
    try:
        await doing
    except OutlastError as error:
        return error.message
    return past


async def _row(call: Call, services: Services, execution_id: str) -> Row:
    view = await services.lists.row(call.principal, execution_id)
    return row(view.execution, view.agent, services.clock.now(), view.below)


async def _exported(call: Call, services: Services, execution_id: str) -> bytes:
    view = await services.lists.row(call.principal, execution_id)
    line = exported(view.execution, view.agent, view.below)
    return orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE)


def _ids(given: list[str]) -> list[str]:
    """Return the ids of a form. Raises InvalidRequest."""
    try:
        ids = list(dict.fromkeys(parse(EXECUTION, one) for one in given))
    except InvalidId as error:
        raise InvalidRequest(error.message) from error
    if not 0 < len(ids) <= _MOST:
        raise InvalidRequest(f"Choose executions in the list first, at most {_MOST}.")
    return ids


PAGES: Final = (
    page_at("/chosen", chosen, "Chosen", scope=_READ),
    page_at("/chosen", act, "ActOnChosen", scope=Scope.AGENTS_EXECUTE, method="POST"),
)
