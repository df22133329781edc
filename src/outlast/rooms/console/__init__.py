"""The console: pages for people over the same services as the other rooms, at `/console`.

Its pages are rendered here and work without JavaScript. Its stream is a fold over the log into
fragments of HTML. It has no data of its own, and sends no request to itself.
"""

from outlast.http.errors import error_object
from outlast.http.room import Room, Surface
from outlast.http.route import Route
from outlast.metrics import Metrics
from outlast.services.all import Services


def _surface() -> Surface:
    from outlast.rooms.console.routes import PAGES, REQUESTS
    from outlast.rooms.console.routes.page_route import error_page

    return Surface((*PAGES, *REQUESTS), error_object, error_page=error_page)


room = Room("console", ("/console",), _surface)


def routes(services: Services, metrics: Metrics) -> list[Route]:
    """Return the room's routes: pages, opened by a session, and requests, opened by a key."""
    from outlast.rooms.console.routes import PAGES, REQUESTS
    from outlast.rooms.console.routes.page_route import PageRoute

    pages = [PageRoute(endpoint, room, services, metrics) for endpoint in PAGES]
    return [*pages, *(Route(endpoint, room, services, metrics) for endpoint in REQUESTS)]
