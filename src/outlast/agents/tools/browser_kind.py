"""The kind `browser`: a real browser that the model drives, by tools named as Playwright's own.

The tools of one entry share one browser for each execution. Playwright is imported at the first
call, and Chrome or Chromium started then.
"""

import asyncio
import importlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Annotated, Any, Final

from pydantic import Field

from outlast.agents.browser.held import HeldBrowser
from outlast.agents.browser.reach import Origin
from outlast.agents.browser.settings import find_browser
from outlast.agents.port import ToolContext
from outlast.agents.problem import Problem
from outlast.agents.tools.kind import (
    ApprovalEntry,
    Count,
    Draft,
    Entry,
    Resources,
    Seconds,
    ToolEntry,
    ToolKind,
)
from outlast.model.agent import BROWSER as KEY
from outlast.model.agent import Effect, Expiry, ToolSpec
from outlast.model.error import Misconfigured, ToolFailed, ToolTimeout
from outlast.model.extra import install

if TYPE_CHECKING:
    from outlast.agents.browser.actions import Browsers

PATH_VARIABLE: Final = "OUTLAST_BROWSER_PATH"
_VIEWPORT: Final = (1280, 800)
_MAX_SIDE: Final = 4096
_CHARACTERS: Final = 20_000
_TIMEOUT: Final = 30.0
_ELEMENT: Final[dict[str, Any]] = {
    "element": {
        "type": "string",
        "description": "What the element is, in words, for a person who approves the call",
    },
    "ref": {"type": "string", "description": "The element's reference in the newest snapshot"},
}


@dataclass(frozen=True, slots=True)
class BrowserTool:
    """One of the tools."""

    description: str
    effect: Effect
    properties: dict[str, Any]
    required: tuple[str, ...] = ()

    @property
    def parameters(self) -> dict[str, Any]:
        """JSON Schema of the arguments."""
        return {
            "type": "object",
            "properties": self.properties,
            "required": list(self.required),
            "additionalProperties": False,
        }


def _text(description: str) -> dict[str, Any]:
    return {"type": "string", "description": description}


TOOLS: Final[dict[str, BrowserTool]] = {
    "navigate": BrowserTool(
        "Open a page in the browser. Returns the page as a snapshot: its elements, each with a "
        "reference (ref) for other tools.",
        Effect.IDEMPOTENT,
        {"url": _text("The page's URL, http:// or https://")},
        ("url",),
    ),
    "navigate_back": BrowserTool(
        "Go back to the page before; from a new tab to the one that opened it.",
        Effect.IDEMPOTENT,
        {},
    ),
    "snapshot": BrowserTool(
        "Read the current page as a snapshot of its elements. A long one comes in parts.",
        Effect.READ_ONLY,
        {
            "start": {
                "type": "integer",
                "minimum": 0,
                "description": "Character to begin at: the `next` of the part before",
            }
        },
    ),
    "click": BrowserTool(
        "Click an element of the page.",
        Effect.DESTRUCTIVE,
        {**_ELEMENT, "doubleClick": {"type": "boolean"}},
        ("element", "ref"),
    ),
    "type": BrowserTool(
        "Write text into a field, in the place of what is there.",
        Effect.DESTRUCTIVE,
        {
            **_ELEMENT,
            "text": {"type": "string"},
            "submit": {"type": "boolean", "description": "Whether to press Enter afterwards"},
        },
        ("element", "ref", "text"),
    ),
    "select_option": BrowserTool(
        "Select options of a list.",
        Effect.DESTRUCTIVE,
        {
            **_ELEMENT,
            "values": {
                "type": "array",
                "items": {"type": "string"},
                "minItems": 1,
                "description": "Values or labels of the options",
            },
        },
        ("element", "ref", "values"),
    ),
    "press_key": BrowserTool(
        "Press a key on the page, such as Enter, Escape, ArrowDown or Control+a.",
        Effect.DESTRUCTIVE,
        {"key": {"type": "string"}},
        ("key",),
    ),
    "wait_for": BrowserTool(
        "Wait for a text to appear or to go, or for some seconds; then read the page.",
        Effect.READ_ONLY,
        {
            "text": {"type": "string"},
            "textGone": {"type": "string"},
            "time": {"type": "number", "minimum": 0, "maximum": 20, "description": "Seconds"},
        },
    ),
    "take_screenshot": BrowserTool(
        "Take a screenshot of what the page shows. To read a page, or to find the elements to act "
        "on, use browser_snapshot.",
        Effect.READ_ONLY,
        {},
    ),
    "close": BrowserTool(
        "Close the browser when it is not needed any more; its cookies are forgotten.",
        Effect.IDEMPOTENT,
        {},
    ),
}
"""By action; a tool's name is `browser_` and the action."""


class BrowserEntry(Entry):
    allow: list[str] = []  # noqa: RUF012 - pydantic copies it
    """Origins that pages may be loaded from, with what pages load; none: every public one."""
    private: list[str] = []  # noqa: RUF012 - the same
    """Origins on private or loopback addresses."""
    viewport: Annotated[list[Count], Field(min_length=2, max_length=2)] = list(_VIEWPORT)  # noqa: RUF012
    max_characters: Count = _CHARACTERS
    approval: bool | ApprovalEntry = False
    """Before each call that acts on a page."""
    timeout: Seconds = _TIMEOUT


