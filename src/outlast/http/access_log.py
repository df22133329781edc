"""A line of the log for each request: what was called, by which key, the status, how long it took.

Paths hold ids and names, queries hold tickets: the line shows the route's template, and the path
only where no route has it.
"""

from collections.abc import Iterable
from typing import Any, Final, TypeAlias

from starlette.types import Scope

from outlast.http.prefix import route_path
from outlast.logs import Level, hide, line

KEY: Final = "outlast.key_id"
"""In the request's scope: the id of the API key."""
CODE: Final = "outlast.code"
"""In the request's scope: the code of the error that it was answered with."""

Headers: TypeAlias = Iterable[tuple[bytes, bytes]]

_EXECUTION_ID: Final = b"x-execution-id"
_QUIET: Final = frozenset({"/healthz", "/readyz", "/metrics"})
"""What monitoring calls every few seconds."""
_FAILED: Final = 400
_BROKEN: Final = 500
_LONGEST: Final = 200


def log_request(
    scope: Scope, request_id: str, status: int, seconds: float, headers: Headers
) -> None:
    """Write the line of a request that was answered, a stream's when it ends.

    headers: the answer's, as ASGI has them.
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
    """The execution that the path names, else the one that the answer does."""
    named: str | None = scope.get("path_params", {}).get("executionId")
    if named is not None:
        return named
    return next((value.decode() for name, value in headers if name == _EXECUTION_ID), None)


def _shown(text: str) -> str:
    """What a client wrote into a path."""
    return hide(text[:_LONGEST])


def _level(path: str, status: int) -> Level:
    if status >= _BROKEN:
        return "warning"
    return "debug" if path in _QUIET and status < _FAILED else "info"
