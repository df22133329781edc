"""The errors of the client, one tree.

OutlastError
├── InvalidField          an argument that cannot be sent
├── Unreachable           the server does not answer
└── Refused               the server answered with an error
    ├── Unauthorized      401, 403: the key is wrong, or lacks a scope
    ├── NotFound          404
    ├── Conflict          409, 412: not in this state, or changed meanwhile
    ├── Invalid           400, 413, 415, 422: the request cannot be right
    └── Overloaded        429, 503: not now
"""

from typing import Any, Final


class OutlastError(Exception):
    """Something went wrong."""

    code: str = "client_error"

    def __init__(self, message: str, *, param: str | None = None) -> None:
        self.message = message
        self.param = param
        """The field or argument that is wrong, if it is one."""
        super().__init__(message)


class InvalidField(OutlastError):
    """An argument has a value that cannot be sent."""

    code = "invalid_field_value"


class Unreachable(OutlastError):
    """The server does not answer."""

    code = "unreachable"


class Refused(OutlastError):
    """The server answered with an error."""

    def __init__(
        self,
        status: int,
        message: str,
        code: str,
        request_id: str | None = None,
        *,
        param: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message, param=param)
        self.status = status
        """The HTTP status."""
        self.code = self.reason = code
        """The API's code, such as `execution_not_found`."""
        self.request_id = request_id
        """What the server's log names the request."""
        self.retry_after = retry_after
        """Seconds that the server asks to wait."""


class Unauthorized(Refused):
    """The key is not valid, or lacks a scope."""


class NotFound(Refused):
    """There is no such thing."""


class Conflict(Refused):
    """The thing is not in a state that allows this, or has changed."""


class Invalid(Refused):
    """The request cannot be right."""


class Overloaded(Refused):
    """The server does not take the request now."""


_NO_KEY: Final = 401
_GIVE_KEY: Final = "This client has no API key: pass key=…, or set OUTLAST_API_KEY."

_KINDS: Final[dict[int, type[Refused]]] = {
    400: Invalid,
    401: Unauthorized,
    403: Unauthorized,
    404: NotFound,
    409: Conflict,
    412: Conflict,
    413: Invalid,
    415: Invalid,
    422: Invalid,
    429: Overloaded,
    503: Overloaded,
}


def refusal(
    status: int, body: dict[str, Any] | None, headers: Any, *, has_key: bool = True
) -> Refused:
    """Return the error of a response; without a key, that of a missing one says how to give it."""
    error = (body or {}).get("error")
    error = error if isinstance(error, dict) else {"message": error}
    message = str(error.get("message") or f"The server answered {status}.")
    is_keyless = status == _NO_KEY and not has_key
    return _KINDS.get(status, Refused)(
        status,
        _GIVE_KEY if is_keyless else message,
        str(error.get("code") or "unknown"),
        error.get("requestId") or headers.get("x-request-id"),
        param=error.get("param"),
        retry_after=_seconds(headers.get("retry-after")),
    )


def _seconds(text: str | None) -> float | None:
    return float(text) if text and text.isdecimal() else None
