"""Journeys through the console in a real browser, on a real server."""

import signal

import pytest
from playwright.async_api import Route, expect

from tests.support.chromium import chromium, enter, examine, examine_here, picture, sign_in, visit
from tests.support.console_server import approval_of, reaches, url_of
from tests.support.processes import CountingToolServer, ServerProcess
from tests.support.waiting import BOUND

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("one_chromium")]
expect.set_options(timeout=BOUND * 1000)


async def test_a_run_is_watched_live_over_a_killed_server_and_its_text_is_the_api_s(
    server: ServerProcess,
) -> None:
    async with chromium() as browser, visit(browser, url_of(server)) as at:
        await sign_in(at)
        run = await server.background("writer", "a story")
        await at.goto(f"/console/executions/{run}")
        text = at.page.locator(".step:not(.superseded) .text:not(.thinking *)")
        await expect(text).to_contain_text("word20")
        await expect(at.page.locator("#live-state")).to_have_text("live")
        await server.kill()
        await expect(at.page.locator("#live-state")).to_have_text("reconnecting")
        await picture(at, "killed")
        await server.start()
        await expect(at.page.locator("#head")).to_have_attribute("data-status", "completed")
        await expect(at.page.locator("#live-state")).to_have_text("ended")
        shown = await text.all_text_contents()
        assert " ".join(shown).split() == (await server.execution(run))["output"].split()
        streamed = await at.page.locator("#transcript").inner_html()
        await at.page.reload()
        assert await text.all_text_contents() == shown
        assert "superseded" not in streamed


async def test_a_live_page_says_that_its_run_waits_and_that_its_server_comes_back(
    server: ServerProcess,
) -> None:
    async with chromium() as browser, visit(browser, url_of(server)) as at:
        run, deleted = [await server.background("support", "refund") for _ in range(2)]
        await enter(at, f"/console/executions/{run}")
        word, other = at.page.locator("#live-state"), await at.page.context.new_page()
        await other.goto(f"{at.url}/console/executions/{deleted}")
        await expect(other.locator("#live-state")).to_have_text("waits")
        await expect(word).to_have_text("waits")
        await server.signal(signal.SIGTERM)
        await expect(word).to_have_text("coming back")
        await expect(other.locator("#live-state")).to_have_text("coming back")
        await other.route("**/live?*", lambda route: route.abort())
        await server.start()
        await expect(word).to_have_text("waits")
        assert (await server.http.delete(f"/v1/executions/{deleted}")).is_success
        await other.unroute("**/live?*")
        await expect(other.locator("main")).to_contain_text("There is no such page")
        assert (await server.http.post(f"/v1/executions/{run}/cancel")).is_success
        await expect(at.page.locator("#head")).to_have_attribute("data-status", "cancelled")
        await expect(word).to_have_text("ended")


async def test_a_live_page_connects_once_all_its_scripts_are_there(server: ServerProcess) -> None:
    async def late(route: Route) -> None:
        answers = [await route.fetch() for _ in range(21)]
        await route.fulfill(response=answers[-1])

    async with chromium() as browser, visit(browser, url_of(server)) as at:
        run = await server.background("writer", "hold")
        for script in ("hx-sse.min.js", "console.js", "live.js"):
            await at.page.route(f"**/{script}", late)
        await enter(at, f"/console/executions/{run}")
        assert (await server.http.post(f"/v1/executions/{run}/cancel")).is_success
        await expect(at.page.locator("#head")).to_have_attribute("data-status", "cancelled")
        await expect(at.page.locator("#live-state")).to_have_text("ended")


async def test_a_run_is_paused_resumed_cancelled_and_deleted(server: ServerProcess) -> None:
    async with chromium() as browser:
        for scripts in (True, False):
            async with visit(browser, url_of(server), java_script_enabled=scripts) as at:
                run = await server.background("writer", "hold")
                await enter(at, f"/console/executions/{run}")
                page = at.page
                await page.get_by_role("button", name="Pause now").click()
                await expect(page.locator("#head")).to_have_attribute("data-status", "paused")
                await page.get_by_role("button", name="Resume").click()
                await expect(page.get_by_role("button", name="Pause now")).to_be_visible()
                await page.get_by_role("button", name="Cancel…").click()
                await page.get_by_role("button", name="Cancel the execution").click()
                await expect(page.locator("#head")).to_have_attribute("data-status", "cancelled")
                await page.get_by_role("button", name="Delete…").click()
                await page.get_by_role("button", name="Delete for good").click()
                await page.wait_for_url("**/console/executions")
                assert (await server.http.get(f"/v1/executions/{run}")).status_code == 404


