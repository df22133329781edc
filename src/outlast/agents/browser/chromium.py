"""The one Chromium of a process: started when first needed, ended when idle.

Playwright's driver (a child process) starts it in a process group of its own and ends that group;
both end with this process too, also by kill -9, since they are connected to it by pipes.
"""

import asyncio
import os
from collections.abc import Mapping
from contextlib import suppress
from typing import Final

import structlog
from playwright.async_api import Browser, Playwright, async_playwright
from playwright.async_api import Error as PlaywrightError

from outlast.agents.browser.settings import BrowserSettings, find_browser
from outlast.model.clock import Clock
from outlast.model.error import ToolFailed

logger = structlog.get_logger(__name__)

NOWHERE: Final = "http://127.0.0.1:9"
"""The proxy of what belongs to no context: nothing listens there."""
_FLAGS: Final = (
    "--disable-quic",
    # Names are resolved by the proxy alone.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    "--webrtc-ip-handling-policy=disable_non_proxied_udp",
    # The same for chromium-headless-shell, which does not know the flag above.
    "--force-webrtc-ip-handling-policy=disable_non_proxied_udp",
    "--deny-permission-prompts",
    "--disable-dev-shm-usage",
)
_PASSED: Final = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "TZ", "FONTCONFIG_PATH")
"""Variables that the browser gets: none of the server's secrets."""
_START_SECONDS: Final = 20.0
_CLOSE_SECONDS: Final = 5.0


class Chromium:
    """Starts, keeps and ends the browser."""

    def __init__(self, settings: BrowserSettings, clock: Clock, environ: Mapping[str, str]) -> None:
        self._settings = settings
        self._clock = clock
        self._environ = environ
        self._slots = asyncio.Semaphore(settings.contexts)
        self._changing = asyncio.Lock()
        self._startup: asyncio.Task[None] | None = None
        self._driver: Playwright | None = None
        self._browser: Browser | None = None
        self._ending = False
        self._used = 0
        self._idle: asyncio.Task[None] | None = None

    async def acquire(self) -> Browser:
        """Wait for a free context, and return the running browser. Raises ToolFailed."""
        await self._slots.acquire()
        self._used += 1
        try:
            return await self._running()
        except BaseException:
            self.release()
            raise

    def release(self) -> None:
        """Give a context back; the last one lets the browser end after a while."""
        self._slots.release()
        self._used -= 1
        if not self._used and self._idle is None:
            loop = asyncio.get_running_loop()
            self._idle = loop.create_task(self._end_when_idle(), name="idle browser")

    async def _running(self) -> Browser:
        """Return the running browser; its start goes on if the call that began it gives up."""
        while self._ending or self._browser is None or not self._browser.is_connected():
            if self._startup is None:
                loop = asyncio.get_running_loop()
                self._startup = loop.create_task(self._restart(), name="browser start")
            await asyncio.shield(self._startup)
        return self._browser

    async def _restart(self) -> None:
        try:
            async with self._changing:
                await self._end()  # of one that died, its driver
                await self._start()
        finally:
            self._startup = None

    async def _start(self) -> None:
        path = find_browser(self._settings.path)
        if path is None:
            raise ToolFailed("There is no Chrome or Chromium on the server.")
        began = self._clock.monotonic()
        self._driver = await async_playwright().start()
        passed: dict[str, str | float | bool] = {
            name: self._environ[name] for name in _PASSED if name in self._environ
        }
        try:
            self._browser = await self._driver.chromium.launch(
                executable_path=path,
                args=list(_FLAGS),
                proxy={"server": NOWHERE},
                chromium_sandbox=self._settings.sandbox and os.geteuid() != 0,
                handle_sigint=False,
                handle_sigterm=False,
                handle_sighup=False,
                timeout=_START_SECONDS * 1000,
                env=passed,
            )
        except PlaywrightError as error:
            logger.warning("browser.not_started", path=path, cause=str(error)[:2048])
            await self._end()
            raise ToolFailed("The browser could not be started.", cause=str(error)) from error
        self._browser.on("disconnected", self._disconnected)
        ms = round((self._clock.monotonic() - began) * 1000)
        logger.info("browser.started", path=path, version=self._browser.version, ms=ms)

    def _disconnected(self, browser: Browser) -> None:
        if browser is self._browser and not self._ending:
            logger.warning("browser.died")
            self._browser = None

    async def _end_when_idle(self) -> None:
        """End the browser unless it is used again within the idle time."""
        try:
            await self._clock.sleep(self._settings.idle_seconds)
            async with self._changing:
                if not self._used:
                    await self._end()
        finally:
            self._idle = None

    async def _end(self) -> None:
        """End browser and driver, within seconds; if this is cancelled, the next call goes on."""
        self._ending = True
        try:
            with suppress(PlaywrightError, TimeoutError):
                async with asyncio.timeout(_CLOSE_SECONDS):
                    if self._browser is not None:
                        await self._browser.close()
            self._browser = None
            with suppress(PlaywrightError, TimeoutError):
                async with asyncio.timeout(_CLOSE_SECONDS):
                    if self._driver is not None:
                        await self._driver.stop()
                        logger.info("browser.ended")
            self._driver = None
        finally:
            self._ending = False

    async def close(self) -> None:
        """End the browser."""
        if self._startup is not None:
            await asyncio.wait({self._startup})
        async with self._changing:
            await self._end()
        if self._idle is not None:
            self._idle.cancel()
            await asyncio.wait({self._idle})
