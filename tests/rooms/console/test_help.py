"""Help: every document is a page, and every link in one leads somewhere."""

import re
from pathlib import Path

import pytest

from outlast.rooms.console.render.documents import anchor, documents
from tests.support.api import Api
from tests.support.console import signed_in
from tests.support.databases import SQLITE

pytestmark = [pytest.mark.anyio, pytest.mark.only(SQLITE)]
DOCS = Path(__file__).parents[3] / "docs"


async def test_every_document_is_a_page_and_every_link_leads_to_an_anchor(api: Api) -> None:
    reader = await signed_in(api)
    names = re.findall(r'href="/console/help/([\w-]+)"', await reader.page("/console/help"))
    files = {path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md")}
    assert {f"{name}.md".replace("decisions-", "decisions/") for name in names} == files
    pages = {name: await reader.page(f"/console/help/{name}") for name in names}
    anchors = {name: set(re.findall(r' id="([^"]+)"', page)) for name, page in pages.items()}
    for name, page in pages.items():
        article = re.search(r"<article.*?</article>", page, re.DOTALL)
        assert article
        assert len(re.findall("<h1", page)) == 1, name
        assert "<img" not in article[0], name
        assert "<p></p>" not in article[0], name
        for href in re.findall(r'href="([^"]+)"', article[0]):
            if re.match(r"https?:|mailto:", href):
                continue
            path, _, fragment = href.partition("#")
            there = path.removeprefix("/console/help/") if path else name
            assert there in pages, (name, href)
            assert not fragment or fragment in anchors[there], (name, href)
    assert (await reader.get("/console/help/nothing")).status_code == 404
    assert (await reader.get("/console/help/..%2Fsettings")).status_code == 404


def test_documents_come_in_the_order_of_the_list() -> None:
    assert list(documents())[:2] == ["tutorial", "start"]


def test_anchors_are_those_that_github_makes() -> None:
    assert anchor("`GET /v1/x`: Keys, scopes & more") == "get-v1x-keys-scopes--more"
