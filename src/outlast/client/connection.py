"""Requests and responses of the client, and the errors that it raises."""

from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Final
from urllib.parse import quote

import httpx2
import orjson

from outlast.model.clock import Clock
from outlast.model.error import InvalidField, OutlastError
from outlast.model.text import storable

_CONNECT_SECONDS: Final = 5.0
ANSWER_SECONDS: Final = 60.0
_SILENCE_SECONDS: Final = 45.0
"""A stream sends at least every 15 seconds; after three times that the server is gone."""
FIRST_WAIT: Final = 0.1
LONGEST_WAIT: Final = 5.0
_PASSING: Final = frozenset({429, 502, 503, 504})
_IN_PROGRESS: Final = "request_in_progress"


class Unreachable(OutlastError):
    """The server does not answer."""

    code: ClassVar[str] = "unreachable"


class Refused(OutlastError):
    """The server answered with an error."""

    def __init__(self, status: int, message: str, code: str, request_id: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        """The HTTP status."""
        self.reason = code
        """The API's code, such as `execution_not_found`."""
        self.request_id = request_id


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame of a stream."""

    id: str | None
    """Cursor after this frame."""
    data: dict[str, Any]

    @property
    def type(self) -> str:
        """text_delta, tool_call_start, tool_call_end, retry, done, error and the others."""
        return str(self.data.get("type", ""))


class Connection:
    """One server and one key: sends requests, waits for an unavailable server."""

    def __init__(
        self,
        url: str,
        key: str,
        patience: float,
        clock: Clock,
        transport: httpx2.AsyncBaseTransport | None,
    ) -> None:
        require_ascii(key, "The API key", "key")
        self.clock = clock
        self.patience = patience
        self.url = url.rstrip("/")
        self._http = httpx2.AsyncClient(
            base_url=self.url,
            headers={"Authorization": f"Bearer {key}"} if key else {},
            timeout=httpx2.Timeout(ANSWER_SECONDS, connect=_CONNECT_SECONDS),
            transport=transport,
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def ready(self) -> bool:
        """Return whether the server takes work."""
        try:
            answer = await self._http.get("/readyz")
        except httpx2.TransportError as error:
            raise self._unreachable(error) from error
        return answer.status_code == httpx2.codes.OK

    async def persist(self, method: str, path: str, **request: Any) -> dict[str, Any]:
        """Retry until there is a final response, for at most `patience` seconds."""
        wait, began = FIRST_WAIT, self.clock.monotonic()
        while True:
            try:
                return await self.ask(method, path, **request)
            except (Unreachable, Refused) as error:
                passing = not isinstance(error, Refused) or (
                    error.status in _PASSING or error.reason == _IN_PROGRESS
                )
                if not passing or self.clock.monotonic() - began > self.patience:
                    raise
            await self.clock.sleep(wait)
            wait = min(2 * wait, LONGEST_WAIT)

    async def ask(self, method: str, path: str, **request: Any) -> dict[str, Any]:
        """Send a request once and return the JSON of its response, {} if it has none."""
        for name in ("json", "params"):
            if name in request:
                request[name] = storable(request[name])
        try:
            answer = await self._http.request(method, path, **request)
        except httpx2.TransportError as error:
            raise self._unreachable(error) from error
        if answer.status_code == httpx2.codes.NO_CONTENT:
            return {}
        content = _json(answer.content)
        if not answer.is_success:
            raise _refused(answer.status_code, content, answer.headers)
        if content is None:
            raise Refused(answer.status_code, f"{self.url} did not answer JSON.", "not_json")
        return content

    async def frames(
        self, execution_id: str, after: str | None, *, children: bool = False
    ) -> AsyncGenerator[Frame, None]:
        """Yield the frames of one connection. Raises Unreachable if it breaks or is refused now."""
        headers = {"Accept": "text/event-stream"}
        if after is not None:
            headers["Last-Event-ID"] = after
        path = f"/v1/executions/{segment(execution_id)}/stream"
        sent: dict[str, Any] = {"headers": headers}
        if children:
            sent["params"] = {"children": "true"}
        timeout = httpx2.Timeout(_SILENCE_SECONDS, connect=_CONNECT_SECONDS)
        try:
            async with self._http.stream("GET", path, timeout=timeout, **sent) as answer:
                if answer.status_code in _PASSING:
                    raise Unreachable(f"{self.url} is not ready ({answer.status_code}).")
                if not answer.is_success:
                    raise _refused(answer.status_code, _json(await answer.aread()), answer.headers)
                async for frame in _parse(answer.aiter_bytes()):
                    yield frame
        except httpx2.TransportError as error:
            raise self._unreachable(error) from error

    async def lines(self, path: str) -> AsyncGenerator[dict[str, Any], None]:
        """Yield the JSON objects of a response that has one a line, as they come."""
        timeout = httpx2.Timeout(ANSWER_SECONDS, connect=_CONNECT_SECONDS)
        try:
            async with self._http.stream("GET", path, timeout=timeout) as answer:
                if not answer.is_success:
                    raise _refused(answer.status_code, _json(await answer.aread()), answer.headers)
                rest = b""
                async for chunk in answer.aiter_bytes():
                    *lines, rest = (rest + chunk).split(b"\n")
                    for line in lines:
                        yield orjson.loads(line)
        except httpx2.TransportError as error:
            raise self._unreachable(error) from error

    def _unreachable(self, error: Exception) -> Unreachable:
        return Unreachable(f"{self.url} does not answer: {str(error) or type(error).__name__}.")


async def _parse(chunks: AsyncIterator[bytes]) -> AsyncGenerator[Frame, None]:
    """Parse server-sent events (WHATWG HTML standard); an incomplete frame is dropped."""
    rest = b""
    cursor: str | None = None
    data: list[bytes] = []
    async for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            name, _, value = line.removesuffix(b"\r").partition(b":")
            value = value.removeprefix(b" ")
            if name == b"id":
                cursor = value.decode()
            elif name == b"data":
                data.append(value)
            elif not name and not value and data:
                content = _json(b"\n".join(data))
                data = []
                if content is not None:
                    yield Frame(cursor, content)


def _json(content: bytes) -> dict[str, Any] | None:
    try:
        value = orjson.loads(content)
    except orjson.JSONDecodeError:
        return None
    return value if isinstance(value, dict) else None


def _refused(status: int, content: dict[str, Any] | None, headers: Mapping[str, str]) -> Refused:
    error = (content or {}).get("error")
    error = error if isinstance(error, dict) else {"message": error}
    message = error.get("message") or f"The server answered {status}."
    request_id = error.get("requestId") or headers.get("x-request-id")
    return Refused(status, str(message), str(error.get("code") or "unknown"), request_id)


def segment(text: str) -> str:
    """Return the text as one segment of a path."""
    return quote(storable(text), safe="")


def require_ascii(text: str, what: str, param: str) -> None:
    """Raise InvalidField for a header that is not printable ASCII."""
    if not text.isascii() or not text.isprintable():
        raise InvalidField(f"{what} contains a character that is not ASCII.", param=param)