class BrowserRunner:
    """Runs the tools."""

    def __init__(self, resources: Resources) -> None:
        self._resources = resources
        self._browsers: Browsers | None = None

    async def call(self, spec: ToolSpec, arguments: dict[str, Any], context: ToolContext) -> Any:
        browsers = self._browsers or await self._loaded(spec)
        held = context.browser or HeldBrowser(self._resources.clock.monotonic)
        deadline = asyncio.timeout(spec.timeout)
        try:
            async with deadline:
                return await browsers.call(spec.other[KEY], arguments, held, context.images)
        except TimeoutError as error:
            if not deadline.expired():
                raise
            if held.session is None:
                most = self._resources.browser.contexts
                text = f"All {most} browsers of the server are in use, or it starts too slowly."
                raise ToolTimeout(text) from error
            closed = await browsers.after_timeout(held)
            gone = " The page hung, so the browser was closed." if closed else ""
            raise ToolTimeout(f"{spec.name} took longer than {spec.timeout:g} s.{gone}") from error
        finally:
            if context.browser is None:
                await held.close()

    async def warm_up(self) -> None:
        """Load nothing: few servers have these tools, and the first call loads what it needs."""

    async def close(self) -> None:
        if self._browsers is not None:
            await self._browsers.close()

    async def _loaded(self, spec: ToolSpec) -> "Browsers":
        if find_spec("playwright") is None:
            raise ToolFailed(f"The tool {spec.name} needs an extra: {install('browser')}")
        await asyncio.to_thread(importlib.import_module, "outlast.agents.browser.actions")
        if self._browsers is None:
            from outlast.agents.browser.actions import Browsers
            from outlast.agents.browser.chromium import Chromium

            resources = self._resources
            chromium = Chromium(resources.browser, resources.clock, resources.environ)
            self._browsers = Browsers(resources.browser, chromium)
        return self._browsers


def browser_tools(
    *,
    allow: Iterable[str] = (),
    private: Iterable[str] = (),
    viewport: tuple[int, int] = _VIEWPORT,
    max_characters: int = _CHARACTERS,
    approval: bool = False,
    timeout: float = _TIMEOUT,
) -> list[ToolSpec]:
    """Return the tools of a browser.

    `allow`: origins that pages may be loaded from, by default every public one; `private`: origins
    on private or loopback addresses; `approval`: a person decides before each call that acts on a
    page; `max_characters` of a snapshot's part; `timeout` in seconds. Raises Misconfigured.
    """
    keys = {
        "allow": list(allow),
        "private": list(private),
        "viewport": list(viewport),
        "max_characters": max_characters,
    }
    specs = _specs(keys, timeout, approval=approval)
    for _, text in _wrong(keys):
        raise Misconfigured(text)
    return specs


def _make(_entry: ToolEntry, given: BrowserEntry, draft: Draft) -> list[ToolSpec]:
    approval, expiry = given.approval, None
    if isinstance(approval, ApprovalEntry):
        if isinstance(approval.ask, str):
            draft.wrong((KEY, "approval", "ask"), "this is true or false")
        if approval.expires is not None:
            expiry = Expiry(approval.expires, approval.default == "approve")
        approval = bool(approval.ask)
    keys = {
        "allow": given.allow,
        "private": given.private,
        "viewport": given.viewport,
        "max_characters": given.max_characters,
    }
    return _specs(keys, given.timeout, approval=approval, expiry=expiry)


def _specs(
    keys: Mapping[str, Any], timeout: float, *, approval: bool, expiry: Expiry | None = None
) -> list[ToolSpec]:
    where = f" Only pages of {', '.join(keys['allow'])}." if keys["allow"] else ""
    return [
        ToolSpec(
            f"browser_{action}",
            tool.description + (where if action == "navigate" else ""),
            tool.parameters,
            tool.effect,
            approval=approval and tool.effect is Effect.DESTRUCTIVE,
            timeout=timeout,
            expiry=expiry if tool.effect is Effect.DESTRUCTIVE else None,
            other={KEY: {"action": action, **keys}},
        )
        for action, tool in TOOLS.items()
    ]


def _problems(spec: ToolSpec) -> Iterator[Problem]:
    for path, text in _wrong(spec.other[KEY]):
        yield Problem(path, text)


def _wrong(keys: Mapping[str, Any]) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Yield what is wrong with the keys, each with its path."""
    for key in ("allow", "private"):
        for index, origin in enumerate(keys.get(key, ())):
            try:
                Origin.read(str(origin))
            except ValueError as error:
                yield (key, index), str(error)
    sides = keys.get("viewport")
    if not (
        isinstance(sides, list)
        and len(sides) == len(_VIEWPORT)
        and all(isinstance(side, int) and 0 < side <= _MAX_SIDE for side in sides)
    ):
        yield ("viewport",), f"this is [width, height] in pixels, each at most {_MAX_SIDE}"


def _operators_only(spec: ToolSpec) -> Iterator[Problem]:
    if spec.other[KEY].get("private"):
        text = "private and loopback addresses are for the operator's own agents file"
        yield Problem(("private",), text)


def _not_ready(_spec: ToolSpec, environ: Mapping[str, str]) -> str | None:
    if find_spec("playwright") is None:
        return f"needs an extra: {install('browser')}"
    path = environ.get(PATH_VARIABLE, "")
    if find_browser(path) is not None:
        return None
    if path:
        return f"needs a browser, and {PATH_VARIABLE}={path} is not a program"
    return f"needs Chrome or Chromium: install one, or name it by {PATH_VARIABLE}"


BROWSER: Final = ToolKind(
    KEY,
    BrowserEntry,
    _make,
    BrowserRunner,
    problems=_problems,
    operators_only=_operators_only,
    not_ready=_not_ready,
    own_keys=("name", "description", "parameters", "effect", "timeout"),
)
"""A real browser."""
