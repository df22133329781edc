"""Saved views of the list of executions in the console."""

import re
from html import unescape

import pytest

from outlast.model.workspace import Scope
from outlast.store.saved_views import MOST_VIEWS
from tests.support.api import Api
from tests.support.console import Reader, signed_in
from tests.support.databases import SQLITE

pytestmark = [pytest.mark.anyio, pytest.mark.only(SQLITE)]
ODD = 'a "view" <b>'


def views(page: str) -> dict[str, str]:
    """The saved views of a page, with where they lead."""
    nav = re.search(r'aria-label="Saved views">(.*?)</nav>', page, re.DOTALL)
    found = re.findall(r'href="([^"]+)".*?class="cut">(.*?)</span>', nav[1]) if nav else []
    return {unescape(name): unescape(href) for href, name in found}


async def saved(reader: Reader, name: str, q: str) -> str:
    """Save a filter; the page that this leads to."""
    answer = await reader.send("/console/views", name=name, q=q)
    assert answer.status_code == 303, answer.text
    return await reader.page(answer.headers["location"])


async def test_a_filter_is_saved_shown_by_its_name_and_removed(api: Api) -> None:
    reader = await signed_in(api)
    page = await reader.page("/console/executions")
    assert views(page) == {}
    assert "Save this filter" not in page
    q = "agent:agent status:completed,failed since:24h"
    assert "Save this filter" in await reader.page(f"/console/executions?q={q}")
    page = await saved(reader, f" {ODD} ", q)
    assert [*views(page)] == [ODD]
    assert 'aria-current="true"><span class="cut">' in page
    assert "Save this filter" not in page
    assert (await api.get("/v1/views")).json()["data"][0]["filter"] == q
    there = await reader.page(views(page)[ODD])
    assert f'name="q" type="search" value="{q}"' in there
    await saved(reader, "other", "status:paused")
    page = await saved(reader, ODD, "status:failed")
    assert [*views(page)] == [ODD, "other"]
    assert views(page)[ODD].endswith("q=status%3Afailed")
    gone = await reader.send("/console/views/remove", name=ODD, q="status:failed")
    assert gone.headers["location"] == "/console/executions?q=status%3Afailed"
    assert [*views(await reader.page(gone.headers["location"]))] == ["other"]


async def test_what_cannot_be_saved_is_said_beside_the_filter(api: Api) -> None:
    reader = await signed_in(api)
    for name, q, status, said in (
        (" ", "status:failed", 422, "A name has 1 to 64 characters."),
        ("n" * 65, "status:failed", 422, "A name has 1 to 64 characters."),
        (
            "odd",
            "tool:refund",
            422,
            "No index finds them by their tools",
        ),
        ("a/../b", "status:failed", 422, "no part of it between slashes is empty, . or .."),
    ):
        answer = await reader.send("/console/views", name=name, q=q)
        assert (answer.status_code, said in answer.text) == (status, True)
    for number in range(MOST_VIEWS):
        await api.core.services.saved_views.put(api.caller, f"v{number}", "status:failed")
    full = await reader.send("/console/views", name="more", q="status:paused")
    assert full.status_code == 409
    assert f"at most {MOST_VIEWS} views" in full.text
    assert 'value="status:paused"' in full.text


async def test_a_key_that_only_reads_sees_views_and_changes_none(api: Api) -> None:
    await saved(await signed_in(api), "failed", "status:failed")
    scopes = frozenset({Scope.EXECUTIONS_READ})
    made = await api.core.services.keys.create(api.caller.workspace_id, "reader", scopes)
    reader = await signed_in(api, made.secret)
    page = await reader.page("/console/executions?q=status:failed")
    assert [*views(page)] == ["failed"]
    assert "/console/views" not in page
    assert (await reader.send("/console/views", name="x", q="status:paused")).status_code == 403
    assert (await reader.send("/console/views/remove", name="failed")).status_code == 403
