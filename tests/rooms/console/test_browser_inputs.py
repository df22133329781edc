"""Input that an MCP server requests, given on its page in a browser, without JavaScript too."""

import sys
from pathlib import Path

import pytest
from playwright.async_api import expect

from tests.support.chromium import chromium, enter, examine_here, visit
from tests.support.console_server import reaches, url_of
from tests.support.mcp_servers import ASKING, noted
from tests.support.processes import ServerProcess
from tests.support.python_process import as_fork
from tests.support.waiting import BOUND

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("one_chromium")]
expect.set_options(timeout=BOUND * 1000)

AGENTS = """
agents:
  - name: shipper
    model: "scripted:{folder}/ship.yaml"
    tools:
      - name: post
        mcp: {{command: "{python}", args: ["{asking}", stdio, new, "{folder}"]}}
"""
SHIP = """
turns:
  - steps: [{tool_calls: [{name: post__ship, parameters: {item: lamp}}]}, {text: "{result}"}]
"""


async def test_input_that_a_server_requests_is_given_question_after_question(
    tmp_path: Path,
) -> None:
    (tmp_path / "ship.yaml").write_text(SHIP)
    agents = AGENTS.format(python=sys.executable, asking=as_fork(ASKING, tmp_path), folder=tmp_path)
    async with ServerProcess(tmp_path, agents) as server, chromium() as browser:
        for scripts in (True, False):
            async with visit(browser, url_of(server), java_script_enabled=scripts) as at:
                run = await server.background("shipper", "ship")
                await reaches(server, run, "suspended")
                await enter(at, f"/console/executions/{run}")
                page, send = at.page, at.page.get_by_role("button", name="Send the answer")
                await expect(page.locator("#transcript")).to_contain_text("waits for input")
                await page.get_by_role("link", name="Which street?").click()
                await page.get_by_label("street").fill("Long Street, at the very end")
                await send.click()
                await expect(page.get_by_label("street")).to_have_attribute("aria-invalid", "true")
                if scripts:
                    await examine_here(at, "input-wrong")
                await page.get_by_label("street").fill("High")
                await send.click()
                await expect(page.get_by_role("status")).to_have_text(
                    "The call is answered. Its execution"
                )
                await reaches(server, run, "suspended")
                await at.goto("/console/approvals")
                await page.get_by_role("link", name="How heavy is what goes to High?").click()
                await page.get_by_label("kilos").fill("3")
                await send.click()
                await reaches(server, run, "completed")
                await at.goto(f"/console/executions/{run}")
                await expect(page.locator("#transcript")).to_contain_text("lamp, 3 kg, to High")
                await expect(page.locator("#transcript")).not_to_contain_text("waits for input")
    assert noted(tmp_path) == ["ships lamp"] * 2
