"""Who may open a page: the request's host and origin, and the cookie of its session.

A page of another site can neither send a form here (`Sec-Fetch-Site`, else `Origin`, tells) nor
read a page by a DNS name that it has pointed at this machine (`Host` tells).
"""

from ipaddress import ip_address
from typing import Final
from urllib.parse import urlsplit

from starlette.responses import Response

from outlast.http.call import Call
from outlast.http.prefix import route_path
from outlast.model.error import InvalidRequest, MissingScope
from outlast.rooms.console.render.frame import (
    PREFERENCES,
    ROOT,
    host_of,
    is_secure,
    port_of,
    preference_cookie,
)
from outlast.services.sessions import SESSION_SECONDS
from outlast.settings import Settings

_OWN: Final = ("same-origin", "none")
_LOCAL: Final = "localhost"
_CSP: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS: Final = {
    "Content-Security-Policy": _CSP,
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Opener-Policy": "same-origin",
}
"""Of every answer of the console."""
_YEAR: Final = 365 * 24 * 60 * 60


def require_own_host(call: Call) -> None:
    """Raise InvalidRequest unless the request names this server.

    An IP address is never foreign: only a DNS name can be pointed at another's machine.
    """
    settings: Settings = call.app.state.settings
    try:
        name = host_of(call).hostname or ""
    except ValueError as error:
        raise InvalidRequest("The request's host cannot be read.") from error
    known = (settings.host, urlsplit(settings.public_url).hostname, _LOCAL)
    if not name or not (name in known or name.endswith(f".{_LOCAL}") or _is_address(name)):
        raise InvalidRequest(
            "The console is not served under this host name. If it is the server's own, set "
            "OUTLAST_PUBLIC_URL to its URL."
        )


def require_own_origin(call: Call) -> None:
    """Raise MissingScope unless one of the console's pages has sent the request."""
    site, origin = call.headers.get("sec-fetch-site"), call.headers.get("origin")
    if site is not None:
        own = site in _OWN
    else:
        own = origin is not None and urlsplit(origin).netloc == call.headers.get("host")
    if not own:
        raise MissingScope("This form was sent by a page of another site.")


def is_own_navigation(call: Call) -> bool:
    """Whether the reader, or one of the console's pages, has opened this address."""
    return call.headers.get("sec-fetch-site") in _OWN


def secure(response: Response) -> Response:
    """Add the headers of every page; an image has a stricter policy of its own."""
    for name, value in (*HEADERS.items(), ("Cache-Control", "no-store")):
        response.headers.setdefault(name, value)
    return response


# --- cookies


def session_of(call: Call) -> str:
    """Return the sealed session in the request's cookie; empty if there is none."""
    return call.cookies.get(_session_name(call), "")


def keep_session(call: Call, response: Response, sealed: str) -> None:
    """Set the cookie of a session; an empty one removes it."""
    seconds = SESSION_SECONDS if sealed else 0
    _keep(call, response, _session_name(call), sealed, seconds)


def keep_preference(call: Call, response: Response, name: str, value: str) -> None:
    """Set the cookie of a preference; a value that is none removes it."""
    kept = value if value in PREFERENCES[name] else ""
    _keep(call, response, preference_cookie(call, name), kept, _YEAR if kept else 0)


def _keep(call: Call, response: Response, name: str, value: str, seconds: int) -> None:
    response.set_cookie(
        name,
        value,
        max_age=seconds,
        path=call.link(ROOT),
        secure=is_secure(call),
        httponly=True,
        samesite="lax",
    )


def _session_name(call: Call) -> str:
    name = f"outlast_{port_of(call)}"
    return f"__Secure-{name}" if is_secure(call) else name


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


# --- where to go after signing in


def next_page(text: str) -> str:
    """Return a path below the console that a link may name; else that of its first page."""
    inside = text == ROOT or text.startswith((ROOT + "/", ROOT + "?"))
    sane = text.isascii() and text.isprintable() and "\\" not in text and "//" not in text
    return text if inside and sane and ".." not in text else ROOT


def this_page(call: Call) -> str:
    """Return the request's own path and query, to come back to."""
    query = call.url.query
    return route_path(call.scope) + (f"?{query}" if query else "")


def page_of_piece(call: Call) -> str:
    """Return path and query of the page that has requested a piece; empty if it does not say."""
    try:
        shown = urlsplit(call.headers.get("hx-current-url", ""))
    except ValueError:
        return ""
    path = shown.path.removeprefix(call.link(""))
    return path + (f"?{shown.query}" if shown.query else "")
