"""Pages of the web as text. Each address is checked as it is dialled, redirects included."""

import asyncio
import logging
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import urljoin, urlsplit

import aiohttp
import trafilatura
from lxml.html import document_fromstring  # type: ignore[import-untyped]
from trafilatura.metadata import extract_metadata
from trafilatura.utils import detect_encoding

from outlast.agents.dial import AddressRefused
from outlast.agents.outgoing import Outgoing, abort
from outlast.agents.tools.charsets import page_text
from outlast.model.error import ToolFailed

_LARGEST: Final = 2 * 1024 * 1024
"""Bytes of a page that are read; the rest is left out."""
_REDIRECTS: Final = 5
_AT_ONCE: Final = 2
"""Pages that are turned into text at the same time: that is work for a processor."""
_HTML: Final = {"text/html", "application/xhtml+xml"}
_TEXT: Final = re.compile(r"text/|application/(?:[\w.+-]*\+)?(?:json|xml|yaml|javascript)$")
_DECLARATION: Final = re.compile(r"^\s{0,100}<\?xml[^>]{0,200}>")
"""Names a charset, which was that of the bytes; the parser refuses it in a text."""
_SHOWN: Final = 200


logging.getLogger("trafilatura").setLevel(logging.CRITICAL)  # a page may be anything


@dataclass(frozen=True, slots=True)
class WebPage:
    """A page's text; `url` is where redirects have led."""

    url: str
    title: str | None
    text: str


@dataclass(frozen=True, slots=True)
class _Body:
    """The beginning of an answer's body."""

    kind: str
    charset: str | None
    """The header's; None if it names none."""
    content: bytes


class WebPages:
    """Reads pages over connections of its own."""

    def __init__(self, connector: Callable[[], aiohttp.BaseConnector] | None = None) -> None:
        """A connector decides which addresses may be dialled; the default dials any."""
        accept = "text/html, text/*;q=0.9, */*;q=0.5"
        headers = {"user-agent": "outlast (web_fetch)", "accept": accept}
        self._outgoing = Outgoing(headers, connector=connector)
        self._turns = asyncio.Semaphore(_AT_ONCE)

    async def read(self, url: str, allowed: Sequence[str] = ()) -> WebPage:
        """Return a page, following redirects; with `allowed`, on these hosts and below them.

        Raises ToolFailed with a text for the model.
        """
        for _ in range(_REDIRECTS + 1):
            _require_callable(url, allowed)
            found = await self._get(url)
            if isinstance(found, str):
                url = urljoin(url, found)
                continue
            if found.kind in _HTML or _TEXT.match(found.kind):
                async with self._turns:
                    return await asyncio.to_thread(_page, url, found)
            raise ToolFailed(f"{_shown(url)} is {found.kind or 'of no type'}, which is not read.")
        raise ToolFailed(f"{_shown(url)}: more than {_REDIRECTS} redirects.")

    async def close(self) -> None:
        """Close the connections."""
        await self._outgoing.close()

    async def _get(self, url: str) -> "_Body | str":
        """Return the body, or where a redirect leads."""
        try:
            response = await self._outgoing.request("GET", _encoded(url), repeatable=True)
            try:
                location = response.headers.get("location")
                if location and 300 <= response.status < 400:  # noqa: PLR2004  RFC 9110, 15.4
                    return location
                if response.status != 200:  # noqa: PLR2004
                    raise ToolFailed(f"{_shown(url)} answered {response.status}.")
                kind, body = response.content_type.lower(), await _beginning(response)
                return _Body(kind, response.charset, body)
            finally:
                abort(response)
        except aiohttp.ClientConnectorError as error:
            if isinstance(error.os_error, AddressRefused):
                raise ToolFailed(f"{_shown(url)} is not called: {error.os_error}.") from error
            raise ToolFailed(f"Could not connect to {_shown(url)}.") from error
        except (aiohttp.ClientError, ValueError, OSError, EOFError) as error:
            raise ToolFailed(f"{_shown(url)} could not be read.") from error


async def _beginning(response: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) >= _LARGEST:
            break
    return bytes(body[:_LARGEST])


def _require_callable(url: str, allowed: Sequence[str]) -> None:
    """Raise ToolFailed for what is no URL of a page, or of another host."""
    try:
        parts = urlsplit(url)
        host = (parts.hostname or "").rstrip(".")
        _ = parts.port
    except ValueError as error:
        raise ToolFailed(f"{_shown(url)} is not a URL.") from error
    if parts.scheme not in {"http", "https"} or not host or "@" in parts.netloc:
        raise ToolFailed(f"{_shown(url)}: a URL begins with http:// or https:// and a host.")
    if allowed and not any(host == one or host.endswith(f".{one}") for one in allowed):
        raise ToolFailed(f"{host[:_SHOWN]} is not read; these hosts are: {', '.join(allowed)}.")


def _encoded(url: str) -> str:
    """Return the URL in ASCII: a host in another script and characters of a path are encoded."""
    from yarl import URL

    return str(URL(url))


def _page(url: str, body: _Body) -> WebPage:
    """Return the main text of a page, or all of its text if there is no main one."""
    text = page_text(body.content, body.charset, detect_encoding)
    return _main_text(url, text) if body.kind in _HTML else WebPage(url, None, text)


def _main_text(url: str, html: str) -> WebPage:
    html = _DECLARATION.sub("", html)
    try:
        tree = trafilatura.load_html(html)
        if tree is None:  # too little of a page for trafilatura
            return WebPage(url, None, _all_text(html))
        title = extract_metadata(tree).title
        text = trafilatura.extract(
            tree, url=url, output_format="markdown", include_links=True, include_tables=True
        )
        return WebPage(url, title, text or _all_text(html))
    except Exception as error:  # a page may be anything, and the parsers raise errors of their own
        raise ToolFailed(f"{_shown(url)} is HTML that cannot be read.") from error


def _all_text(html: str) -> str:
    if not html.strip():
        return ""
    tree = document_fromstring(html)
    for hidden in tree.xpath("//script|//style|//noscript"):
        hidden.drop_tree()
    return " ".join(tree.text_content().split())


def _shown(url: str) -> str:
    """Return the URL for an error: without query."""
    return url.partition("?")[0][:_SHOWN]