async def test_a_step_is_rolled_back_after_a_look_at_what_that_means(
    server: ServerProcess, tools: CountingToolServer
) -> None:
    async with chromium() as browser:
        for scripts in (True, False):
            async with visit(browser, url_of(server), java_script_enabled=scripts) as at:
                run = await server.background("support", "ship")
                await reaches(server, run, "completed")
                called = tools.calls.total()
                await enter(at, f"/console/executions/{run}")
                page = at.page
                await page.get_by_role("link", name="Step 1").click()
                await page.get_by_role("link", name="Roll back to here…").click()
                await expect(page.locator("main")).to_contain_text("2 steps (1 tool call)")
                await expect(page.locator("main")).to_contain_text("What is not taken back")
                await picture(at, "roll-back")
                await page.get_by_role("button", name="Roll back to step 1").click()
                await page.wait_for_url(f"**/console/executions/{run}")
                await reaches(server, run, "completed")
                await page.reload()
                await expect(page.locator(".step.superseded")).to_have_count(2)
                assert tools.calls.total() == called + 1


async def test_a_task_shows_what_its_client_saves_and_is_paused_and_resumed(
    server: ServerProcess,
) -> None:
    async with chromium() as browser, visit(browser, url_of(server)) as at:
        made = await server.http.post("/v1/execution", json={"name": "Import", "state": {"n": 1}})
        task = f"/v1/execution/{made.json()['data']['id']}"
        await enter(at, f"/console/executions/{made.json()['data']['id']}")
        state = at.page.get_by_label("State")
        await state.focus()
        await server.http.put(f"{task}/checkpoint", json={"label": "two", "state": {"n": 2}})
        await expect(state).to_contain_text('"n": 2')
        await expect(at.page.locator("#task li")).to_contain_text("two")
        await expect(state).to_be_focused()
        await server.http.patch(task, json={"state": {"n": 3}})
        await expect(state).to_contain_text('"n": 3')
        await at.page.get_by_role("button", name="Pause", exact=True).click()
        await expect(at.page.locator("#head")).to_have_attribute("data-status", "paused")
        await at.page.get_by_role("button", name="Resume").click()
        await expect(at.page.locator("#head")).to_have_attribute("data-status", "running")
        await server.http.post(f"{task}/complete", json={"result": "All imported."})
        await expect(at.page.locator("#head")).to_have_attribute("data-status", "completed")
        await expect(at.page.get_by_label("Result")).to_have_text("All imported.")


async def test_a_conversation_goes_on_in_the_playground_and_is_deleted(
    server: ServerProcess,
) -> None:
    async with chromium() as browser:
        for scripts in (True, False):
            async with visit(browser, url_of(server), java_script_enabled=scripts) as at:
                run = await server.background("support", "the sum")
                await reaches(server, run, "completed")
                await enter(at, f"/console/executions/{run}")
                page = at.page
                await page.locator(".facts").get_by_role("link").click()
                await page.get_by_role("link", name="Continue").click()
                await page.get_by_label("Message").fill("again")
                await page.locator(".send button.main").click()
                await expect(page.locator(".answer")).to_have_count(1)
                await page.goto(f"{at.url}/console/executions/{run}")
                await page.locator(".facts").get_by_role("link").click()
                await expect(page.locator(".said")).to_have_text(["the sum", "again"])
                await page.get_by_role("button", name="Delete…").click()
                await expect(page.get_by_role("dialog")).to_contain_text("Its 2 turns are deleted")
                await page.get_by_role("button", name="Delete for good").click()
                await page.wait_for_url("**/console/executions")
                assert (await server.http.get(f"/v1/executions/{run}")).json()["isPurged"]


async def test_a_timeline_is_drawn_and_a_bar_opens_its_step(server: ServerProcess) -> None:
    async with chromium() as browser, visit(browser, url_of(server)) as at:
        run = await server.background("writer", "a story")
        await reaches(server, run, "completed")
        await enter(at, f"/console/executions/{run}/timeline")
        timeline = at.page.locator("#timeline")
        await expect(timeline).to_have_attribute("data-drawn", "1")
        await at.page.locator("#timeline canvas").hover(position={"x": 300, "y": 26})
        await expect(timeline.locator("[data-said]")).to_contain_text("Step 1: model")
        await timeline.get_by_text("Closer").click()
        await at.page.locator("#timeline canvas").click(position={"x": 300, "y": 26})
        await at.page.wait_for_url(f"**/console/executions/{run}?step=1#step-1")


async def test_a_list_says_what_is_new_and_moves_nothing(server: ServerProcess) -> None:
    async with chromium() as browser, visit(browser, url_of(server)) as at:
        first = await server.background("writer", "one")
        await enter(at, "/console/executions")
        await expect(at.page.locator(f"#status-{first}")).to_contain_text("completed")
        second = await server.background("writer", "two")
        await expect(at.page.locator("#news")).to_contain_text("1 new")
        assert await at.page.locator("tbody tr").count() == 1
        await at.page.get_by_role("link", name="1 new").click()
        await expect(at.page.locator(f"#status-{second}")).to_be_visible()
        await at.page.locator("tbody a").first.click()
        await expect(at.page.locator("h1")).to_have_text("writer")


