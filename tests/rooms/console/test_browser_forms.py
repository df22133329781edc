"""Forms in a browser whose reader is impatient."""

import asyncio

import pytest
from playwright.async_api import Route

from tests.support.chromium import chromium, enter, visit
from tests.support.console_server import reaches, url_of
from tests.support.processes import ServerProcess

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("one_chromium")]


async def test_a_form_that_is_sent_twice_is_sent_once(server: ServerProcess) -> None:
    async with chromium() as browser, visit(browser, url_of(server)) as at:
        run = await server.background("writer", "once")
        await reaches(server, run, "completed")
        await enter(at, f"/console/executions/{run}/again")
        began, pressed = asyncio.Event(), asyncio.Event()
        sent = list[str]()

        async def slow(route: Route) -> None:
            if route.request.method == "POST":
                sent.append(route.request.url)
                began.set()
                await pressed.wait()
            await route.continue_()

        await at.page.route("**/again", slow)
        await at.page.get_by_label("Input").focus()
        await at.page.keyboard.press("Control+Enter")
        await began.wait()
        await at.page.keyboard.press("Control+Enter")
        pressed.set()
        await at.page.wait_for_url(lambda url: not url.endswith((run, "/again")))
        assert len(sent) == 1
        await at.page.unroute("**/again")
