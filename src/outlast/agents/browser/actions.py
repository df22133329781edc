"""What each tool does with the browser: a step of one execution, its calls one after the other."""

import re
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Final, TypeAlias
from urllib.parse import urlsplit

from playwright.async_api import Error as PlaywrightError
from playwright.async_api import Page, Response
from playwright.async_api import TimeoutError as PlaywrightTimeout

from outlast.agents.browser.chromium import Chromium
from outlast.agents.browser.held import HeldBrowser
from outlast.agents.browser.proxy import REFUSED, GuardedProxy, Resolve, addresses
from outlast.agents.browser.reach import Reach
from outlast.agents.browser.session import ACTION_SECONDS, Session
from outlast.agents.browser.settings import BrowserSettings
from outlast.agents.call_images import CallImages, NotKept
from outlast.model.error import ToolFailed

Action: TypeAlias = Callable[[Session, dict[str, Any]], Awaitable[dict[str, Any]]]

DIED: Final = (
    "The browser ended during this step, so it is unknown whether the step took effect. The next "
    "call opens it again, with cookies and local storage as of the step before."
)
_CLOSED: Final = "The browser is closed, with its cookies; a later call opens an empty one."
_LOG_CHARACTERS: Final = 400
_PREFIX: Final = re.compile(r"^\w+\.\w+: ")
_DOWNLOAD: Final = "Download is starting"
_INTERRUPTED: Final = re.compile(
    r'Navigation to "(.*)" is interrupted by another navigation to "(.*)"'
)
_TRIES: Final = 3
_CLOSING: Final = "close"
_TAKEN: Final = "image"
"""Key of a screenshot: its bytes, then its reference."""


class Browsers:
    """The browsers of this process's executions."""

    def __init__(
        self, settings: BrowserSettings, chromium: Chromium, resolve: Resolve = addresses
    ) -> None:
        self._settings = settings
        self._chromium = chromium
        self._resolve = resolve

    async def call(
        self,
        keys: dict[str, Any],
        arguments: dict[str, Any],
        held: HeldBrowser,
        images: CallImages,
    ) -> dict[str, Any]:
        """Carry out one call and return its result; a screenshot is added to `images`.

        Raises ToolFailed.
        """
        async with held.lock:
            if keys["action"] == _CLOSING:
                await held.close()
                held.keep(None)
                return {"text": _CLOSED}
            try:
                session = await self._session(keys, held)
                result = await ACTIONS[keys["action"]](session, arguments)
                if isinstance(taken := result.get(_TAKEN), bytes):
                    result |= _reference(taken, images)
                if notes := session.notes():
                    result["notes"] = notes
                if (state := await session.state()) is not None:
                    held.keep(state)
            except PlaywrightError as error:
                raise await _failure(held, error) from error
            return result

    async def after_timeout(self, held: HeldBrowser) -> bool:
        """Close a browser whose page does not run any more; return whether it did not."""
        session = held.session
        hangs = isinstance(session, Session) and not await session.answers()
        if hangs:
            await held.close()
        return hangs

    async def close(self) -> None:
        """End the process of the browser."""
        await self._chromium.close()

    async def _session(self, keys: dict[str, Any], held: HeldBrowser) -> Session:
        """Return the open session, or open one, with the page that it had."""
        if isinstance(held.session, Session) and not held.session.died:
            held.session.forget_refused()
            return held.session
        await held.close()
        reach = Reach.of(keys["allow"], keys["private"], self._settings.private_network)
        proxy = GuardedProxy(reach, self._resolve)
        width, height = keys["viewport"]
        session = await Session.open(
            self._chromium, proxy, held, (width, height), keys["max_characters"]
        )
        if keys["action"] != "navigate":
            await session.reopen()
        return session


async def _failure(held: HeldBrowser, error: PlaywrightError) -> ToolFailed:
    """Return an error of Playwright as one for the model."""
    session = held.session
    if not isinstance(session, Session) or session.died:
        await held.close()
        return ToolFailed(DIED, cause=str(error))
    text = str(error)
    first, _, log = text.partition("\n")
    first = _PREFIX.sub("", first).rstrip(".")
    if isinstance(error, PlaywrightTimeout):
        first = f"This was not possible within {ACTION_SECONDS:g} s"
    lines = [line.strip(" -\t") for line in log.splitlines() if line.lstrip().startswith("- ")]
    detail = "; ".join(dict.fromkeys(lines[-3:]))[:_LOG_CHARACTERS]
    notes = session.notes()
    whole = ". ".join([first[:_LOG_CHARACTERS], *([detail] if detail else []), *notes])
    return ToolFailed(f"{whole}.", cause=text)


