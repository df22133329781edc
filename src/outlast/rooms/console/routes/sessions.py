"""Sign in by a key or by a link that works once, and out; what the reader prefers."""

from typing import Final

from starlette.responses import RedirectResponse, Response

from outlast.http.call import Call
from outlast.http.spool import json_response
from outlast.model.clock import iso
from outlast.model.error import Unauthenticated
from outlast.model.workspace import Principal
from outlast.rooms.console.render.frame import PREFERENCES, ROOT, SESSION
from outlast.rooms.console.render.page import page
from outlast.rooms.console.routes.door import (
    is_own_navigation,
    keep_preference,
    keep_session,
    next_page,
)
from outlast.rooms.console.routes.endpoints import ANY_KEY, page_at
from outlast.rooms.console.routes.forms import form_of
from outlast.services.all import Services

_REFUSED: Final = 401


async def sign_in(call: Call, services: Services) -> Response:
    """The form that takes a key."""
    del services
    return _form(call, next_page(call.query_params.get("next", "")))


async def take_key(call: Call, services: Services) -> Response:
    """Begins a session with a key."""
    form = await form_of(call)
    there = next_page(form.get("next"))
    try:
        principal = await services.keys.authenticate(form.get("key").strip())
    except Unauthenticated as error:
        return _form(call, there, problem=error.message, status=_REFUSED)
    return _begun(call, services, principal, there)


async def enter(call: Call, services: Services) -> Response:
    """Begins a session by a link; one that another site leads to is confirmed first."""
    ticket, there = (
        call.query_params.get("ticket", ""),
        next_page(call.query_params.get("next", "")),
    )
    if not is_own_navigation(call):
        return page(call, "enter.html", ticket=ticket, next=there)
    return await _entered(call, services, ticket, there)


async def confirm(call: Call, services: Services) -> Response:
    """The same, confirmed by the reader."""
    form = await form_of(call)
    return await _entered(call, services, form.get("ticket"), next_page(form.get("next")))


async def _entered(call: Call, services: Services, ticket: str, there: str) -> Response:
    try:
        principal = await services.sessions.enter(ticket)
    except Unauthenticated as error:
        return _form(call, there, problem=error.message, status=_REFUSED)
    return _begun(call, services, principal, there)


async def sign_out(call: Call, services: Services) -> Response:
    """Ends the session."""
    del services
    response = RedirectResponse(call.link(f"{ROOT}/sign-in"), 303)
    keep_session(call, response, "")
    return response


async def set_preferences(call: Call, services: Services) -> Response:
    """Keeps theme, times and keys of the keyboard in cookies, and leads back."""
    del services
    form = await form_of(call)
    response = RedirectResponse(call.link(next_page(form.get("next"))), 303)
    for name in PREFERENCES:
        if form.all(name):
            keep_preference(call, response, name, form.get(name))
    return response


async def link(call: Call, services: Services) -> Response:
    """A link that signs in once, for the command line."""
    made = services.sessions.link(call.principal)
    path = call.link(f"{ROOT}/enter?ticket={made.secret}")
    return json_response({"path": path, "expiresAt": iso(made.expires_at)})


def _form(call: Call, there: str, problem: str = "", status: int = 200) -> Response:
    call.scope.pop(SESSION, None)
    return page(call, "sign_in.html", status, next=there, problem=problem)


def _begun(call: Call, services: Services, principal: Principal, there: str) -> Response:
    response = RedirectResponse(call.link(there), 303)
    keep_session(call, response, services.sessions.begin(principal))
    return response


PAGES: Final = (
    page_at("/sign-in", sign_in, "SignIn"),
    page_at("/sign-in", take_key, "TakeKey", method="POST"),
    page_at("/enter", enter, "Enter"),
    page_at("/enter", confirm, "ConfirmEnter", method="POST"),
    page_at("/sign-out", sign_out, "SignOut", method="POST"),
    page_at("/preferences", set_preferences, "SetPreferences", method="POST"),
)
REQUESTS: Final = (page_at("/link", link, "Link", method="POST", scope=ANY_KEY),)
