"""Requests and responses of the client; `outlast_client.blocking` is made from this package."""

from collections.abc import AsyncGenerator
from copy import copy
from typing import TYPE_CHECKING, Any, Final, Self

import orjson

from outlast_client.clock import Clock
from outlast_client.errors import Refused, Unreachable, refusal
from outlast_client.frames import Frame, FrameParser
from outlast_client.wire import RawResponse, json_of, require_ascii, segment, sendable

if TYPE_CHECKING:
    import httpx2

_CONNECT_SECONDS: Final = 5.0
ANSWER_SECONDS: Final = 60.0
_SILENCE_SECONDS: Final = 45.0
"""A stream sends at least every 15 seconds; after three times that the server is gone."""
FIRST_WAIT: Final = 0.1
LONGEST_WAIT: Final = 5.0
_PASSING: Final = frozenset({429, 502, 503, 504})
_IN_PROGRESS: Final = "request_in_progress"
_NO_CONTENT: Final = 204
_RESET: Final = "getpeername"
"""What anyio misses on uvloop in a connection that is reset while it is made."""
_SAFE: Final = frozenset({"GET"})
"""Methods that change nothing: a failed request is sent again."""


class Connection:
    """One server and one key: sends requests, waits for an unavailable server."""

    def __init__(
        self,
        url: str,
        key: str,
        patience: float,
        clock: Clock,
        transport: "httpx2.AsyncBaseTransport | None",
        *,
        retries: int = 0,
        timeout: float = ANSWER_SECONDS,
    ) -> None:
        import httpx2  # half of what importing the client would cost

        require_ascii(key, "The API key", "key")
        self.clock = clock
        self.patience = patience
        self.retries = retries
        self.url = url.rstrip("/")
        self.timeout = timeout
        self.last: RawResponse | None = None
        """The last response that was read whole."""
        self._lost = (httpx2.TransportError, AttributeError)
        self._http = httpx2.AsyncClient(
            base_url=self.url,
            headers={"Authorization": f"Bearer {key}"} if key else {},
            timeout=_bounds(timeout),
            transport=transport,
        )

    def with_options(
        self,
        timeout: float | None = None,
        retries: int | None = None,
        patience: float | None = None,
    ) -> Self:
        """Return this one with other bounds, over the same connections; None leaves one as it is.

        It has no last response.
        """
        made = copy(self)
        made.last = None
        made.timeout = self.timeout if timeout is None else timeout
        made.retries = self.retries if retries is None else retries
        made.patience = self.patience if patience is None else patience
        return made

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def ready(self) -> bool:
        """Return whether the server takes work."""
        try:
            answer = await self._http.get("/readyz")
        except self._lost as error:
            raise self._unreachable(error) from error
        return bool(answer.is_success)

    async def persist(self, method: str, path: str, **request: Any) -> Any:
        """Retry until there is a final response, for at most `patience` seconds."""
        wait, began = FIRST_WAIT, self.clock.monotonic()
        while True:
            try:
                return await self._send(method, path, **request)
            except (Unreachable, Refused) as error:
                passing = not isinstance(error, Refused) or (
                    error.status in _PASSING or error.reason == _IN_PROGRESS
                )
                if not passing or self.clock.monotonic() - began > self.patience:
                    raise
            await self.clock.sleep(wait)
            wait = min(2 * wait, LONGEST_WAIT)

    async def ask(self, method: str, path: str, **request: Any) -> Any:
        """Send a request and return the JSON of its response, {} if it has none.

        One that changes nothing is sent up to `retries` times more while the server is away.
        """
        wait = FIRST_WAIT
        for _ in range(self.retries if method in _SAFE else 0):
            try:
                return await self._send(method, path, **request)
            except (Unreachable, Refused) as error:
                if isinstance(error, Refused) and error.status not in _PASSING:
                    raise
                pause = getattr(error, "retry_after", None)
            await self.clock.sleep(min(pause or wait, LONGEST_WAIT))
            wait = min(2 * wait, LONGEST_WAIT)
        return await self._send(method, path, **request)

    async def _send(self, method: str, path: str, **request: Any) -> dict[str, Any]:
        for name in ("json", "params"):
            if name in request:
                request[name] = sendable(request[name])
        request.setdefault("timeout", _bounds(self.timeout))
        try:
            answer = await self._http.request(method, path, **request)
        except self._lost as error:
            raise self._unreachable(error) from error
        self.last = RawResponse(answer.status_code, answer.headers, answer.content)
        if answer.status_code == _NO_CONTENT:
            return {}
        content = json_of(answer.content)
        if not answer.is_success:
            raise self._refusal(answer, content)
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
        timeout = (_CONNECT_SECONDS, _SILENCE_SECONDS, ANSWER_SECONDS, ANSWER_SECONDS)
        try:
            async with self._http.stream("GET", path, timeout=timeout, **sent) as answer:
                if answer.status_code in _PASSING:
                    raise Unreachable(f"{self.url} is not ready ({answer.status_code}).")
                if not answer.is_success:
                    raise self._refusal(answer, json_of(await answer.aread()))
                parser = FrameParser()
                async for chunk in answer.aiter_bytes():
                    for frame in parser.feed(chunk):
                        yield frame
        except self._lost as error:
            raise self._unreachable(error) from error

    async def lines(self, path: str) -> AsyncGenerator[dict[str, Any], None]:
        """Yield the JSON objects of a response that has one a line, as they come."""
        timeout = _bounds(ANSWER_SECONDS)
        try:
            async with self._http.stream("GET", path, timeout=timeout) as answer:
                if not answer.is_success:
                    raise self._refusal(answer, json_of(await answer.aread()))
                rest = b""
                async for chunk in answer.aiter_bytes():
                    *lines, rest = (rest + chunk).split(b"\n")
                    for line in lines:
                        yield orjson.loads(line)
        except self._lost as error:
            raise self._unreachable(error) from error

    async def content(self, path: str) -> bytes:
        """Return the bytes of a response that is no JSON."""
        try:
            answer = await self._http.get(path, timeout=_bounds(self.timeout))
        except self._lost as error:
            raise self._unreachable(error) from error
        self.last = RawResponse(answer.status_code, answer.headers, answer.content)
        if not answer.is_success:
            raise self._refusal(answer, json_of(answer.content))
        return bytes(answer.content)

    def _refusal(self, answer: "httpx2.Response", content: dict[str, Any] | None) -> Refused:
        has_key = "authorization" in self._http.headers
        return refusal(answer.status_code, content, answer.headers, has_key=has_key)

    def _unreachable(self, error: Exception) -> Unreachable:
        """Return what is raised for a lost connection; a mistake in the code is raised as it is."""
        cause = str(error).rstrip(".") or type(error).__name__
        if isinstance(error, AttributeError):
            if error.name != _RESET:
                raise error
            cause = "the connection was reset"
        return Unreachable(f"{self.url} does not answer: {cause}.")


def _bounds(seconds: float) -> tuple[float, float, float, float]:
    """Return how long a request may connect, wait for bytes, send them, wait for a connection."""
    return (min(seconds, _CONNECT_SECONDS), seconds, seconds, seconds)
