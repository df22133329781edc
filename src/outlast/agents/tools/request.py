"""What an HTTP tool's request says: its URL, and headers whose `${NAME}` the environment fills in.

They are filled in when the tool is called. The value lives in the request alone: not in the spec,
not in an error, not in a log.
"""

import re
from base64 import b64encode
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Final
from urllib.parse import unquote, urlsplit, urlunsplit

from outlast.model.agent import HttpCall
from outlast.model.error import ToolFailed

_VARIABLE: Final = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
"""RFC 9110, 5.1: a token."""
_VALUE: Final = re.compile(r"[\t\x20-\x7e]*")
"""RFC 9110, 5.5, without the obsolete octets."""
_OURS: Final = frozenset(
    {
        "connection",
        "content-length",
        "content-type",
        "idempotency-key",
        "outlast-execution-id",
        "transfer-encoding",
    }
)
_UNFORWARDED: Final = _OURS | {
    "accept",
    "accept-encoding",
    "expect",
    "host",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "upgrade",
}
"""Headers of the connection that they came over, and not of the message (RFC 9110, 7.6.1)."""
_TELLING: Final = 6
"""A forwarded value of fewer characters is no secret: blotting it out would only garble."""
_HIDDEN: Final = "***"


def url_problem(url: str) -> str | None:
    """Why a tool's URL cannot be called, or None."""
    if "${" in url:
        return "variables are filled in in header values only"
    if not _VALUE.fullmatch(url) or " " in url:
        return "a URL is printable ASCII without spaces"
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return "this is not a URL"
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        return "a tool's URL begins with http:// or https:// and a host"
    return None


def address(url: str) -> str:
    """The URL as an error may show it: without user, password and query."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def credentials_apart(url: str) -> tuple[str, str | None]:
    """The URL without its user and password, and the `Authorization` that they make (RFC 7617)."""
    parts = urlsplit(url)
    login, at, place = parts.netloc.rpartition("@")
    if not at:
        return url, None
    user, _, password = login.partition(":")
    pair = f"{unquote(user)}:{unquote(password)}".encode()
    return urlunsplit(parts._replace(netloc=place)), f"Basic {b64encode(pair).decode()}"


def header_problem(name: str, value: str) -> str | None:
    """Why a spec's header cannot be sent, or None. The value is never quoted."""
    if not _NAME.fullmatch(name):
        return "this is not a header's name"
    if name.lower() in _OURS:
        return "this header is written by Outlast; remove it"
    if not _VALUE.fullmatch(value):
        return "a header's value is printable ASCII on one line"
    if "${" in _VARIABLE.sub("", value):
        return "a variable is written ${NAME}, of letters, digits and _"
    return None


def forwarded_problem(name: str, value: str) -> str | None:
    """Why a header cannot be forwarded to a tool, or None. The value is never quoted."""
    if not _NAME.fullmatch(name):
        return "this is not a header's name"
    if not _VALUE.fullmatch(value):
        return "a header's value is printable ASCII on one line"
    return None


def forwarded(headers: Mapping[str, str]) -> tuple[dict[str, str], frozenset[str]]:
    """The headers that a tool's request carries along, and the values that no error may show."""
    carried = {
        name.lower(): value for name, value in headers.items() if name.lower() not in _UNFORWARDED
    }
    return carried, frozenset(value for value in carried.values() if len(value) >= _TELLING)


def expand(
    headers: Mapping[str, str], environ: Mapping[str, str]
) -> tuple[dict[str, str], frozenset[str]]:
    """The headers with their variables filled in, and the values that came from the environment.

    Raises ToolFailed naming the variable that is missing, or the header whose value cannot be sent.
    """
    secrets: set[str] = set()

    def fill(match: re.Match[str]) -> str:
        value = environ.get(match[1])
        if value is None:
            raise ToolFailed(
                f"The environment variable {match[1]}, which this tool needs, is not set."
            )
        value = value.strip()
        secrets.add(value)
        return value

    filled = {name.lower(): _VARIABLE.sub(fill, value) for name, value in headers.items()}
    for name, value in filled.items():
        if not _VALUE.fullmatch(value):
            raise ToolFailed(f"The value of the header {name} cannot be sent: not printable ASCII.")
    return filled, frozenset(secrets - {""})


def unset_variables(call: HttpCall, environ: Mapping[str, str]) -> list[str]:
    """The variables that a tool's request names and that the environment does not have."""
    named: set[str] = set(_VARIABLE.findall(repr(asdict(call))))
    return sorted(name for name in named if name not in environ)


def hide(text: str, secrets: Iterable[str]) -> str:
    """The text with every secret in it blotted out."""
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, _HIDDEN)
    return text
