"""The files that pages load; a new content has a new address, so browsers keep them."""

from typing import Final

from starlette.responses import Response

from outlast.http.call import Call
from outlast.model.error import NotFound
from outlast.rooms.console.render.assets import asset
from outlast.rooms.console.routes.endpoints import page_at
from outlast.services.all import Services

_FOR_EVER: Final = "public, max-age=31536000, immutable"


async def file(call: Call, services: Services) -> Response:
    """A file of the console, gzipped if the browser takes it."""
    del services
    found = asset(call.path_params["name"])
    if found is None:
        raise NotFound
    headers = {"Content-Type": found.media_type, "Vary": "Accept-Encoding"}
    if call.path_params["digest"] == found.digest:
        headers["Cache-Control"] = _FOR_EVER
    if "gzip" not in call.headers.get("accept-encoding", ""):
        return Response(found.content, headers=headers)
    return Response(found.gzipped, headers=headers | {"Content-Encoding": "gzip"})


PAGES: Final = (page_at("/static/{digest}/{name}", file, "File"),)
