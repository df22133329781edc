"""Builds an HTTP tool's request: method, URL, headers and body.

`${NAME}` is filled in from the environment when the tool is called. The value exists in the request
alone: not in the spec, a result, an error or a log.
"""

import re
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from json import dumps
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl, quote, unquote, urlsplit, urlunsplit

import orjson

from outlast.agents.outgoing import environment_proxy
from outlast.agents.port import ToolContext
from outlast.agents.tools.placeholders import (
    VARIABLE,
    Url,
    Variables,
    argument_names,
    fill,
    query_text,
)
from outlast.agents.tools.secrets import Secrets, login_secrets, parameter_secrets, secrets_of
from outlast.model.agent import ENVIRONMENT_PROXY, HttpCall
from outlast.model.error import ToolFailed
from outlast.model.provider import http_url

BODILESS: Final = frozenset({"GET", "DELETE"})
"""Methods without a body; their arguments become the query."""
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
        "outlast-metadata",
        "outlast-session",
        "outlast-user",
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
"""Connection-specific headers (RFC 9110, 7.6.1)."""
_LONGEST: Final = 8000
"""Maximum bytes of a header with context of the execution; servers take 8 KiB."""
_PLAIN: Final = "".join(map(chr, range(0x21, 0x7F))).replace("%", "")


@dataclass(frozen=True, slots=True)
class ToolRequest:
    """A request ready to be sent."""

    method: str
    url: str = field(repr=False)
    shown: str
    """The URL for errors."""
    headers: dict[str, str] = field(repr=False)
    body: bytes | None = field(repr=False)
    secrets: Secrets
    proxy: str | None = field(default=None, repr=False)
    """None: none."""


def tool_request(
    http: HttpCall, arguments: dict[str, Any], context: ToolContext, environ: Mapping[str, str]
) -> ToolRequest:
    """Return a tool's request, filled in.

    Raises ToolFailed if an argument of the path is missing, a variable is not set, or the result
    cannot be sent.
    """
    variables, place = Variables(environ), Url(http.url)
    own = _filled_headers(http.headers, variables)
    parameters, content = _parts(http, arguments, variables)
    url = place.fill(arguments, variables)
    if parameters:
        url += ("&" if "?" in url else "?") + query_text(parameters)
    if problem := _call_problem(url):
        raise ToolFailed(f"The tool's URL cannot be called: {problem}.")
    url, login = _credentials_apart(url)
    variables.secrets |= parameter_secrets(_written_out(place, http))
    if login is not None:
        variables.secrets |= login_secrets(*login)
        own.setdefault("authorization", _basic(*login))
    carried = _carried(context.headers)
    body = None if content is None else orjson.dumps(content)
    headers = carried | own | _context_headers(http, context)
    if body is not None:
        headers["content-type"] = "application/json"
    proxy = _proxy(http, url, variables)
    secrets = secrets_of(variables.secrets, own, carried)
    return ToolRequest(http.method, url, place.shown, headers, body, secrets, proxy)


def _proxy(http: HttpCall, url: str, variables: Variables) -> str | None:
    """Return the proxy's URL; its login becomes a secret. Raises ToolFailed if it is no URL."""
    if http.proxy is None:
        return None
    named = http.proxy != ENVIRONMENT_PROXY
    proxy = Url(http.proxy).fill({}, variables) if named else environment_proxy(url)
    if proxy is None:
        return None
    if (parts := http_url(proxy)) is None:
        whose = "The tool's proxy" if named else "The environment's proxy"
        raise ToolFailed(f"{whose} is no http:// proxy.")
    if parts.username:
        variables.secrets |= login_secrets(unquote(parts.username), unquote(parts.password or ""))
    return proxy


def _parts(
    http: HttpCall, arguments: dict[str, Any], variables: Variables
) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """Return the query besides the URL's own, and the body."""
    if http.query is None and http.body is None and "{" not in http.url:
        return (arguments, None) if http.method in BODILESS else ({}, arguments)
    rest = {key: value for key, value in arguments.items() if key not in set(taken(http))}
    parameters = _chosen(http.query, arguments, variables)
    if http.method in BODILESS:
        return (rest if http.query is None else parameters), None
    if http.body is False:
        return parameters, None
    return parameters, rest if http.body is None else _chosen(http.body, arguments, variables)


def _written_out(place: Url, http: HttpCall) -> list[tuple[str, str]]:
    """Return the query parameters whose values the operator set."""
    pairs = parse_qsl(place.query) if place.query else []
    if isinstance(http.query, Mapping):
        pairs += [(name, value) for name, value in http.query.items() if isinstance(value, str)]
    return [(name, value) for name, value in pairs if "{" not in value]


