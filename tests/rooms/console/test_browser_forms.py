"""A browser whose reader is impatient, prints, or sees no colours."""

import asyncio

import pytest
from playwright.async_api import Route, expect

from tests.support.chromium import chromium, enter, visit
from tests.support.console_server import approval_of, conversation_of, reaches, url_of
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


async def test_what_is_printed_has_the_page_alone_and_all_of_it(server: ServerProcess) -> None:
    async with chromium() as browser, visit(browser, url_of(server)) as at:
        state = {"lines": [f"line {n}" for n in range(200)]}
        made = await server.http.post("/v1/execution", json={"name": "Import", "state": state})
        await enter(at, f"/console/executions/{made.json()['data']['id']}")
        await at.page.set_viewport_size({"width": 700, "height": 900})  # a sheet of paper
        await expect(at.page.locator(".rail")).to_be_visible()
        await at.page.emulate_media(media="print")
        await expect(at.page.locator(".rail")).to_be_hidden()
        hidden = "one => one.scrollHeight - one.clientHeight"
        assert await at.page.get_by_label("State").evaluate(hidden) <= 0
        await at.page.emulate_media(media="screen")


async def test_changes_differ_by_more_than_their_colours(server: ServerProcess) -> None:
    async with chromium() as browser, visit(browser, url_of(server)) as at:
        run = await server.background("support", "refund")
        await reaches(server, run, "suspended")
        await enter(at, await approval_of(server, run))
        await at.page.get_by_label("amount").fill("10")
        await at.page.get_by_role("button", name="Review changes").click()
        mark = "one => getComputedStyle(one, '::before').content"
        changes = at.page.locator(".diff")
        assert await changes.locator("ins").evaluate(mark) == '"+ "'
        assert await changes.locator("del").evaluate(mark) == '"− "'


async def test_a_page_whose_stream_a_proxy_holds_back_says_so(server: ServerProcess) -> None:
    async with chromium() as browser, visit(browser, url_of(server)) as at:
        run = await server.background("writer", "hold")
        free = asyncio.Event()

        async def held(route: Route) -> None:
            await free.wait()
            await route.continue_()

        await at.page.clock.install()
        await at.page.route("**/live?*", held)
        async with at.page.expect_request("**/live?*"):
            await enter(at, f"/console/executions/{run}")
        await expect(at.page.locator("#live-state")).to_have_text("connecting")
        await expect(at.page.locator("#live-note")).to_have_count(0)
        await at.page.clock.fast_forward(8000)
        await expect(at.page.locator("#live-note")).to_contain_text("a proxy before the server")
        free.set()
        await expect(at.page.locator("#live-state")).to_have_text("live")
        await expect(at.page.locator("#live-note")).to_have_count(0)
        await at.page.unroute("**/live?*")


async def test_what_was_said_may_be_edited_once_it_has_ended_on_the_same_page(
    server: ServerProcess,
) -> None:
    async with chromium() as browser, visit(browser, url_of(server)) as at:
        run = await server.background("writer", "hold")
        conversation = await conversation_of(server, run)
        await enter(at, f"/console/playground?conversation={conversation}")
        edit = at.page.get_by_role("link", name="Edit what you said")
        await expect(at.page.locator("#head")).to_have_attribute("data-status", "running")
        await expect(edit).to_be_hidden()
        assert (await server.http.post(f"/v1/executions/{run}/cancel")).is_success
        await expect(edit).to_be_visible()
