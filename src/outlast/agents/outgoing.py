"""Outgoing HTTP: one aiohttp session per owner, created at the first call.

aiohttp is imported then, in a thread, since that takes 0.4 s and reads the trusted certificates.
Redirects are not followed and cookies not kept. The caller translates aiohttp's errors.
"""

import asyncio
import importlib
import io
import ssl
from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from outlast.model.error import Misconfigured

if TYPE_CHECKING:
    import aiohttp

IDLE_SECONDS: Final = 30.0
"""How long an idle connection is kept."""
_LARGE: Final = 1_048_576
"""Size from which aiohttp wants a body as a file, which it writes in pieces."""


@dataclass(slots=True)
class _Dial:
    """How a call connects, and what is known of its connection."""

    proxy: str | None
    trusted: ssl.SSLContext | None
    kept: bool = False


class Outgoing:
    """Sends requests over connections that are kept alive."""

    def __init__(
        self,
        headers: Mapping[str, str],
        *,
        connect_timeout: float | None = None,
        read_timeout: float | None = None,
        proxy: str | None = None,
        connector: "Callable[[], aiohttp.BaseConnector] | None" = None,
    ) -> None:
        """Headers of every call; timeouts in seconds to connect and to read; a proxy's URL.

        `connector` is called in the running loop; the default dials any address.
        """
        self._headers = dict(headers)
        self._connect_timeout = connect_timeout
        self._read_timeout = read_timeout
        self._proxy = proxy
        self._connector = connector or _any_address
        self._session: aiohttp.ClientSession | None = None
        self._keeper: AsyncGenerator[aiohttp.ClientSession, None] | None = None

    async def warm_up(self) -> "aiohttp.ClientSession":
        """Return the session, a new one if there is none or its loop has ended."""
        if self._session is None or self._session.closed:
            await asyncio.to_thread(importlib.import_module, "aiohttp")
        if self._session is None or self._session.closed:
            self._keeper = self._keep()
            self._session = await anext(self._keeper)
        return self._session

    async def post(
        self,
        url: str,
        body: bytes,
        headers: Mapping[str, str] | None = None,
        *,
        repeatable: bool,
    ) -> "aiohttp.ClientResponse":
        """`POST` a body; see `request`."""
        return await self.request("POST", url, body, headers, repeatable=repeatable)

    async def request(
        self,
        method: str,
        url: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        *,
        repeatable: bool,
        proxy: str | None = None,
        trusted: ssl.SSLContext | None = None,
    ) -> "aiohttp.ClientResponse":
        """Send to the URL as written, and return when the response's headers have arrived.

        A repeatable call is sent once more if the server had closed the idle connection. A proxy
        and a TLS context of this call replace those of all calls.
        """
        session = await self.warm_up()
        import aiohttp

        dial = _Dial(proxy, trusted)
        try:
            return await _send(session, method, url, body, headers, dial)
        except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError):
            if not (repeatable and dial.kept):
                raise
        return await _send(session, method, url, body, headers, dial)

    async def close(self) -> None:
        """Close every connection."""
        keeper, self._keeper, self._session = self._keeper, None, None
        if keeper is not None:
            await keeper.aclose()

    async def _keep(self) -> "AsyncGenerator[aiohttp.ClientSession, None]":
        """Hold the session and close it with this generator, at the latest when the loop ends."""
        import aiohttp

        async with aiohttp.ClientSession(
            connector=self._connector(),
            headers=self._headers,
            proxy=self._proxy,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(
                total=None, connect=self._connect_timeout, sock_read=self._read_timeout
            ),
            trace_configs=[_tell_of_kept()],
        ) as session:
            # aiohttp would send GET, PUT and DELETE again by itself; here the caller decides.
            session._retry_connection = False  # noqa: SLF001 - there is no public option
            yield session


async def _send(
    session: "aiohttp.ClientSession",
    method: str,
    url: str,
    body: bytes | None,
    headers: Mapping[str, str] | None,
    dial: _Dial,
) -> "aiohttp.ClientResponse":
    from yarl import URL

    return await session.request(
        method,
        URL(url, encoded=True),
        data=body if body is None or len(body) < _LARGE else io.BytesIO(body),
        headers=headers,
        skip_auto_headers=("content-type",),
        allow_redirects=False,
        proxy=dial.proxy,
        ssl=True if dial.trusted is None else dial.trusted,
        trace_request_ctx=dial,
    )


def abort(response: "aiohttp.ClientResponse") -> None:
    """Close the socket of an answer at once; after a complete answer the connection is kept."""
    connection = response.connection
    if connection is not None and connection.transport is not None:
        connection.transport.abort()  # a TLS connection would otherwise wait for the other side
    response.close()


def environment_proxy(url: str) -> str | None:
    """Return the environment's proxy for this URL (HTTPS_PROXY, ALL_PROXY, NO_PROXY …).

    Cached: aiohttp's `trust_env` reads the environment and `.netrc` in threads each time.
    """
    parts = urlsplit(url)
    proxies = getproxies()
    proxy = proxies.get(parts.scheme) or proxies.get("all")
    return None if not proxy or proxy_bypass(parts.hostname or "") else proxy


def _any_address() -> "aiohttp.BaseConnector":
    import aiohttp

    return aiohttp.TCPConnector(limit=0, keepalive_timeout=IDLE_SECONDS)


def trusting(ca_file: str) -> "Callable[[], aiohttp.BaseConnector]":
    """Return a factory of connectors that also trust the authorities of a PEM file.

    Raises Misconfigured if the file cannot be read.
    """
    context = trust(ca_file)

    def connector() -> "aiohttp.BaseConnector":
        import aiohttp

        return aiohttp.TCPConnector(limit=0, keepalive_timeout=IDLE_SECONDS, ssl=context)

    return connector


def trust(ca_file: str) -> ssl.SSLContext:
    """Return a TLS context that trusts the machine's authorities and those of a PEM file.

    Raises Misconfigured if the file cannot be read.
    """
    context = ssl.create_default_context()
    try:
        context.load_verify_locations(ca_file)
    except ssl.SSLError as error:
        raise Misconfigured(f"{ca_file} holds no certificates in PEM.") from error
    except OSError as error:
        raise Misconfigured(f"{ca_file} cannot be read: {error.strerror}.") from error
    return context


def _tell_of_kept() -> "aiohttp.TraceConfig":
    import aiohttp

    async def kept(_session: aiohttp.ClientSession, context: SimpleNamespace, _params: Any) -> None:
        context.trace_request_ctx.kept = True

    config = aiohttp.TraceConfig()
    config.on_connection_reuseconn.append(kept)
    return config