async def test_the_figures_of_a_list_are_those_of_its_statuses(server: ServerProcess) -> None:
    async with chromium() as browser, visit(browser, url_of(server)) as at:
        run = await server.background("support", "refund")
        await reaches(server, run, "suspended")
        await enter(at, "/console/executions")
        await expect(at.page.locator(f"#steps-{run}")).to_have_text("1")
        call = (await approval_of(server, run)).rsplit("/", 1)[1]
        path = f"/v1/executions/{run}/approvals/{call}"
        assert (await server.http.post(path, json={"approved": False})).is_success
        await expect(at.page.locator(f"#status-{run}")).to_contain_text("completed")
        await expect(at.page.locator(f"#steps-{run}")).to_have_text("3")


async def test_several_of_a_list_are_chosen_and_deleted(server: ServerProcess) -> None:
    async with chromium() as browser:
        for scripts in (True, False):
            async with visit(browser, url_of(server), java_script_enabled=scripts) as at:
                runs = [await server.background("writer", f"number {n}") for n in range(3)]
                for run in runs:
                    await reaches(server, run, "completed")
                await enter(at, "/console/executions")
                page = at.page
                await expect(page.get_by_role("button", name="Delete…")).to_be_hidden()
                for run in runs[:2]:
                    await page.locator(f'input[value="{run}"]').check()
                if scripts:
                    await page.get_by_role("button", name="Copy ids").click()
                    await expect(page.get_by_role("status").last).to_have_text("Copied 2 ids")
                    await examine_here(at, "executions-chosen")
                await page.get_by_role("button", name="Delete…").click()
                await page.get_by_role("button", name="Delete 2 executions").click()
                await expect(page.locator("main")).to_contain_text("What became of 2 executions")
                await page.get_by_role("link", name="Back to the list").click()
                await page.locator("tbody a").first.click()
                await page.get_by_role("button", name="Delete…").click()
                await page.get_by_role("button", name="Delete for good").click()
                await expect(page.locator("main")).to_contain_text("Nothing has run yet")


async def test_keys_walk_peek_find_and_freeze_and_can_be_switched_off(
    server: ServerProcess,
) -> None:
    async with chromium() as browser, visit(browser, url_of(server)) as at:
        done = await server.background("writer", "short")
        await reaches(server, done, "completed")
        await enter(at, "/console/executions")
        page, press = at.page, at.page.keyboard.press
        await press("j")
        await press("o")
        await expect(page.locator(".peek")).to_contain_text("You said: short")
        await examine_here(at, "executions-peek")
        await press("Escape")
        await expect(page.locator(".peek")).to_have_count(0)
        await press("y")
        await expect(page.locator(".toast")).to_contain_text(f"Copied {done}")
        await page.evaluate("delete Navigator.prototype.clipboard")  # as on HTTP beyond localhost
        await press("y")
        await expect(page.locator(".toast")).to_have_count(2)
        await press("Enter")
        await page.wait_for_url(f"**/console/executions/{done}")
        await press("Escape")
        await page.wait_for_url("**/console/executions")
        await press("Control+k")
        await page.get_by_label("A screen, an agent or an id").fill("support")
        await expect(page.locator(".palette a").first).to_contain_text("support")
        await examine_here(at, "palette")
        await press("Enter")
        await page.wait_for_url("**/console/agents/support")
        await press("Control+k")
        await page.get_by_label("A screen, an agent or an id").fill(done)
        await press("Enter")
        await page.wait_for_url(f"**/console/executions/{done}")
        live = await server.background("writer", "hold")
        await page.goto(f"{at.url}/console/executions/{live}")
        await expect(page.locator("#live-state")).to_have_text("live")
        await press("p")
        await expect(page.locator("#live-state")).to_have_text("paused by you")
        await server.http.post(f"/v1/executions/{live}/cancel")
        await reaches(server, live, "cancelled")
        await expect(page.locator("#head")).not_to_have_attribute("data-status", "cancelled")
        await press("p")
        await expect(page.locator("#head")).to_have_attribute("data-status", "cancelled")
        await page.locator(".who summary").click()
        await page.get_by_role("button", name="Off").click()
        await press("g")
        await press("a")
        await press("?")
        await expect(page.locator("h1")).to_have_text("writer")
        await page.locator(".who summary").click()
        await page.get_by_role("button", name="UTC").click()
        await expect(page.locator(".facts time").first).to_contain_text("UTC")


