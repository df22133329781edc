"""Saved views of the list of executions: saved and removed beside it."""

from typing import Final
from urllib.parse import urlencode

from starlette.responses import RedirectResponse, Response

from outlast.http.call import Call
from outlast.model.error import Conflict, InvalidField
from outlast.model.workspace import Scope
from outlast.rooms.console.render.frame import ROOT
from outlast.rooms.console.routes.endpoints import page_at
from outlast.rooms.console.routes.executions import listed
from outlast.rooms.console.routes.forms import form_of
from outlast.services.all import Services

_EXECUTE: Final = Scope.AGENTS_EXECUTE


async def save(call: Call, services: Services) -> Response:
    """Saves a filter under a name, for all of the workspace."""
    form = await form_of(call)
    name, q = form.get("name").strip(), form.get("q").strip()
    try:
        await services.saved_views.put(call.principal, name, q)
    except Conflict as error:
        return await listed(call, services, {"q": q}, error.message, 409)
    except InvalidField as error:
        return await listed(call, services, {"q": q}, error.message, 422)
    return _back(call, q)


async def remove(call: Call, services: Services) -> Response:
    """Removes a view; the list stays as it is filtered."""
    form = await form_of(call)
    await services.saved_views.remove(call.principal, form.get("name"))
    return _back(call, form.get("q").strip())


def _back(call: Call, q: str) -> Response:
    query = f"?{urlencode({'q': q})}" if q else ""
    return RedirectResponse(call.link(f"{ROOT}/executions{query}"), 303)


PAGES: Final = (
    page_at("/views", save, "SaveView", scope=_EXECUTE, method="POST"),
    page_at("/views/remove", remove, "RemoveView", scope=_EXECUTE, method="POST"),
)
