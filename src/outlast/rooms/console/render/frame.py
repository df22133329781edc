"""What every page shows around itself: its root, its theme, who is signed in."""

from typing import Any, Final
from urllib.parse import SplitResult, urlsplit

from outlast.http.call import Call
from outlast.http.prefix import route_path
from outlast.rooms.console.render.assets import address
from outlast.services.sessions import Session
from outlast.settings import Settings

ROOT: Final = "/console"
SESSION: Final = "outlast.console_session"
"""In the request's scope: the session of a page that has one."""
PREFERENCES: Final = {"theme": ("light", "dark"), "times": ("utc",), "keyboard": ("off",)}
"""What a reader may choose, kept in cookies; anything else is as usual."""
_PORTS: Final = {"http": 80, "https": 443}
_LOOK: Final = 1 / 6
"""How much of `takeover_seconds` may pass until the leader sees that a worker is silent."""
_LEADER_SECONDS: Final = 3.0
"""How long it may take until there is a leader, if that was lost too."""


def frame_of(call: Call) -> dict[str, Any]:
    """Return what every template needs of the request."""
    root = call.link(ROOT)
    session: Session | None = call.scope.get(SESSION)
    return {
        "root": root,
        "static": lambda name: root + address(name),
        **{name: chosen(call, name) for name in PREFERENCES},
        "session": session,
        "path": route_path(call.scope).removeprefix(ROOT),
        "may": frozenset() if session is None else session.principal.scopes,
        "takeover": _takeover_millis(call.app.state.settings),
    }


def _takeover_millis(settings: Settings) -> int:
    """Return in which time another process goes on with what a lost one ran; 0: there is none."""
    if not settings.on_postgres:
        return 0
    return round(1000 * (settings.takeover_seconds * (1 + _LOOK) + _LEADER_SECONDS))


def chosen(call: Call, name: str) -> str:
    """Return what the reader has chosen; empty: as usual."""
    found = call.cookies.get(preference_cookie(call, name), "")
    return found if found in PREFERENCES[name] else ""


def preference_cookie(call: Call, name: str) -> str:
    """Return the name of a preference's cookie."""
    return f"outlast_{name}_{port_of(call)}"


def port_of(call: Call) -> int:
    """Return the port that the browser uses; cookies know none, so their names have it."""
    try:
        port = host_of(call).port
    except ValueError:
        port = None
    return port or _PORTS["https" if is_secure(call) else "http"]


def is_secure(call: Call) -> bool:
    """Whether the browser uses HTTPS, here or up to a proxy."""
    settings: Settings = call.app.state.settings
    public = urlsplit(settings.public_url)
    return call.scope["scheme"] == "https" or (
        public.scheme == "https" and public.netloc == call.headers.get("host")
    )


def host_of(call: Call) -> SplitResult:
    """Return host and port of the request. Raises ValueError."""
    return urlsplit("//" + call.headers.get("host", ""))
