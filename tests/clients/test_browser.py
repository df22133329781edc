"""A page of another origin in a real browser: it starts a run, and its stream is cut."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.clients.conftest import AGENTS, words
from tests.support.browser import PageServer, opened
from tests.support.cutting_proxy import CuttingProxy
from tests.support.processes import API_KEY, ServerProcess

pytestmark = pytest.mark.anyio
SCRIPT = f"""
turns:
  - steps:
      - text: {words("w", 200)}
"""
CUTS = 3
"""A browser waits three seconds before it comes back."""


@pytest.fixture
async def site() -> AsyncIterator[PageServer]:
    async with PageServer() as site:
        yield site


@pytest.fixture
async def server(tmp_path: Path, site: PageServer) -> AsyncIterator[ServerProcess]:
    """A server that takes calls from the site's pages."""
    script = tmp_path / "script.yaml"
    script.write_text(SCRIPT)
    agents = AGENTS.format(script=script)
    env = {"OUTLAST_CORS_ORIGINS": site.origin}
    async with ServerProcess(tmp_path, agents, env=env) as serving:
        yield serving


async def test_a_page_s_event_source_gets_every_frame_once(
    tmp_path: Path, site: PageServer, server: ServerProcess
) -> None:
    async with CuttingProxy(server.port, cuts=CUTS, most=4000) as proxy:
        query = {"api": proxy.url, "key": API_KEY, "text": "speech"}
        async with opened(tmp_path, site.origin, **query):
            heard = await site.heard()
        assert proxy.cuts == 0
    assert "error" not in heard
    uncut = await server.http.get(f"/run/api/executions/{heard['run']}/stream")
    frames = [frame.split("\ndata: ") for frame in uncut.text.removesuffix("\n\n").split("\n\n")]
    assert heard["frames"] == [[index.removeprefix("id: "), data] for index, data in frames]
    assert heard["opened"] > CUTS
    assert len(frames) > 200


async def test_a_page_of_an_origin_that_is_not_named_gets_nothing(
    tmp_path: Path, server: ServerProcess
) -> None:
    async with PageServer() as stranger:
        query = {"api": f"http://127.0.0.1:{server.port}", "key": API_KEY, "text": "speech"}
        async with opened(tmp_path, stranger.origin, **query):
            assert (await stranger.heard()) == {"error": "TypeError: Failed to fetch"}
