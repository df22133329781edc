"""Images of tools stand at their step: in this process, and a real screenshot in a real browser."""

from pathlib import Path

import pytest
from playwright.async_api import expect

from outlast.model.workspace import Scope
from tests.support.api import MakeApi
from tests.support.browser import PROGRAM
from tests.support.chromium import chromium, enter, examine_here, visit
from tests.support.console import Reader, signed_in
from tests.support.console_server import reaches, url_of
from tests.support.databases import SQLITE, Database
from tests.support.images import Drawing, png
from tests.support.models import FakeModel, by_turn
from tests.support.pages import Page, Site, needs_chromium
from tests.support.processes import ServerProcess
from tests.support.tools import call, spec, tool

pytestmark = [pytest.mark.anyio, pytest.mark.only(SQLITE)]

AGENTS = """
agents:
  - name: viewer
    model: scripted:script.yaml
    tools: [{browser: {private: [ORIGIN]}}]
"""
SCRIPT = """
turns:
  - steps:
      - tool_calls: [{name: browser_navigate, parameters: {url: "ORIGIN/"}}]
      - tool_calls: [{name: browser_take_screenshot}]
      - text: "{result.image}"
"""


async def test_a_step_shows_its_image_to_who_may_read_it(make_api: MakeApi) -> None:
    model = FakeModel(by_turn([call(1, "draw")], ["Done."]))
    agent = spec(tool("draw"))
    api = await make_api(model, agent=agent, tools=Drawing(lambda _: png(1)))
    answer = (await api.execute({"input": "Draw"})).json()
    (image,) = answer["toolCalls"][0]["images"]
    path = f"/console/executions/{answer['id']}/images/{image['id']}"
    reader = await signed_in(api)
    for page in ("", "?step=2", "/steps/2"):
        shown = await reader.page(f"/console/executions/{answer['id']}{page}")
        assert f'<img src="{path}" alt="Image 1 of draw: image/png,' in shown
    found = await reader.get(path)
    assert (found.status_code, found.content) == (200, png(1))
    assert found.headers["content-security-policy"] == "default-src 'none'; sandbox"
    assert found.headers["content-type"] == "image/png"
    assert found.headers["x-content-type-options"] == "nosniff"
    assert found.headers["cache-control"].startswith("private")
    assert (await Reader(api).get(path)).status_code == 303, "to the form that signs in"
    keys = api.core.services.keys
    foreign = await keys.create(
        (await api.core.services.workspaces.put("other")).id, "k", frozenset(Scope)
    )
    assert (await (await signed_in(api, foreign.secret)).get(path)).status_code == 404


@needs_chromium
@pytest.mark.usefixtures("one_chromium")
async def test_a_screenshot_is_seen_on_the_page_of_its_execution(
    tmp_path: Path, database: Database
) -> None:
    page = Page("<title>Tea</title><body style='background:#356'><h1>Tea</h1>")
    async with Site({"/": page}) as site:
        (tmp_path / "script.yaml").write_text(SCRIPT.replace("ORIGIN", site.origin))
        agents = AGENTS.replace("ORIGIN", site.origin)
        settings = {"OUTLAST_DATABASE_URL": database.url, "OUTLAST_BROWSER_PATH": PROGRAM or ""}
        async with ServerProcess(tmp_path, agents, settings) as server:
            run = await server.background("viewer", "Look")
            await reaches(server, run, "completed")
            image = (await server.execution(run))["output"]
            assert image.startswith("img_")
            async with chromium() as browser, visit(browser, url_of(server)) as at:
                await enter(at, f"/console/executions/{run}")
                seen = at.page.get_by_role("img", name="Image 1 of browser_take_screenshot")
                await expect(seen).to_be_visible()
                whole = "one => one.decode().then(() => [one.naturalWidth, one.naturalHeight])"
                assert await seen.evaluate(whole) == [1280, 800]
                box = await seen.bounding_box()
                assert box is not None
                assert box["height"] <= 122
                await at.page.get_by_role("link", name="Step 4", exact=True).click()
                await expect(at.page.locator("#inspector img")).to_be_visible()
                await expect(seen.first).to_be_visible()
                await examine_here(at, "image")