def _chosen(template: Any, arguments: dict[str, Any], variables: Variables) -> dict[str, Any]:
    """Return the arguments that a list names, or an object with its placeholders filled in."""
    if template is None:
        return {}
    if isinstance(template, Mapping):
        chosen: dict[str, Any] = fill(template, arguments, variables)
        return chosen
    return {name: arguments[name] for name in template if name in arguments}


def taken(http: HttpCall) -> list[str]:
    """Return the arguments that the URL and the query use."""
    query = http.query
    named = list(query) if query and not isinstance(query, Mapping) else argument_names(query)
    return [*argument_names(http.url), *named]


def _context_headers(http: HttpCall, context: ToolContext) -> dict[str, str]:
    """Return the headers that Outlast adds."""
    headers = {
        "idempotency-key": context.tool_call_id,
        "outlast-execution-id": context.execution_id,
    }
    if context.user is not None and "user" in http.send:
        headers["outlast-user"] = quote(context.user, safe=_PLAIN, errors="replace")
    if "metadata" in http.send:
        headers["outlast-metadata"] = _as_header("metadata", context.metadata)
    if "session" in http.send:
        headers["outlast-session"] = _as_header("session", context.session)
    return headers


def _as_header(what: str, value: dict[str, Any]) -> str:
    """Return JSON in ASCII on one line. Raises ToolFailed if it is too long for a header."""
    text = dumps(value, separators=(",", ":"))
    if len(text) > _LONGEST:
        raise ToolFailed(
            f"The execution's {what} is {len(text)} bytes of JSON; a tool is sent {_LONGEST} at "
            "most."
        )
    return text


def _call_problem(url: str) -> str | None:
    """Return why a filled-in URL cannot be called, or None."""
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


def url_problem(url: str) -> str | None:
    """Return why a tool's URL is not valid in an agents file, or None."""
    place = Url(url)
    if list(argument_names(place.prefix)):
        return "an argument fills the path or the query, not the host"
    rest = VARIABLE.sub("1", url)
    if "${" in rest:
        return "a variable is written ${NAME}, of letters, digits and _"
    if VARIABLE.sub("", place.login).strip(":@"):
        return (
            "a user and a password here would be stored in clear; write them as ${NAME}, or set "
            "the header Authorization"
        )
    return None if "://" not in url and url.startswith("${") else _call_problem(rest)


def _credentials_apart(url: str) -> tuple[str, tuple[str, str] | None]:
    """Return the URL without user and password, and these."""
    parts = urlsplit(url)
    login, at, place = parts.netloc.rpartition("@")
    if not at:
        return url, None
    user, _, password = login.partition(":")
    return urlunsplit(parts._replace(netloc=place)), (unquote(user), unquote(password))


def _basic(user: str, password: str) -> str:
    """Return the `Authorization` of a login (RFC 7617)."""
    return f"Basic {b64encode(f'{user}:{password}'.encode()).decode()}"


def header_problem(name: str, value: str) -> str | None:
    """Return why a spec's header cannot be sent, or None. The value is never quoted."""
    if not _NAME.fullmatch(name):
        return "this is not a header's name"
    if name.lower() in _OURS:
        return "this header is written by Outlast; remove it"
    if not _VALUE.fullmatch(value):
        return "a header's value is printable ASCII on one line"
    if "${" in VARIABLE.sub("", value):
        return "a variable is written ${NAME}, of letters, digits and _"
    return None


def forwarded_problem(name: str, value: str) -> str | None:
    """Return why a header cannot be forwarded to a tool, or None. The value is never quoted."""
    if not _NAME.fullmatch(name):
        return "this is not a header's name"
    if not _VALUE.fullmatch(value):
        return "a header's value is printable ASCII on one line"
    return None


def _carried(headers: Mapping[str, str]) -> dict[str, str]:
    """Return the forwarded headers to send with a tool's request."""
    return {
        name.lower(): value for name, value in headers.items() if name.lower() not in _UNFORWARDED
    }


def _filled_headers(headers: Mapping[str, str], variables: Variables) -> dict[str, str]:
    """Return the tool's own headers. Raises ToolFailed naming a header that cannot be sent."""
    filled = {name.lower(): variables.fill(value) for name, value in headers.items()}
    for name, value in filled.items():
        if not _VALUE.fullmatch(value):
            raise ToolFailed(f"The value of the header {name} cannot be sent: not printable ASCII.")
    return filled


def request_not_ready(call: HttpCall, environ: Mapping[str, str]) -> str | None:
    """Return what a request lacks, as the rest of a sentence; None if nothing.

    A variable that the environment does not have, or the file of certificates.
    """
    named: set[str] = set(VARIABLE.findall(repr(asdict(call))))
    if names := sorted(name for name in named if name not in environ):
        where = "in the environment of the process that runs it"
        return f"needs {', '.join(names)} {where}: export {names[0]}=…"
    if call.ca_file is not None and not Path(call.ca_file).is_file():
        return f"needs the certificates of caFile: there is no file {Path(call.ca_file).name}"
    return None
