"""Maps the core's errors to HTTP in one table; a room shapes only the body.

OutlastError → Problem (status, type, code, message, param) → the room's render_error → response.
"""

import errno
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, TypeAlias

import orjson
import structlog
from starlette.responses import Response
from starlette.types import Scope
from typing_extensions import TypedDict

from outlast.http.access_log import CODE
from outlast.model.error import (
    BodyTooLarge,
    Conflict,
    InvalidField,
    InvalidRequest,
    MissingScope,
    NotFound,
    OutlastError,
    Overloaded,
    PreconditionFailed,
    QuotaExceeded,
    RateLimited,
    Unauthenticated,
    UnsupportedEncoding,
    Upstream,
)
from outlast.model.unreadable import ExecutionUnreadable

STATUS: Final[dict[type[OutlastError], tuple[int, str]]] = {
    InvalidRequest: (400, "invalid_request_error"),
    Unauthenticated: (401, "authentication_error"),
    MissingScope: (403, "permission_error"),
    NotFound: (404, "not_found_error"),
    Conflict: (409, "conflict_error"),
    PreconditionFailed: (412, "conflict_error"),
    BodyTooLarge: (413, "invalid_request_error"),
    UnsupportedEncoding: (415, "invalid_request_error"),
    InvalidField: (422, "validation_error"),
    RateLimited: (429, "rate_limit_error"),
    Upstream: (502, "upstream_error"),
    ExecutionUnreadable: (500, "internal_error"),
    Overloaded: (503, "overloaded_error"),
}
"""Status and type of each branch of the tree; a class has its nearest ancestor's, the rest is
500 without details."""

ERRORS: Final = "/docs/errors"
"""Below it, each code has a page."""
_HEADERS: Final[dict[int, dict[str, str]]] = {
    401: {"WWW-Authenticate": "Bearer"},
    415: {"Accept-Encoding": "identity"},
    429: {"Retry-After": "1"},
    503: {"Retry-After": "1"},
}

_NO_FILES: Final = (errno.EMFILE, errno.ENFILE)
"""Error numbers: the process, or the machine, is out of file descriptors."""

logger = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Problem:
    """An error in terms of HTTP, before a room shapes it."""

    status: int
    type: str
    code: str
    message: str
    param: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    root_path: str = ""
    """Prefix of the server's paths seen from outside, for links."""


class ErrorDetail(TypedDict):
    """What went wrong, for a program (type, code, param) and for a person (message)."""

    type: str
    code: str
    message: str
    param: str | None
    requestId: str


class Error(TypedDict):
    """The answer to a request that failed."""

    error: ErrorDetail


RenderError: TypeAlias = Callable[[Problem, str], Any]
"""(problem, request id) → the body, to be written as JSON."""

_MISTAKE: Final = Problem(500, "internal_error", "internal_error", "The server made a mistake.")
NO_ROUTE: Final = Problem(404, "not_found_error", "not_found", "There is no such route.")


def problem_of(error: Exception) -> Problem:
    """Return the problem for an error; an unexpected one is logged and shows no details."""
    if isinstance(error, OSError) and error.errno in _NO_FILES:
        logger.error("files.spent", exc_info=error)
        error = Overloaded("The server has as many open files as it may have.")
    for kind in type(error).__mro__:
        if kind in STATUS and isinstance(error, OutlastError):
            status, type_ = STATUS[kind]
            if isinstance(error, ExecutionUnreadable):
                logger.error("execution.unreadable", execution=error.execution_id, exc_info=error)
            headers = _headers(error, status)
            return Problem(status, type_, error.code, error.message, error.param, headers)
    logger.error("request.failed", exc_info=error)
    return _MISTAKE


def _headers(error: OutlastError, status: int) -> Mapping[str, str]:
    if isinstance(error, QuotaExceeded):
        return {} if error.retry_after is None else {"Retry-After": str(error.retry_after)}
    return _HEADERS.get(status, {})


def method_problem(allowed: str) -> Problem:
    """Return the problem for a path that exists with other methods."""
    return Problem(
        405,
        "invalid_request_error",
        "method_not_allowed",
        f"This route takes {allowed}.",
        headers={"Allow": allowed},
    )


def error_response(problem: Problem, scope: Scope, render: RenderError) -> Response:
    """Return the problem in a room's shape, with a link to the page of its code.

    The code appears in the access log.
    """
    scope[CODE] = problem.code
    if root := scope.get("root_path"):
        problem = replace(problem, root_path=root)
    return Response(
        orjson.dumps(render(problem, scope.get("outlast.request_id", ""))),
        problem.status,
        {**problem.headers, "Link": f'<{problem.root_path}{ERRORS}/{problem.code}>; rel="help"'},
        "application/json",
    )


def error_object(problem: Problem, request_id: str) -> Error:
    """Return `{"error": {type, code, message, param, requestId}}`, for the rooms under /v1."""
    return {
        "error": {
            "type": problem.type,
            "code": problem.code,
            "message": problem.message,
            "param": problem.param,
            "requestId": request_id,
        }
    }
