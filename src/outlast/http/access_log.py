"""The access log: one line per request with route, key, status and duration.

Paths hold ids and names, queries hold tickets: the line shows the route's template, and the path
only if no route matches.
"""

from collections.abc import Iterable
from typing import Any, Final, TypeAlias

from starlette.types import Scope

from outlast.http.prefix import route_path
from outlast.logs import Level, hide, line

KEY: Final = "outlast.key_id"
"""In the request's scope: the id of the API key."""
CODE: Final = "outlast.code"
"""In the request's scope: the code of the error in the response."""

Headers: TypeAlias = Iterable[tuple[bytes, bytes]]

_EXECUTION_ID: Final = b"x-execution-id"
_QUIET: Final = frozenset({"/healthz", "/readyz", "/metrics"})
"""Paths that monitoring calls every few seconds."""
_FAILED: Final = 400
_BROKEN: Final = 500
_LONGEST: Final = 200


def log_request(
    scope: Scope, request_id: str, status: int, seconds: float, headers: Headers
) -> None:
    """Log a request once it was answered, a stream when it ends.

    headers: the response's, as in ASGI.
    """
    level = _level(route_path(scope), status)
    line(level, "request.answered", _fields, scope, request_id, status, seconds, headers)


def _fields(
    scope: Scope, request_id: str, status: int, seconds: float, headers: Headers
) -> dict[str, Any]:
    fields: dict[str, Any] = {"method": scope["method"]}
    route = scope.get("route")
    if route is None:
        fields["path"] = _shown(route_path(scope))
    else:
        fields["route"] = route.path
    fields["status"], fields["ms"] = status, round(seconds * 1000, 1)
    if (code := scope.get(CODE)) is not None:
        fields["code"] = code
    if (key_id := scope.get(KEY)) is not None:
        fields["key_id"] = key_id
    fields["request"] = request_id if request_id.startswith("req_") else hide(request_id)
    if execution := _execution(scope, headers):
        fields["execution"] = execution if execution.startswith("exec_") else _shown(execution)
    return fields


def _execution(scope: Scope, headers: Headers) -> str | None:
    """Return the execution that the path names, else the one that the response names."""
    named: str | None = scope.get("path_params", {}).get("executionId")
    if named is not None:
        return named
    return next((value.decode() for name, value in headers if name == _EXECUTION_ID), None)


def _shown(text: str) -> str:
    """Return a path as sent by a client, fit for the log."""
    return hide(text[:_LONGEST])


def _level(path: str, status: int) -> Level:
    if status >= _BROKEN:
        return "warning"
    return "debug" if path in _QUIET and status < _FAILED else "info"
