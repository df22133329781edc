"""The Chromium of an agent's tools, when it is killed."""

import asyncio
import os
import signal

import pytest

from outlast.model.error import ToolFailed
from tests.support.pages import Page, Site, browsing, needs_chromium
from tests.support.processes import named_below

pytestmark = [pytest.mark.anyio, needs_chromium]


async def test_a_browser_that_was_killed_is_a_clear_error_and_comes_back() -> None:
    page = Page("<title>In</title>", headers={"set-cookie": "login=yes"})
    async with Site({"/": page, "/slow": Page("")}) as site:
        async with browsing(private=[site.origin]) as browser:
            await browser("navigate", url=site.origin)
            stopped = asyncio.Event()

            def kill(_head: str) -> Page:
                for pid in named_below({os.getpid()}, "chrom"):
                    os.kill(pid, signal.SIGKILL)
                stopped.set()
                return Page("")

            site.pages["/kill"] = kill
            with pytest.raises(ToolFailed, match="The browser ended during this step"):
                await browser("navigate", url=f"{site.origin}/kill")
            assert stopped.is_set()
            shown = await browser("snapshot")
            assert (shown["title"], shown["url"]) == ("In", f"{site.origin}/")
            assert "cookies and local storage" in shown["notes"][0]
            assert "cookie: login=yes" in site.requests[-1].lower()
        assert not named_below({os.getpid()}, "chrom")
