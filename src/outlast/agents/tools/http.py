"""HTTP tools: the arguments are sent as the tool's request defines, the response is the result.

A call is retried only if that is safe: after a 429 or 5xx, or a lost connection, if the tool's
effect may be repeated (each time with the same `Idempotency-Key`); otherwise only if no connection
was ever made. Redirects are not followed, and a proxy is used only where the operator names one for
the tool: without one, the address that is dialled is the one the tool names.

One place decides which addresses may be dialled: the connector, whose factory the constructor
takes. A `TCPConnector(socket_factory=…)` makes a socket for each address that is dialled, after
DNS, and refuses one by raising OSError; an `AbstractResolver` sees names only, since a URL with a
bare address never reaches it.
"""

import asyncio
import re
import ssl
from codecs import BOM_UTF8
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

import aiohttp
import orjson
from aiohttp.http_exceptions import ContentEncodingError

from outlast.agents.dial import AddressRefused
from outlast.agents.outgoing import Outgoing, abort, trust
from outlast.agents.port import ToolContext
from outlast.agents.tools.charsets import CHARSETS
from outlast.agents.tools.request import ToolRequest, tool_request
from outlast.model.agent import HttpCall, ToolSpec
from outlast.model.clock import Clock
from outlast.model.error import Misconfigured, ToolFailed, ToolTimeout
from outlast.model.text import read_json, storable
from outlast.model.whole_number import beyond_64_bits

_FIRST_PAUSE: Final = 0.2
_LONGEST_PAUSE: Final = 5.0
_SHOWN: Final = 500
"""Characters of an error's body that are shown to the model."""
_SHOWN_NAME: Final = 40
_ERROR_BYTES: Final = 8192
_LOST = (aiohttp.ClientError, TimeoutError, OSError, EOFError)
_TOO_MANY: Final = 429
_SERVER_S: Final = 500
_UNKNOWN = "It is not known whether the call had its effect."


@dataclass(frozen=True, slots=True)
class _Call:
    """What is the same for all attempts of one call."""

    http: HttpCall
    request: ToolRequest
    repeatable: bool

    @property
    def address(self) -> str:
        return self.request.shown


class _Again(Exception):
    """The attempt failed in a way that allows another; `failure` is the error if there is none."""

    def __init__(self, failure: ToolFailed, pause: float = 0.0) -> None:
        super().__init__()
        self.failure = failure
        self.pause = pause


class HttpTools:
    """Calls HTTP tools over connections that they share."""

    def __init__(
        self,
        clock: Clock,
        environ: Mapping[str, str],
        connector: Callable[[], aiohttp.BaseConnector] | None = None,
    ) -> None:
        """`connector` is called in the running loop, and decides which addresses may be dialled.

        The default dials any.
        """
        self._clock = clock
        self._environ = environ
        self._trust: dict[str, ssl.SSLContext] = {}
        # No timeouts of its own: the whole call has its deadline in `call`.
        self._outgoing = Outgoing(
            {"user-agent": "outlast", "accept-encoding": "identity"}, connector=connector
        )

    async def warm_up(self) -> None:
        """Open what the first call needs."""
        await self._outgoing.warm_up()

    async def call(
        self, spec: ToolSpec, http: HttpCall, arguments: dict[str, Any], context: ToolContext
    ) -> Any:
        """Call the tool within `http.timeout` seconds, attempts and pauses included.

        Raises ToolFailed (not reachable, 3xx to 5xx, too large, broken JSON) and ToolTimeout. The
        call's secrets are hidden in results and errors.
        """
        return await self.send(spec, http, tool_request(http, arguments, context, self._environ))

    async def send(self, spec: ToolSpec, http: HttpCall, request: ToolRequest) -> Any:
        """Send the request of a call; times, retries and the largest result are those of `http`.

        Raises as `call`.
        """
        call = _Call(http, request, spec.effect.repeatable)
        await self.warm_up()  # before the time runs
        try:
            return await self._within_time(call)
        except ToolFailed as failed:
            failed.hide(request.secrets.hide)
            raise

    async def _within_time(self, call: _Call) -> Any:
        deadline = asyncio.timeout(call.http.timeout)
        try:
            async with deadline:
                return await self._attempts(call)
        except TimeoutError:
            if not deadline.expired():
                raise
        failure = f"{call.address} did not answer within {call.http.timeout:g} s."
        raise ToolTimeout(failure if call.repeatable else f"{failure} {_UNKNOWN}")

    async def close(self) -> None:
        """Close the connections."""
        await self._outgoing.close()

    async def _trusted(self, ca_file: str | None) -> ssl.SSLContext | None:
        """Return a TLS context, read once for each file. Raises ToolFailed."""
        if ca_file is None:
            return None
        if ca_file not in self._trust:
            try:
                self._trust[ca_file] = await asyncio.to_thread(trust, ca_file)
            except Misconfigured as error:
                raise ToolFailed("The certificates of the tool's caFile cannot be read.") from error
        return self._trust[ca_file]

    async def _attempts(self, call: _Call) -> Any:
        for attempt in range(call.http.retries + 1):
            try:
                return await self._attempt(call)
            except _Again as again:
                if attempt == call.http.retries:
                    raise again.failure from again.__cause__
                await self._clock.sleep(max(again.pause, _pause(attempt)))
        raise AssertionError("a call has at least one attempt")

    async def _attempt(self, call: _Call) -> Any:
        async with self._open(call) as response:
            if not 200 <= response.status < 300:  # noqa: PLR2004  RFC 9110, 15: success
                raise await _refusal(call, response)
            return _value(call, response, await _read(call, response))

    @asynccontextmanager
    async def _open(self, call: _Call) -> AsyncIterator[aiohttp.ClientResponse]:
        """Send the request and translate aiohttp's errors."""
        try:
            sent = call.request
            response = await self._outgoing.request(
                sent.method,
                sent.url,
                sent.body,
                sent.headers,
                repeatable=call.repeatable,
                proxy=sent.proxy,
                trusted=await self._trusted(call.http.ca_file),
            )
            try:
                yield response
            finally:
                abort(response)
        except aiohttp.ClientConnectorError as error:
            raise _unconnected(call, error) from error
        except aiohttp.ClientHttpProxyError as error:
            refused = f"The proxy does not connect to {call.address}: it answered {error.status}."
            raise _Again(ToolFailed(refused)) from error
        except ValueError as error:  # aiohttp.InvalidURL is one; its words quote the URL
            raise ToolFailed(f"The request to {call.address} could not be written.") from error
        except _LOST as error:
            if isinstance(error.__cause__, ContentEncodingError):
                raise ToolFailed(f"The answer of {call.address} could not be decoded.") from error
            failure = f"The connection to {call.address} was lost."
            if call.repeatable:
                raise _Again(ToolFailed(failure)) from error
            raise ToolFailed(f"{failure} {_UNKNOWN}") from error