async def _navigate(session: Session, arguments: dict[str, Any]) -> dict[str, Any]:
    url = arguments["url"]
    _require_page(url)
    page = await session.tab()
    try:
        answer = await _opened(page, url)
    except PlaywrightTimeout as error:
        raise ToolFailed(f"{url[:200]} was not loaded in time.", cause=str(error)) from error
    except PlaywrightError as error:
        if session.died or page.is_closed():
            raise
        if _DOWNLOAD in str(error):
            raise ToolFailed(f"{url[:200]} is a download; downloads are refused.") from error
        with suppress(PlaywrightError):
            await _opened(page, "about:blank")  # not before the browser's own error page is there
        refused = session.refused
        reason = f"not loaded: {refused}" if refused else _net_error(str(error))
        raise ToolFailed(f"{url[:200]} cannot be opened: {reason}.", cause=str(error)) from error
    if answer is not None and REFUSED in answer.headers:
        raise ToolFailed(f"{url[:200]} cannot be opened: {(await answer.text())[:400]}")
    await session.settle()
    shown = await session.shown()
    if answer is not None and not answer.ok:
        shown["status"] = answer.status
    return shown


async def _opened(page: Page, url: str) -> Response | None:
    """Open a URL; again if the page that is there goes elsewhere in that moment.

    A navigation that Playwright gives up may go on in the browser and interrupt the next one: its
    end is waited for.
    """
    for _ in range(_TRIES):
        try:
            return await page.goto(url, wait_until="domcontentloaded")
        except PlaywrightError as error:
            interrupted = _INTERRUPTED.search(str(error))
            if interrupted is None:
                raise
        if interrupted[1] == interrupted[2]:
            with suppress(PlaywrightTimeout):
                await page.wait_for_url(interrupted[2], wait_until="domcontentloaded")
    return await page.goto(url, wait_until="domcontentloaded")


def _require_page(url: str) -> None:
    """Raise ToolFailed for what is no page of the web: file://, chrome:// and the like."""
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise ToolFailed(f"{url[:200]!r} is not a URL.") from error
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ToolFailed(f"{url[:200]!r} is not opened: a URL begins with http:// or https://.")


def _net_error(text: str) -> str:
    """Return the browser's word for what went wrong, as net::ERR_NAME_NOT_RESOLVED."""
    found = re.search(r"net::\w+", text)
    return found[0] if found else _PREFIX.sub("", text.partition("\n")[0])[:_LOG_CHARACTERS]


async def _snapshot(session: Session, arguments: dict[str, Any]) -> dict[str, Any]:
    return await session.shown(arguments.get("start", 0))


async def _click(session: Session, arguments: dict[str, Any]) -> dict[str, Any]:
    element = await session.element(arguments["ref"])
    await element.click(click_count=2 if arguments.get("doubleClick") else 1)
    await session.settle()
    return await session.shown()


async def _type(session: Session, arguments: dict[str, Any]) -> dict[str, Any]:
    element = await session.element(arguments["ref"])
    await element.fill(arguments["text"])
    if arguments.get("submit"):
        await element.press("Enter")
    await session.settle()
    return await session.shown()


async def _select_option(session: Session, arguments: dict[str, Any]) -> dict[str, Any]:
    element = await session.element(arguments["ref"])
    await element.select_option(arguments["values"])
    await session.settle()
    return await session.shown()


async def _press_key(session: Session, arguments: dict[str, Any]) -> dict[str, Any]:
    await session.page.keyboard.press(arguments["key"])
    await session.settle()
    return await session.shown()


async def _wait_for(session: Session, arguments: dict[str, Any]) -> dict[str, Any]:
    page = session.page
    if "time" in arguments:
        await page.wait_for_timeout(arguments["time"] * 1000)
    if text := arguments.get("text"):
        await page.get_by_text(text).first.wait_for(state="visible")
    if text := arguments.get("textGone"):
        await page.get_by_text(text).first.wait_for(state="hidden")
    return await session.shown()


async def _navigate_back(session: Session, _arguments: dict[str, Any]) -> dict[str, Any]:
    page = session.page
    before = page.url
    answer = await page.go_back(wait_until="domcontentloaded")
    if answer is None and page.url == before:
        if not session.has_opener:
            raise ToolFailed("There is no earlier page.")
        await page.close()
        session.note("The tab was closed; the one that opened it is the current one.")
    await session.settle()
    return await session.shown()


async def _take_screenshot(session: Session, _arguments: dict[str, Any]) -> dict[str, Any]:
    taken = await session.page.screenshot(type="jpeg", quality=60)
    return {**await session.place(), _TAKEN: taken}


def _reference(taken: bytes, images: CallImages) -> dict[str, str]:
    """Keep a screenshot, and return what stands for it in the result."""
    try:
        image = images.keep(taken)
    except NotKept as error:
        return {_TAKEN: f"not kept: {error}"}
    return {_TAKEN: image.id, "text": image.placeholder}


ACTIONS: Final[dict[str, Action]] = {
    "navigate": _navigate,
    "navigate_back": _navigate_back,
    "snapshot": _snapshot,
    "click": _click,
    "type": _type,
    "select_option": _select_option,
    "press_key": _press_key,
    "wait_for": _wait_for,
    "take_screenshot": _take_screenshot,
}
