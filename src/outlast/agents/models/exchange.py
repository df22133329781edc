"""A request to a provider and its streamed answer; translates aiohttp's errors."""

import asyncio
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit, urlunsplit

from outlast.agents.outgoing import Outgoing, abort, environment_proxy, trusting
from outlast.model.error import Misconfigured, ModelUnavailable
from outlast.model.provider import http_url

if TYPE_CHECKING:
    import aiohttp

DRAIN_SECONDS: Final = 1.0
"""How long the end of a complete answer may be outstanding."""


class Provider:
    """A provider's base URL; its requests share connections."""

    def __init__(
        self,
        url: str,
        headers: dict[str, str],
        *,
        connect_timeout: float = 10.0,
        read_timeout: float = 300.0,
        proxy: str | None = None,
        ca_file: str | None = None,
    ) -> None:
        """Timeouts in seconds: to connect, and between reads.

        A proxy of None is the environment's, an empty one is none. `ca_file` holds authorities that
        are trusted besides the machine's. Raises Misconfigured.
        """
        parts = urlsplit(url)
        place = parts.netloc.rpartition("@")[2]
        self._url = urlunsplit(parts._replace(netloc=place))
        self._place = place
        self._connect_timeout = connect_timeout
        self._read_timeout = read_timeout
        chosen = environment_proxy(url) if proxy is None else proxy or None
        if chosen is not None and http_url(chosen) is None:
            whose = "The environment's proxy" if proxy is None else "The proxy"
            raise Misconfigured(f"{whose} for the model is no http:// proxy.")
        self._outgoing = Outgoing(
            headers,
            connect_timeout=connect_timeout,
            read_timeout=read_timeout,
            proxy=chosen,
            connector=None if ca_file is None else trusting(ca_file),
        )

    async def warm_up(self) -> None:
        """Import and open what the first request needs."""
        await self._outgoing.warm_up()

    async def ask(self, body: bytes) -> "Exchange":
        """Send, and return when the response's headers have arrived. Raises ModelUnavailable."""
        try:
            return Exchange(self, await self._outgoing.post(self._url, body, repeatable=True))
        except _errors() as error:
            raise self.unavailable(error) from error

    @property
    def url(self) -> str:
        """The address of the requests, without a login and a query."""
        return self._url.partition("?")[0]

    async def close(self) -> None:
        """Close every connection."""
        await self._outgoing.close()

    def unavailable(self, error: Exception) -> ModelUnavailable:
        """Return the error that an error of aiohttp means."""
        import aiohttp

        match error:
            case aiohttp.ConnectionTimeoutError():
                problem = f"{self._place} accepted no connection in {self._connect_timeout:g} s."
            case aiohttp.ClientHttpProxyError():
                problem = (
                    f"The proxy does not connect to {self._place}: it answered {error.status}."
                )
            case aiohttp.ClientConnectorError():
                reason = error.os_error.strerror or type(error.os_error).__name__
                through = " through the proxy" if _of_proxy(error) else ""
                problem = f"{self._place} cannot be reached{through}: {reason}"
            case TimeoutError():
                problem = f"The provider has been silent for {self._read_timeout:g} s."
            case aiohttp.ClientResponseError():
                problem = "The provider sent something that is not HTTP."
            case _:
                problem = "The provider closed the connection in the middle of its answer."
        return ModelUnavailable(problem)


class Exchange:
    """One answer that is being received."""

    __slots__ = ("_provider", "_response")

    def __init__(self, provider: Provider, response: "aiohttp.ClientResponse") -> None:
        self._provider = provider
        self._response = response

    @property
    def status(self) -> int:
        """The HTTP status."""
        return self._response.status

    @property
    def headers(self) -> dict[str, str]:
        """Header fields, their names in lower case."""
        return {name.lower(): value for name, value in self._response.headers.items()}

    async def read(self) -> bytes:
        """Return the next bytes of the body; empty at its end. Raises ModelUnavailable."""
        try:
            return await self._response.content.readany()
        except _errors() as error:
            raise self._provider.unavailable(error) from error

    def close(self, *, satisfied: bool = False) -> None:
        """Release the connection; it is kept if its answer is complete or `satisfied`.

        `satisfied`: nothing but the end is missing; it gets DRAIN_SECONDS. Otherwise the socket is
        closed at once.
        """
        if satisfied and not self._response.closed:
            asyncio.get_running_loop().call_later(DRAIN_SECONDS, abort, self._response)
        else:
            abort(self._response)


def _errors() -> tuple[type[Exception], ...]:
    import aiohttp

    # RuntimeError is what aiohttp says of a read after the session was closed.
    return aiohttp.ClientError, TimeoutError, OSError, EOFError, RuntimeError


def _of_proxy(error: Exception) -> bool:
    import aiohttp

    return isinstance(error, aiohttp.ClientProxyConnectionError)