def _unconnected(call: _Call, error: aiohttp.ClientConnectorError) -> Exception:
    if isinstance(error.os_error, AddressRefused):
        return ToolFailed(f"{call.address} is not called: {error.os_error}.")
    through = isinstance(error, aiohttp.ClientProxyConnectionError)
    way = " through its proxy" if through else ""
    return _Again(ToolFailed(f"Could not connect to {call.address}{way}."))


async def _read(call: _Call, response: aiohttp.ClientResponse) -> bytes:
    """Return the decoded body; one that is too large is not read to its end."""
    most = call.http.max_result_bytes
    failure = ToolFailed(f"The answer of {call.address} is larger than {most} bytes.")
    if (response.content_length or 0) > most:
        raise failure
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > most:
            raise failure
    return bytes(body)


def _value(call: _Call, response: aiohttp.ClientResponse, body: bytes) -> Any:
    """Return JSON as its value, other text as a string, an empty body as None."""
    if not body:
        return None
    kind = (
        response.headers.get("content-type", "application/json").partition(";")[0].strip().lower()
    )
    secrets = call.request.secrets
    if kind == "application/json" or kind.endswith("+json"):
        _check_numbers(call, body)
        try:
            value = _read_json(body.removeprefix(BOM_UTF8))
        except ValueError as error:
            raise ToolFailed(f"{call.address} answered with JSON that cannot be read.") from error
        return secrets.hide_in_result(value, body)
    charset = (response.charset or "utf-8").strip().lower()
    if charset not in CHARSETS:
        problem = f"{call.address} answered with {kind} in a charset that is not read"
        raise ToolFailed(f"{problem}: {charset[:_SHOWN_NAME]!r}.")
    try:
        return secrets.hide_in_result(body.decode(charset))
    except (UnicodeDecodeError, LookupError) as error:
        raise ToolFailed(f"{call.address} answered with {kind}, neither JSON nor text.") from error


def _check_numbers(call: _Call, body: bytes) -> None:
    """Raise ToolFailed if an integer would be rounded."""
    if (found := beyond_64_bits(body.removeprefix(BOM_UTF8))) is not None:
        cause = f"{call.address} answered with a whole number of more than 64 bits"
        place = f" in {call.request.secrets.hide(found.path)[:_SHOWN]}" if found.path else ""
        refused = f"{cause}{place}: {found.shown}. It would be rounded; it has to come as text."
        raise ToolFailed(refused, cause=f"{cause}.")


def _read_json(body: bytes) -> Any:
    """Return JSON as its value; lone surrogates in it are replaced. Raises ValueError."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return storable(read_json(body))


async def _refusal(call: _Call, response: aiohttp.ClientResponse) -> Exception:
    status = response.status
    if "location" in response.headers and 300 <= status < 400:  # noqa: PLR2004  RFC 9110, 15.4
        return ToolFailed(f"{call.address} answered {status}; redirects are not followed.")
    body = call.request.secrets.hide(await _beginning(response))[:_SHOWN].strip()
    cause = f"{call.address} answered {status}."
    failure = ToolFailed(f"{cause[:-1]}: {body}" if body else cause, cause=cause)
    if call.repeatable and (status == _TOO_MANY or status >= _SERVER_S):
        return _Again(failure, _retry_after(response))
    return failure


async def _beginning(response: aiohttp.ClientResponse) -> str:
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) >= _ERROR_BYTES:
            break
    return body[:_ERROR_BYTES].decode(errors="replace")


def _retry_after(response: aiohttp.ClientResponse) -> float:
    """Return the seconds of `Retry-After`, bounded; 0 if it has none (RFC 9110, 10.2.3)."""
    seconds = response.headers.get("retry-after", "")
    return min(float(seconds), _LONGEST_PAUSE) if re.fullmatch(r"[0-9]{1,9}", seconds) else 0.0


def _pause(attempt: int) -> float:
    return float(min(_FIRST_PAUSE * 2**attempt, _LONGEST_PAUSE))
