"""One execution's browser context: its tabs, what pages try, its state."""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final

import structlog
from playwright.async_api import BrowserContext, Dialog, Download, Locator, Page
from playwright.async_api import Error as PlaywrightError

from outlast.agents.browser.chromium import Chromium
from outlast.agents.browser.elements import Element, elements_of, found_again
from outlast.agents.browser.held import HeldBrowser, State
from outlast.agents.browser.proxy import GuardedProxy
from outlast.agents.browser.state import BrowserState
from outlast.model.error import ToolFailed

logger = structlog.get_logger(__name__)

ACTION_SECONDS: Final = 5.0
"""How long an element may take to be ready for an action."""
_CLOSE_SECONDS: Final = 5.0
_STATE_SECONDS: Final = 3.0
_SETTLE_SECONDS: Final = 2.0
_ALIVE_SECONDS: Final = 1.0
_MAX_TABS: Final = 5
_MAX_NOTES: Final = 10
_SHORT: Final = 300
_REOPENED: Final = (
    "The browser was closed since its last step. It is open again with its cookies and local "
    "storage, and its page was loaded anew: what was typed, other tabs and the history are gone."
)
_EMPTY: Final = "The browser was closed since its last step and begins empty."
_TOO_LARGE: Final = "Its local storage was too large to be kept."
_MAX_ELEMENTS: Final = 10_000
_ELEMENTS: Final = "document.getElementsByTagName('*').length"
_PART: Final = (
    "([start, most]) => { const text = document.body ? document.body.innerText : ''; "
    "return [text.slice(start, start + most), text.length]; }"
)
_TOO_MANY: Final = "The page has too many elements for references: this is its text."
_NO_ELEMENT: Final = "take a snapshot (browser_snapshot) and use one of its references"


