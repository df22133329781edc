"""HTTP tools: the arguments go out as a JSON `POST`, what comes back is the result.

A call is sent again only where that is safe: after an answer of 429 or 5xx, or a lost connection,
when the tool's effect may be repeated (each time with the same `Idempotency-Key`); otherwise only
where no connection was ever made. Proxies of the environment are not used and redirects are not
followed, so the address that is dialled is the one the tool names. What may be dialled is decided
in one place: the transport that the constructor is given.
"""

import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

import anyio
import httpx2
import orjson

from outlast.agents.port import ToolContext
from outlast.agents.tools.request import address, expand, hide, url_problem
from outlast.model.agent import HttpCall, ToolSpec
from outlast.model.clock import Clock
from outlast.model.error import ToolFailed, ToolTimeout

_FIRST_PAUSE: Final = 0.2
_LONGEST_PAUSE: Final = 5.0
_SHOWN: Final = 500
"""Characters of an error's body that the model reads."""
_ERROR_BYTES: Final = 8192
_NOT_SENT = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout)
_UNKNOWN = "It is not known whether the call had its effect."


@dataclass(frozen=True, slots=True)
class _Call:
    """What stays the same over all attempts of one call."""

    http: HttpCall
    address: str
    repeatable: bool
    body: bytes
    headers: dict[str, str]
    secrets: frozenset[str]
    """Values from the environment, which no error may show."""


class _Again(Exception):
    """This attempt failed in a way that allows another; `failure` is said if there is none."""

    def __init__(self, failure: ToolFailed, pause: float = 0.0) -> None:
        super().__init__()
        self.failure = failure
        self.pause = pause


class HttpTools:
    """Calls HTTP tools over one shared client, made at the first call."""

    def __init__(
        self,
        clock: Clock,
        environ: Mapping[str, str],
        transport: httpx2.AsyncBaseTransport | None = None,
    ) -> None:
        """A transport decides which addresses may be dialled; the default dials any."""
        self._clock = clock
        self._environ = environ
        self._transport = transport
        self._client: httpx2.AsyncClient | None = None

    async def call(
        self, spec: ToolSpec, http: HttpCall, arguments: dict[str, Any], context: ToolContext
    ) -> Any:
        """Call the tool within `http.timeout` seconds, attempts and pauses together.

        Raises ToolFailed (not reachable, 3xx to 5xx, too large, broken JSON) and ToolTimeout.
        """
        call = self._prepare(spec, http, arguments, context)
        self._shared_client()  # made before the time runs: it reads the trusted certificates
        with anyio.move_on_after(http.timeout) as scope:
            return await self._attempts(call)
        assert scope.cancelled_caught
        failure = f"{call.address} did not answer within {http.timeout:g} s."
        raise ToolTimeout(failure if call.repeatable else f"{failure} {_UNKNOWN}")

    async def close(self) -> None:
        """Close the connections."""
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    def _prepare(
        self, spec: ToolSpec, http: HttpCall, arguments: dict[str, Any], context: ToolContext
    ) -> _Call:
        if problem := url_problem(http.url):
            raise ToolFailed(f"The tool's URL cannot be called: {problem}.")
        headers, secrets = expand(http.headers, self._environ)
        headers |= {
            "content-type": "application/json",
            "idempotency-key": context.tool_call_id,
            "outlast-execution-id": context.execution_id,
        }
        where, body = address(http.url), orjson.dumps(arguments)
        return _Call(http, where, spec.effect.repeatable, body, headers, secrets)

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
            if not response.is_success:
                raise await _refusal(call, response)
            return _value(call, response, await _read(call, response))

    @asynccontextmanager
    async def _open(self, call: _Call) -> AsyncIterator[httpx2.Response]:
        """The one door for the HTTP client's errors."""
        try:
            async with self._shared_client().stream(
                "POST", call.http.url, content=call.body, headers=call.headers
            ) as response:
                yield response
        except _NOT_SENT as error:
            raise _Again(ToolFailed(f"Could not connect to {call.address}.")) from error
        except (httpx2.UnsupportedProtocol, httpx2.InvalidURL, httpx2.LocalProtocolError) as error:
            # The client's own words may quote a header's value.
            raise ToolFailed(f"The request to {call.address} could not be written.") from error
        except httpx2.DecodingError as error:
            raise ToolFailed(f"The answer of {call.address} could not be decoded.") from error
        except httpx2.TransportError as error:
            failure = f"The connection to {call.address} was lost."
            if call.repeatable:
                raise _Again(ToolFailed(failure)) from error
            raise ToolFailed(f"{failure} {_UNKNOWN}") from error

    def _shared_client(self) -> httpx2.AsyncClient:
        if self._client is None:
            self._client = httpx2.AsyncClient(
                transport=self._transport,
                follow_redirects=False,
                trust_env=False,
                timeout=None,  # the whole call has its deadline in `call`
                limits=httpx2.Limits(max_connections=None, max_keepalive_connections=100),
                headers={"user-agent": "outlast", "accept-encoding": "identity"},
            )
        return self._client


async def _read(call: _Call, response: httpx2.Response) -> bytes:
    most = call.http.max_result_bytes
    failure = ToolFailed(f"The answer of {call.address} is larger than {most} bytes.")
    length = response.headers.get("content-length", "")
    if length.isdecimal() and int(length) > most:
        raise failure
    body = bytearray()
    async for chunk in response.aiter_bytes():
        body += chunk
        if len(body) > most:
            raise failure
    return bytes(body)


def _value(call: _Call, response: httpx2.Response, body: bytes) -> Any:
    """JSON as its value, other text as a string, nothing as None."""
    if not body:
        return None
    kind = (
        response.headers.get("content-type", "application/json").partition(";")[0].strip().lower()
    )
    if kind == "application/json" or kind.endswith("+json"):
        try:
            return orjson.loads(body)
        except orjson.JSONDecodeError as error:
            raise ToolFailed(f"{call.address} answered with JSON that cannot be read.") from error
    try:
        return body.decode(response.charset_encoding or "utf-8")
    except (UnicodeDecodeError, LookupError) as error:
        raise ToolFailed(f"{call.address} answered with {kind}, neither JSON nor text.") from error


async def _refusal(call: _Call, response: httpx2.Response) -> Exception:
    status = response.status_code
    if response.is_redirect:
        return ToolFailed(f"{call.address} answered {status}; redirects are not followed.")
    body = hide(await _beginning(response), call.secrets)[:_SHOWN].strip()
    failure = ToolFailed(f"{call.address} answered {status}" + (f": {body}" if body else "."))
    if call.repeatable and (status == httpx2.codes.TOO_MANY_REQUESTS or response.is_server_error):
        return _Again(failure, _asked_pause(response))
    return failure


async def _beginning(response: httpx2.Response) -> str:
    body = bytearray()
    async for chunk in response.aiter_bytes():
        body += chunk
        if len(body) >= _ERROR_BYTES:
            break
    return body[:_ERROR_BYTES].decode(errors="replace")


def _asked_pause(response: httpx2.Response) -> float:
    """Seconds of `Retry-After`, bounded; 0 where there is none in seconds (RFC 9110, 10.2.3)."""
    asked = response.headers.get("retry-after", "")
    return min(float(asked), _LONGEST_PAUSE) if re.fullmatch(r"[0-9]{1,9}", asked) else 0.0


def _pause(attempt: int) -> float:
    return float(min(_FIRST_PAUSE * 2**attempt, _LONGEST_PAUSE))
