"""Help: the documents of this version, offline."""

import asyncio
from typing import Final

from starlette.responses import Response

from outlast.http.call import Call
from outlast.model.error import NotFound
from outlast.rooms.console.render.documents import documents, rendered
from outlast.rooms.console.render.frame import ROOT
from outlast.rooms.console.render.page import page
from outlast.rooms.console.routes.endpoints import ANY_KEY, page_at
from outlast.services.all import Services


async def contents(call: Call, services: Services) -> Response:
    """The documents, and where the API's reference is."""
    del services
    found = await asyncio.to_thread(documents)
    main = [one for one in found.values() if not one.name.startswith("decisions-")]
    others = [one for one in found.values() if one.name.startswith("decisions-")]
    return page(
        call,
        "help.html",
        documents=main,
        decisions=others,
        version=call.app.state.version,
        api=call.link("/docs"),
    )


async def document(call: Call, services: Services) -> Response:
    """One document."""
    del services
    name = call.path_params["name"]
    if name not in await asyncio.to_thread(documents):
        raise NotFound
    found = await asyncio.to_thread(rendered, name, call.link(ROOT))
    return page(call, "document.html", found=found)


PAGES: Final = (
    page_at("/help", contents, "Help", scope=ANY_KEY),
    page_at("/help/{name}", document, "Document", scope=ANY_KEY),
)
