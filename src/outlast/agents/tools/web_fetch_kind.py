"""The kind `webFetch`: reads a page that the model names, as text."""

import asyncio
import importlib
from collections.abc import Mapping
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final

from outlast.agents.port import ToolContext
from outlast.agents.tools.kind import Count, Draft, Entry, Resources, Seconds, ToolEntry, ToolKind
from outlast.model.agent import Effect, ToolSpec
from outlast.model.error import ToolFailed, ToolTimeout
from outlast.model.extra import install

if TYPE_CHECKING:
    from outlast.agents.tools.web_page import WebPages

KEY: Final = "webFetch"
_NAME: Final = "web_fetch"
_PARAMETERS: Final[dict[str, Any]] = {
    "type": "object",
    "properties": {
        "url": {"type": "string", "description": "The page's URL, http:// or https://"},
        "start": {
            "type": "integer",
            "minimum": 0,
            "description": "Character to begin at: the `next` of the part before; 0 if left out",
        },
    },
    "required": ["url"],
    "additionalProperties": False,
}


class WebFetchEntry(Entry):
    allow: list[str] = []  # noqa: RUF012 - pydantic copies it
    """Hosts, with those below them; none: any."""
    max_characters: Count = 20_000
    timeout: Seconds = 30.0


class WebFetchRunner:
    """Reads pages."""

    def __init__(self, resources: Resources) -> None:
        self._resources = resources
        self._pages: WebPages | None = None

    async def call(self, spec: ToolSpec, arguments: dict[str, Any], _context: ToolContext) -> Any:
        keys = spec.other[KEY]
        pages = self._pages or await self._loaded()
        url, start, most = arguments["url"], arguments.get("start", 0), keys["max_characters"]
        deadline = asyncio.timeout(spec.timeout)
        try:
            async with deadline:
                page = await pages.read(url, keys["allow"])
        except TimeoutError as error:
            if not deadline.expired():
                raise
            raise ToolTimeout(f"{url[:200]} did not answer within {spec.timeout:g} s.") from error
        part = page.text[start : start + most]
        result = {"url": page.url, "title": page.title, "text": part}
        end = start + len(part)
        return result | {"next": end} if end < len(page.text) else result

    async def warm_up(self) -> None:
        """Load nothing: few servers have this tool, and the first call loads what it needs."""

    async def close(self) -> None:
        if self._pages is not None:
            await self._pages.close()

    async def _loaded(self) -> "WebPages":
        if reason := _lacks():
            raise ToolFailed(f"The tool {_NAME} {reason}")
        await asyncio.to_thread(importlib.import_module, "outlast.agents.tools.web_page")
        if self._pages is None:
            from outlast.agents.tools.web_page import WebPages

            self._pages = WebPages(self._resources.models_connector)
        return self._pages


def _make(_entry: ToolEntry, given: WebFetchEntry, _draft: Draft) -> ToolSpec:
    hosts = [host.lower().lstrip(".") for host in given.allow]
    where = f" Only pages of {', '.join(hosts)}." if hosts else ""
    return ToolSpec(
        _NAME,
        f"Read a web page as text. A long page comes in parts.{where}",
        _PARAMETERS,
        Effect.READ_ONLY,
        timeout=given.timeout,
        other={KEY: {"allow": hosts, "max_characters": given.max_characters}},
    )


def _lacks() -> str | None:
    if find_spec("trafilatura") is None:
        return f"needs an extra: {install('web')}"
    return None


def _not_ready(_spec: ToolSpec, _environ: Mapping[str, str]) -> str | None:
    return _lacks()


WEB_FETCH: Final = ToolKind(
    KEY,
    WebFetchEntry,
    _make,
    WebFetchRunner,
    not_ready=_not_ready,
    own_keys=("parameters", "effect", "timeout"),
)
"""Pages of the web, as text."""
