"""The first page: it leads to the first screen that the key opens."""

from typing import Final

from starlette.responses import RedirectResponse, Response

from outlast.http.call import Call
from outlast.rooms.console.render.frame import ROOT
from outlast.rooms.console.render.page import page
from outlast.rooms.console.render.screens import SCREENS
from outlast.rooms.console.routes.endpoints import ANY_KEY, page_at
from outlast.services.all import Services


async def home(call: Call, services: Services) -> Response:
    """Leads to the first screen, or says what the key may do if that is none."""
    del services
    scopes = call.principal.scopes
    first = next((screen for screen in SCREENS if screen.scope in scopes), None)
    if first is not None:
        return RedirectResponse(call.link(ROOT + first.path), 303)
    return page(call, "home.html")


async def lead_home(call: Call, services: Services) -> Response:
    """Leads from the console's address with a slash to that without."""
    del services
    return RedirectResponse(call.link(ROOT), 303)


PAGES: Final = (page_at("", home, "Home", scope=ANY_KEY), page_at("/", lead_home, "LeadHome"))
