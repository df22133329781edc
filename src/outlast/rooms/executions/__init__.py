"""The main API: run an agent on an input, follow, list and cancel; conversations; agents."""

from typing import Final

from outlast.http.errors import error_object
from outlast.http.room import Room, Surface

_PREFIXES: Final = ("/v1/agents", "/v1/executions", "/v1/conversations", "/v1")


def _surface() -> Surface:
    from outlast.rooms.executions.routes import ENDPOINTS
    from outlast.rooms.executions.stream import Fold

    return Surface(ENDPOINTS, error_object, fold=Fold)


room = Room("executions", _PREFIXES, _surface)
