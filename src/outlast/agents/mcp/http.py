"""MCP over HTTP through our own connections, which decide what addresses may be dialled.

What goes wrong with one request is answered as a JSON-RPC error with one of the codes below: the
SDK ends the connection, and with it all other calls, when its client raises.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator
from typing import Final

import aiohttp
import httpx2
import orjson

from outlast.agents.dial import AddressRefused
from outlast.agents.outgoing import Outgoing, abort, trust
from outlast.model.error import Misconfigured, ToolFailed

NOT_SENT: Final = -32_901
"""The server could not be reached: the request was not sent."""
LOST: Final = -32_902
"""The connection was lost: whether the server has acted is unknown."""
FORGOTTEN: Final = -32_903
"""The server does not know the session: it has not acted."""
REFUSED: Final = -32_904
"""The server answered with another HTTP status than success; `data` is the status."""
MAX_BYTES: Final = 16_777_216
"""Maximum bytes of one answer or event."""
_ERROR_BYTES: Final = 8_192
_SHOWN: Final = 300
_SESSION: Final = "mcp-session-id"
_NOT_FOUND: Final = frozenset({400, 404})
_OURS: Final = frozenset({"accept-encoding", "connection", "content-length", "host", "user-agent"})
_JSON: Final = {"content-type": "application/json"}


class HttpTransport(httpx2.AsyncBaseTransport):
    """Sends an SDK's requests over connections that are shared with other servers."""

    def __init__(
        self, outgoing: Outgoing, proxy: str | None = None, ca_file: str | None = None
    ) -> None:
        self._outgoing = outgoing
        self._proxy = proxy
        self._ca_file = ca_file
        self._trusted: ssl.SSLContext | None = None
        self.is_forgotten = False
        """Whether the server has said that it does not know the session."""
        self.status: int | None = None
        """The last HTTP status that was no success."""

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        body = await request.aread() or None
        headers = {name: value for name, value in request.headers.items() if name not in _OURS}
        repeatable = request.method != "POST"
        try:
            if self._ca_file is not None and self._trusted is None:
                self._trusted = await asyncio.to_thread(trust, self._ca_file)
            answer = await self._outgoing.request(
                request.method,
                str(request.url),
                body,
                headers,
                repeatable=repeatable,
                proxy=self._proxy,
                trusted=self._trusted,
            )
        except Misconfigured:
            return _failure(NOT_SENT, "the certificates of its caFile cannot be read")
        except (aiohttp.ClientError, OSError, ToolFailed, ValueError) as error:
            return _failure(*_cause(error))
        if answer.status < 400:  # noqa: PLR2004  RFC 9110, 15.5
            return httpx2.Response(answer.status, headers=_headers(answer), stream=_Body(answer))
        return await self._refusal(request, answer)

    async def _refusal(
        self, request: httpx2.Request, answer: aiohttp.ClientResponse
    ) -> httpx2.Response:
        """Return the server's own JSON-RPC error if it has sent one, else an error of ours."""
        self.status = answer.status
        try:
            text = await _beginning(answer)
        finally:
            abort(answer)
        in_session = _SESSION in request.headers
        if in_session and answer.status in _NOT_FOUND and _is_of_session(answer.status, text):
            self.is_forgotten = True
            return _failure(FORGOTTEN, "the session is not known")
        if _is_error(text):
            return httpx2.Response(answer.status, headers=_JSON, content=text)
        shown = text.decode(errors="replace").strip()[:_SHOWN]
        said = f"answered {answer.status}" + (f": {shown}" if shown else "")
        return _failure(REFUSED, said, answer.status)


class _Body(httpx2.AsyncByteStream):
    """The body of an answer; one in JSON is bounded, of a stream the SDK bounds each event."""

    def __init__(self, answer: aiohttp.ClientResponse) -> None:
        self._answer = answer
        kind = answer.headers.get("content-type", "")
        self._left = None if kind.lower().startswith("text/event-stream") else MAX_BYTES

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for chunk in self._answer.content.iter_any():
                if self._left is not None:
                    self._left -= len(chunk)
                    if self._left < 0:
                        raise httpx2.StreamError(f"the answer is larger than {MAX_BYTES} bytes")
                yield chunk
        except (aiohttp.ClientError, OSError, EOFError) as error:
            raise httpx2.StreamError("the connection was lost") from error

    async def aclose(self) -> None:
        abort(self._answer)


def _cause(error: Exception) -> tuple[int, str]:
    if isinstance(error, aiohttp.ClientConnectorError):
        refused = isinstance(error.os_error, AddressRefused)
        way = " through its proxy" if isinstance(error, aiohttp.ClientProxyConnectionError) else ""
        return NOT_SENT, str(error.os_error) if refused else f"could not be reached{way}"
    if isinstance(error, aiohttp.ClientHttpProxyError):
        return NOT_SENT, f"its proxy answered {error.status}"
    if isinstance(error, ValueError):  # aiohttp.InvalidURL is one; its words quote the URL
        return NOT_SENT, "the request could not be written"
    return LOST, "the connection was lost"


def _failure(code: int, message: str, data: object = None) -> httpx2.Response:
    error = {"code": code, "message": message, "data": data}
    body = orjson.dumps({"jsonrpc": "2.0", "id": None, "error": error})
    return httpx2.Response(502, headers=_JSON, content=body)


def _headers(answer: aiohttp.ClientResponse) -> list[tuple[str, str]]:
    """Return the headers without the encoding, which has been undone."""
    return [
        (name, value)
        for name, value in answer.headers.items()
        if name.lower() != "content-encoding"
    ]


async def _beginning(answer: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    try:
        async for chunk in answer.content.iter_any():
            body += chunk
            if len(body) >= _ERROR_BYTES:
                break
    except (aiohttp.ClientError, OSError, EOFError):
        pass  # what has come is shown
    return bytes(body[:_ERROR_BYTES])


def _is_error(text: bytes) -> bool:
    try:
        found = orjson.loads(text)
    except orjson.JSONDecodeError:
        return False
    error = found.get("error") if isinstance(found, dict) else None
    return isinstance(error, dict) and isinstance(error.get("code"), int) and "message" in error


def _is_of_session(status: int, text: bytes) -> bool:
    """Whether an error is about the session: 404 by the specification; some servers write 400."""
    return status == 404 or b"session" in text.lower()  # noqa: PLR2004