class Session:
    """An open context. Made by `open`."""

    def __init__(
        self,
        chromium: Chromium,
        proxy: GuardedProxy,
        context: BrowserContext,
        held: HeldBrowser,
        max_characters: int,
    ) -> None:
        self._chromium = chromium
        self._proxy = proxy
        self._context = context
        self._held = held
        self._max = max_characters
        self._tabs: list[Page] = []
        self._notes: list[str] = []
        self._seen: tuple[Page | None, dict[str, Element]] = (None, {})
        """The tab of the newest snapshot, and its elements."""
        self._shown: dict[str, Element] = {}
        """Those of them that the model has seen."""
        self._before: Mapping[str, Element] = {}
        """What it saw before the browser was closed; until the next snapshot."""
        self._freed = False
        self.died = False
        """Whether it ended by itself."""

    @classmethod
    async def open(
        cls,
        chromium: Chromium,
        proxy: GuardedProxy,
        held: HeldBrowser,
        viewport: tuple[int, int],
        max_characters: int,
    ) -> "Session":
        """Open a context, with the state that is kept. Raises ToolFailed, PlaywrightError."""
        restored = await held.restored()
        state = None if restored is None else BrowserState.from_json(restored)
        was_open = held.used.steps > 0 or held.timed(held.used, 0).ms > held.used.ms
        browser = await chromium.acquire()
        try:
            url = await proxy.start()
            context = await browser.new_context(
                viewport={"width": viewport[0], "height": viewport[1]},
                storage_state=None if state is None else state.storage,  # type: ignore[arg-type]
                proxy={"server": url, "bypass": "<-loopback>"},
                service_workers="block",
                accept_downloads=False,
            )
        except BaseException:
            proxy.close()
            chromium.release()
            raise
        session = cls(chromium, proxy, context, held, max_characters)
        held.opened(session)
        context.set_default_timeout(ACTION_SECONDS * 1000)
        context.set_default_navigation_timeout(0)  # the tool's own timeout bounds it
        context.on("page", session._tab_opened)
        context.on("page", session._bound_tabs)
        context.on("dialog", session._dialog)
        context.on("close", session._ended)
        try:
            await context.new_page()
        except BaseException:
            await held.close()
            raise
        if state is not None:
            session._before = state.elements
            session.note(_REOPENED, *((_TOO_LARGE,) if state.is_cut else ()))
        elif was_open:
            session.note(_EMPTY)
        return session

    # --- tabs and what pages try

    @property
    def page(self) -> Page:
        """The current tab. Raises ToolFailed if there is none."""
        if not self._tabs:
            raise ToolFailed("The page has closed itself; open another one (browser_navigate).")
        return self._tabs[-1]

    async def tab(self) -> Page:
        """Return the current tab, a new one if the page has closed itself."""
        return self.page if self._tabs else await self._context.new_page()

    @property
    def has_opener(self) -> bool:
        """Whether another tab is below the current one."""
        return len(self._tabs) > 1

    def note(self, *texts: str) -> None:
        """Note what the model is to know with the next result."""
        self._notes += texts
        del self._notes[:-_MAX_NOTES]

    def notes(self) -> list[str]:
        """Return the notes since the last result, refused addresses among them."""
        refused = [f"not loaded: {text}" for text in dict.fromkeys(self._proxy.refused)]
        self._proxy.refused.clear()
        found = [*self._notes, *refused[-_MAX_NOTES:]]
        self._notes.clear()
        return found

    @property
    def refused(self) -> str | None:
        """The newest address that the proxy has refused; None if there is none."""
        return self._proxy.refused[-1] if self._proxy.refused else None

    def forget_refused(self) -> None:
        """Forget what was refused before the step that now begins."""
        self._proxy.refused.clear()

    def _tab_opened(self, page: Page) -> None:
        self._tabs.append(page)
        page.on("close", self._tab_closed)
        page.on("download", self._download)
        page.on("crash", self._crashed)
        if len(self._tabs) > 1:
            self.note("A new tab was opened, and is the current one.")

    async def _bound_tabs(self, page: Page) -> None:
        if len(self._tabs) > _MAX_TABS:
            self.note(f"There are more than {_MAX_TABS} tabs: the newest was closed.")
            with suppress(PlaywrightError):
                await page.close()

    def _tab_closed(self, page: Page) -> None:
        if page in self._tabs:
            self._tabs.remove(page)

    def _crashed(self, _page: Page) -> None:
        self.died = True

    async def _dialog(self, dialog: Dialog) -> None:
        with suppress(PlaywrightError):
            if dialog.type == "beforeunload":
                await dialog.accept()
                return
            self.note(f"The page's {dialog.type} was dismissed: {dialog.message[:_SHORT]}")
            await dialog.dismiss()

    async def _download(self, download: Download) -> None:
        self.note(f"A download was refused: {download.suggested_filename[:_SHORT]}")
        with suppress(PlaywrightError):
            await download.cancel()

    # --- pages as the model sees them

    async def reopen(self) -> None:
        """Load the page of the kept state again, as far as it can be loaded."""
        state = None if self._held.kept is None else BrowserState.from_json(self._held.kept)
        if state is None or not state.url.startswith(("http://", "https://")):
            return
        try:
            await self.page.goto(state.url, wait_until="domcontentloaded")
            await self.settle()
        except PlaywrightError:
            self.note(f"Its page could not be loaded: {state.url[:_SHORT]}")

    async def settle(self) -> None:
        """Wait a moment for what a step has begun to load."""
        for moment in ("domcontentloaded", "load"):
            with suppress(PlaywrightError):
                await self.page.wait_for_load_state(moment, timeout=_SETTLE_SECONDS * 1000)

    async def shown(self, start: int = 0) -> dict[str, Any]:
        """Return the current page as a result: URL, title, snapshot from a character on."""
        page = self.page
        if await page.evaluate(_ELEMENTS) > _MAX_ELEMENTS:
            return await self._text(page, start)
        text = await page.aria_snapshot(mode="ai", timeout=0)
        elements = elements_of(text)
        part = text[start : start + self._max]
        shown = {key: one for key, one in elements.items() if f"[ref={key}]" in part}
        again = self._seen[0] is page and start
        self._seen = page, elements
        self._shown = self._shown | shown if again else shown
        self._before = {}
        result = await self.place() | {"snapshot": part}
        end = start + len(part)
        return result | {"next": end} if end < len(text) else result

    async def _text(self, page: Page, start: int) -> dict[str, Any]:
        """Return a page with too many elements as text alone."""
        self._seen, self._shown, self._before = (page, {}), {}, {}
        part, size = await page.evaluate(_PART, [start, self._max])
        self.note(_TOO_MANY)
        result = await self.place() | {"snapshot": part}
        end = start + len(part)
        return result | {"next": end} if end < size else result

    async def place(self) -> dict[str, Any]:
        """Return URL and title of the current page."""
        page = self.page
        return {"url": page.url[: _SHORT * 10], "title": (await page.title())[:_SHORT]}

    async def element(self, reference: str) -> Locator:
        """Return the element of a reference. Raises ToolFailed."""
        page, elements = self._seen
        if self._before:
            known = self._before.get(reference)
            if known is None:
                raise ToolFailed(f"There is no element {reference[:20]!r}: {_NO_ELEMENT}.")
            if await self.page.evaluate(_ELEMENTS) > _MAX_ELEMENTS:
                raise ToolFailed(f"The page has grown too large: {_NO_ELEMENT}.")
            now = elements_of(await self.page.aria_snapshot(mode="ai", timeout=0))
            found = found_again(known, now)
            if found is None:
                raise ToolFailed(
                    f"The page was loaded anew, and {reference} ({str(known)[:_SHORT]}) is not on "
                    f"it as before: {_NO_ELEMENT}."
                )
            return self.page.locator(f"aria-ref={found}")
        if page is not self.page:
            raise ToolFailed(f"Another tab is the current one now: {_NO_ELEMENT}.")
        if reference not in elements:
            raise ToolFailed(f"There is no element {reference[:20]!r}: {_NO_ELEMENT}.")
        locator = page.locator(f"aria-ref={reference}")
        if not await locator.count():
            raise ToolFailed(f"The page has changed, {reference} is not on it: {_NO_ELEMENT}.")
        return locator

    # --- its end

    async def state(self) -> State | None:
        """Return its state now; None if it cannot be read."""
        if self.died or self._freed:
            return None
        with suppress(PlaywrightError, TimeoutError):
            async with asyncio.timeout(_STATE_SECONDS):
                storage: Any = await self._context.storage_state()
                url = self._tabs[-1].url if self._tabs else ""
                return BrowserState(url, storage, self._before or self._shown).as_json()
        return None

    async def answers(self) -> bool:
        """Whether the current page still runs; a script without end blocks it."""
        with suppress(PlaywrightError, TimeoutError, ToolFailed):
            async with asyncio.timeout(_ALIVE_SECONDS):
                await self.page.evaluate("1")
                return True
        return False

    async def close(self) -> None:
        """Close it, within seconds."""
        self._free()
        with suppress(PlaywrightError, TimeoutError):
            async with asyncio.timeout(_CLOSE_SECONDS):
                await self._context.close()

    def _ended(self, _context: BrowserContext) -> None:
        if not self._freed:
            self.died = True
            self._held.closed()
            self._free()

    def _free(self) -> None:
        if not self._freed:
            self._freed = True
            self._proxy.close()
            self._chromium.release()
