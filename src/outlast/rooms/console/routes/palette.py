"""The palette: screens, agents and ids to go to, by what is typed."""

from typing import Final
from urllib.parse import urlencode

from starlette.responses import Response

from outlast.http.call import Call
from outlast.model.error import InvalidId
from outlast.model.ids import AGENT, CONVERSATION, EXECUTION, KEY, MEMORY, SCHEDULE, parse
from outlast.model.workspace import Scope
from outlast.rooms.console.render.page import page
from outlast.rooms.console.render.screens import SCREENS, Screen
from outlast.rooms.console.routes.endpoints import ANY_KEY, page_at
from outlast.services.all import Services
from outlast.services.executions import Page

_PLACES: Final = {
    EXECUTION: "/executions",
    CONVERSATION: "/conversations",
    AGENT: "/agents",
    SCHEDULE: "/schedules",
    MEMORY: "/memory",
    KEY: "/system/keys",
}
"""Where the things of an id are."""
_MOST: Final = 8
_AGENTS: Final = 100
_LONGEST: Final = 200


async def palette(call: Call, services: Services) -> Response:
    """What fits the words, the likeliest first."""
    text = call.query_params.get("q", "").strip()[:_LONGEST]
    found: list[tuple[str, str, str]] = []
    if place := _place(text):
        found.append(("search", text, place))
    word, scopes = text.lower(), call.principal.scopes
    found += [(one.icon, one.name, one.path) for one in SCREENS if _fits(one, word, scopes)]
    if word and Scope.AGENTS_READ in scopes:
        agents, _ = await services.agents.page(call.principal, Page(_AGENTS))
        names = sorted(one.spec.name for one in agents if word in one.spec.name.lower())
        found += [("bot", name, f"/agents/{name}") for name in names[:_MOST]]
    if word and Scope.EXECUTIONS_READ in scopes:
        found.append(("list", f"Executions: {text}", "/executions?" + urlencode({"q": text})))
    return page(call, "palette.html", found=found)


def _fits(screen: Screen, word: str, scopes: frozenset[Scope]) -> bool:
    return word in screen.name.lower() and (screen.scope is None or screen.scope in scopes)


def _place(text: str) -> str:
    """Return the path of what an id names; empty if it is none."""
    prefix = text.partition("_")[0]
    if prefix not in _PLACES:
        return ""
    try:
        return f"{_PLACES[prefix]}/{parse(prefix, text)}"
    except InvalidId:
        return ""


PAGES: Final = (page_at("/palette", palette, "Palette", scope=ANY_KEY),)
