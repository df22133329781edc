"""POST through the proxy that the environment names (HTTPS_PROXY, HTTP_PROXY, ALL_PROXY, NO_PROXY).

The same port as `wire`, on httpx2, which speaks to every kind of proxy; dearer, so only where one
stands.
"""

from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from outlast.model.error import ModelUnavailable

if TYPE_CHECKING:
    import httpx2


def proxied(url: str) -> bool:
    """Whether the environment sends this URL through a proxy."""
    parts = urlsplit(url)
    proxies = getproxies()
    if not (proxies.get(parts.scheme) or proxies.get("all")):
        return False
    return not proxy_bypass(parts.hostname or "")


class ProxiedWire:
    """Posts to one URL through a proxy."""

    def __init__(
        self,
        url: str,
        headers: dict[str, str],
        *,
        connect_timeout: float = 10.0,
        read_timeout: float = 300.0,
    ) -> None:
        import httpx2

        self._url = url
        self._client = httpx2.AsyncClient(
            headers=headers,
            timeout=httpx2.Timeout(read_timeout, connect=connect_timeout),
            limits=httpx2.Limits(max_connections=None, max_keepalive_connections=100),
        )

    async def post(self, body: bytes) -> "ProxiedExchange":
        """Send, and return when the answer's head is here. Raises ModelUnavailable."""
        import httpx2

        request = self._client.build_request("POST", self._url, content=body)
        try:
            return ProxiedExchange(await self._client.send(request, stream=True))
        except httpx2.HTTPError as error:
            raise _unavailable(error) from error

    async def close(self) -> None:
        """Close every connection."""
        await self._client.aclose()


class ProxiedExchange:
    """One answer that comes through a proxy."""

    def __init__(self, response: "httpx2.Response") -> None:
        self._response = response
        self._chunks: AsyncGenerator[bytes, None] | None = None
        self.status = response.status_code
        self.headers = {name.lower(): value for name, value in response.headers.items()}

    async def read(self) -> bytes:
        """What has come of the body since; empty at its end. Raises ModelUnavailable."""
        import httpx2

        if self._chunks is None:
            self._chunks = self._response.aiter_bytes()
        try:
            return await anext(self._chunks, b"")
        except httpx2.HTTPError as error:
            raise _unavailable(error) from error

    async def close(self, *, satisfied: bool = False) -> None:  # noqa: ARG002  the port's
        """Let go of the connection; one whose answer is whole is kept."""
        await self._response.aclose()


def _unavailable(error: Exception) -> ModelUnavailable:
    return ModelUnavailable(
        f"The provider cannot be reached through the proxy: {type(error).__name__}."
    )