async def test_arrows_walk_the_tree_of_what_was_called(server: ServerProcess) -> None:
    async with chromium() as browser, visit(browser, url_of(server)) as at:
        run = await server.background("lead", "delegate")
        await reaches(server, run, "completed")
        await enter(at, f"/console/executions/{run}")
        rows, press = at.page.locator(".tree tbody tr"), at.page.keyboard.press
        await expect(rows).to_have_count(2)
        await rows.first.focus()
        await press("ArrowDown")
        await expect(rows.nth(1)).to_be_focused()
        await press("ArrowLeft")
        await press("ArrowLeft")
        await expect(rows.nth(1)).to_be_hidden()
        await expect(rows.first).to_have_attribute("aria-expanded", "false")
        await press("ArrowRight")
        await press("ArrowRight")
        await expect(rows.nth(1)).to_be_focused()
        await press("Enter")
        await expect(at.page.locator("h1")).to_have_text("writer")


async def test_a_step_opens_beside_the_transcript(server: ServerProcess) -> None:
    async with chromium() as browser, visit(browser, url_of(server)) as at:
        run = await server.background("support", "the sum")
        await enter(at, f"/console/executions/{run}")
        await expect(at.page.locator("#head")).to_have_attribute("data-status", "completed")
        await at.page.get_by_role("link", name="Step 2", exact=True).click()
        await expect(at.page.locator("#inspector")).to_contain_text("6*7")
        assert at.page.url.endswith("?step=2#step-2")
        await at.page.reload()
        await expect(at.page.locator("#inspector")).to_contain_text("6*7")
        assert await at.page.locator(".md a").get_attribute("rel") == "noopener nofollow"


@pytest.mark.parametrize("scripts", [True, False])
async def test_a_call_is_approved_with_other_arguments(
    server: ServerProcess, tools: CountingToolServer, scripts: bool
) -> None:
    async with (
        chromium() as browser,
        visit(browser, url_of(server), java_script_enabled=scripts) as at,
    ):
        run = await server.background("support", "refund")
        await reaches(server, run, "suspended")
        await sign_in(at)
        page = at.page
        await page.get_by_role("link", name="refund").click()
        await page.get_by_label("amount").fill("10")
        await page.get_by_label("notify").select_option("yes")
        await page.get_by_role("button", name="Review changes").click()
        await expect(page.locator(".diff ins").first).to_contain_text('"amount": 10')
        await picture(at, "approval")
        await page.get_by_role("button", name="Approve with these changes").click()
        await expect(page.get_by_role("heading", level=2)).to_have_text("Nothing waits for you")
        await reaches(server, run, "completed")
        ((said,),) = tools.arguments.values()
        assert said == {"order": "A-1", "amount": 10, "notify": True}


async def test_an_unknown_outcome_has_three_answers_and_says_what_ran(
    server: ServerProcess, tools: CountingToolServer
) -> None:
    tools.answering.clear()
    async with chromium() as browser, visit(browser, url_of(server)) as at:
        run = await server.background("support", "ship")
        await tools.counted(1)
        await server.kill()
        await server.start()
        await reaches(server, run, "suspended")
        await sign_in(at)
        page = at.page
        await page.get_by_role("link", name="ship").click()
        await expect(page.locator(".where")).to_contain_text("may have taken effect")
        for name in ("It ran, with this result", "Run it again", "Give it up"):
            await expect(page.get_by_role("button", name=name)).to_be_visible()
        await examine(at, "unknown", page.url.removeprefix(at.url))
        await page.get_by_label("Its result, if it ran").fill('{"parcel": 7}')
        await page.get_by_role("button", name="It ran, with this result").click()
        await page.wait_for_url("**/console/approvals?done=approved*")
        await reaches(server, run, "completed")
        calls = (await server.execution(run))["toolCalls"]
        assert [call["result"] for call in calls] == [{"parcel": 7}]
        assert tools.calls.total() == 1


async def test_a_chat_streams_asks_and_goes_on(
    server: ServerProcess, tools: CountingToolServer
) -> None:
    async with chromium() as browser, visit(browser, url_of(server)) as at:
        await enter(at, "/console/playground")
        page = at.page
        await page.get_by_label("Agent").select_option("support")
        await page.get_by_label("Message").fill("refund")
        await page.get_by_label("Message").press("Control+Enter")
        await page.get_by_role("button", name="Approve").click()
        await expect(page.locator("#transcript")).to_contain_text("Refunded.")
        assert "/console/playground?conversation=" in page.url
        assert tools.calls.total() == 1
        await page.get_by_label("Message").fill("the sum")
        await page.locator(".send button.main").click()
        await expect(page.locator("#transcript")).to_contain_text("It is 42")
        await expect(page.locator(".answer")).to_have_count(1)
        await expect(page.locator("#head")).to_have_attribute("data-status", "completed")
        await expect(page.locator(".send button")).to_have_text("Send")
        await picture(at, "playground")
        await examine(at, "chat", page.url.removeprefix(at.url))
