"""Headers that whoever started an execution forwards to its HTTP tools."""

from dataclasses import replace

import pytest

from outlast.agents.tools.request import forwarded_problem
from outlast.agents.tools.toolbox import ToolBox
from outlast.model.error import ToolFailed
from tests.support.http_tools import CONTEXT, HttpToolServer, answer, look

pytestmark = pytest.mark.anyio


async def test_they_go_out_beside_the_tool_s_own_which_win(
    tool_server: HttpToolServer, box: ToolBox
) -> None:
    tool_server.answers = [answer()]
    given = {
        "X-Tenant": "acme",
        "Authorization": "Bearer theirs",
        "Idempotency-Key": "theirs",
        "Host": "elsewhere.example",
        "Content-Length": "9999",
        "Connection": "close",
    }
    context = replace(CONTEXT, headers=given)
    await box.call(look(tool_server.url, headers={"authorization": "Bearer ours"}), {}, context)
    await box.call(look(tool_server.url), {}, context)
    ours, theirs = (request.headers for request in tool_server.seen)
    assert (ours["authorization"], theirs["authorization"]) == ("Bearer ours", "Bearer theirs")
    for sent in (ours, theirs):
        assert sent["x-tenant"] == "acme"
        assert sent["idempotency-key"] == "tc_1"
        assert sent["content-length"] == "2"
        assert sent["host"] in tool_server.url
        assert "connection" not in sent


async def test_a_login_in_the_tool_s_url_wins_over_them(
    tool_server: HttpToolServer, box: ToolBox
) -> None:
    tool_server.answers = [answer()]
    context = replace(CONTEXT, headers={"Authorization": "Bearer theirs"})
    await box.call(look(tool_server.url.replace("://", "://ann:pw@")), {}, context)
    assert tool_server.seen[0].headers["authorization"].startswith("Basic ")


async def test_an_error_does_not_show_their_values(
    tool_server: HttpToolServer, box: ToolBox
) -> None:
    tool_server.answers = [answer(b"who is s3cret-of-theirs?", status="403 Forbidden")]
    context = replace(CONTEXT, headers={"X-Token": "s3cret-of-theirs"})
    with pytest.raises(ToolFailed) as failed:
        await box.call(look(tool_server.url), {}, context)
    assert "s3cret-of-theirs" not in failed.value.message
    assert "who is ***?" in failed.value.message
    assert "s3cret" not in repr(context)


@pytest.mark.parametrize(
    ("name", "value"), [("", "x"), ("a b", "x"), ("x", "a\r\nb: c"), ("x", "é"), ("x:", "y")]
)
def test_what_is_no_header_is_refused(name: str, value: str) -> None:
    assert forwarded_problem(name, value)
    assert forwarded_problem("x-good", "value") is None
