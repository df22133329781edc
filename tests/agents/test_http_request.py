"""An existing REST API as a tool: method, path, query and body."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from outlast.agents.tools.request import request_not_ready
from outlast.agents.tools.toolbox import ToolBox
from outlast.model.agent import Effect, HttpCall, ToolSpec
from outlast.model.error import ToolFailed
from tests.support.clocks import InstantClock
from tests.support.http_tools import CONTEXT, HttpToolServer, answer

pytestmark = pytest.mark.anyio


def rest(tool_server: HttpToolServer, path: str, **http: Any) -> ToolSpec:
    """A tool at a path of the shop; any arguments fit."""
    effect = Effect(http.pop("effect", "read_only"))
    call = HttpCall(f"http://127.0.0.1:{tool_server.port}{path}", **http)
    return ToolSpec("t", "", {"type": "object"}, effect, http=call)


GET, DELETE = {"method": "GET"}, {"method": "DELETE"}
NESTED = {"order": {"id": "{id}", "lines": "{lines}", "note": "{note}"}, "by": "bot for {who}"}
SENT: dict[str, tuple[str, dict[str, Any], dict[str, Any], str, Any]] = {
    "a slash in a path": ("/o/{id}", GET, {"id": "A 1/2"}, "GET /o/A%201%2F2", None),
    "other alphabets": ("/o/{id}.json", GET, {"id": "é%"}, "GET /o/%C3%A9%25.json", None),
    "numbers, flags": ("/o/{id}/{n}", DELETE, {"id": 7, "n": True}, "DELETE /o/7/true", None),
    "the rest of a GET": (
        "/o",
        GET,
        {"q": "a&b=c d+e", "n": 2.5, "tags": ["x", "y"], "no": None, "on": False},
        "GET /o?q=a%26b%3Dc%20d%2Be&n=2.5&tags=x&tags=y&on=false",
        None,
    ),
    "an object": ("/o?v=2", GET, {"w": {"a": 1}}, "GET /o?v=2&w=%7B%22a%22%3A1%7D", None),
    "the URL's query": ("/o?q={q}&n={n}", GET, {"q": "a/b?#"}, "GET /o?q=a%2Fb%3F%23", None),
    "the rest of a PUT": ("/o/{id}", {"method": "PUT"}, {"id": 1, "a": 2}, "PUT /o/1", {"a": 2}),
    "query by names": (
        "/o/{id}",
        {"method": "PATCH", "query": ["dry"]},
        {"id": 1, "dry": True, "a": 2},
        "PATCH /o/1?dry=true",
        {"a": 2},
    ),
    "query by values": (
        "/o",
        {"query": {"filter[state]": "{s}", "v": 2}},
        {"s": "open", "n": 1},
        "POST /o?filter%5Bstate%5D=open&v=2",
        {"n": 1},
    ),
    "body by names": ("/o", {"body": ["a"]}, {"a": [1], "b": 2}, "POST /o", {"a": [1]}),
    "no body": ("/o/{id}/cancel", {"body": False}, {"id": "x"}, "POST /o/x/cancel", None),
    "body by values": (
        "/o",
        {"body": NESTED},
        {"id": 7, "lines": [{"sku": "a"}], "who": "ann"},
        "POST /o",
        {"order": {"id": 7, "lines": [{"sku": "a"}]}, "by": "bot for ann"},
    ),
    "no placeholder in an argument": (
        "/o/{a}?x={a}",
        {"body": {"b": "{a}"}},
        {"a": "${SHOP_TOKEN}{b}"},
        "POST /o/%24%7BSHOP_TOKEN%7D%7Bb%7D?x=%24%7BSHOP_TOKEN%7D%7Bb%7D",
        {"b": "${SHOP_TOKEN}{b}"},
    ),
}


@pytest.mark.parametrize(
    ("path", "http", "arguments", "line", "body"), SENT.values(), ids=SENT.keys()
)
async def test_arguments_go_where_the_tool_says(
    tool_server: HttpToolServer,
    box: ToolBox,
    path: str,
    http: dict[str, Any],
    arguments: dict[str, Any],
    line: str,
    body: Any,
) -> None:
    tool_server.answers = [answer(b'{"ok": true}')]
    assert await box.call(rest(tool_server, path, **http), arguments, CONTEXT) == {"ok": True}
    (request,) = tool_server.seen
    assert request.line == f"{line} HTTP/1.1"
    assert request.body == body
    assert ("content-type" in request.headers) == (body is not None)
    assert request.headers["idempotency-key"] == "tc_1"


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ({}, "id"),
        ({"id": None}, "id"),
        ({"id": ""}, "id"),
        ({"id": ".."}, "id"),
        ({"id": "../../admin"}, "id"),
        ({"id": "a\\..\\b"}, "id"),
    ],
)
async def test_an_argument_that_makes_no_path_is_shown_to_the_model_by_its_name(
    tool_server: HttpToolServer, box: ToolBox, arguments: dict[str, Any], name: str
) -> None:
    with pytest.raises(ToolFailed) as failed:
        await box.call(rest(tool_server, "/o/{id}", method="GET"), arguments, CONTEXT)
    assert failed.value.message.startswith(
        f"The arguments are not valid; correct them and call again:\n- {name}: "
    )
    assert tool_server.seen == []


async def test_variables_fill_url_query_and_body_and_no_error_shows_them(
    tool_server: HttpToolServer, clock: InstantClock
) -> None:
    environ = {
        "BASE": f"http://127.0.0.1:{tool_server.port}/",
        "PREFIX": "api/v2",
        "BOT": "12:to/ken",
        "KEY": "s3cret&key",
    }
    call = HttpCall(
        "${BASE}/${PREFIX}/bot${BOT}/{id}?key=${KEY}", query={"k": "${KEY}"}, body={"b": "${KEY}"}
    )
    spec = ToolSpec("t", "", {"type": "object"}, Effect.READ_ONLY, http=call)
    box = ToolBox(clock, environ=environ)
    tool_server.answers = [answer(b"k: s3cret&key", "404 Not Found", content_type="text/plain")]
    with pytest.raises(ToolFailed) as failed:
        await box.call(spec, {"id": "7"}, CONTEXT)
    await box.close()
    (request,) = tool_server.seen
    assert request.line == ("POST /api/v2/bot12:to/ken/7?key=s3cret%26key&k=s3cret%26key HTTP/1.1")
    assert request.body == {"b": "s3cret&key"}
    shown = "${BASE}/${PREFIX}/bot${BOT}/{id}"
    assert failed.value.message == f"{shown} answered 404: k: ***"
    assert failed.value.cause == f"{shown} answered 404."


async def test_the_user_goes_out_and_metadata_and_session_where_the_tool_says_so(
    tool_server: HttpToolServer, box: ToolBox
) -> None:
    tool_server.answers = [answer()]
    context = replace(
        CONTEXT,
        user="ann ünal %",
        metadata={"source": "web-chat", "ü": 1},
        session={"name": "Ann"},
        headers={"Outlast-User": "eve", "Outlast-Metadata": "{}"},
    )
    await box.call(rest(tool_server, "/o"), {}, context)
    await box.call(rest(tool_server, "/o", send=("metadata", "session", "user")), {}, context)
    await box.call(rest(tool_server, "/o", send=()), {}, context)
    await box.call(rest(tool_server, "/o"), {}, CONTEXT)
    names = ("outlast-user", "outlast-metadata", "outlast-session")
    assert [tuple(one.headers.get(name) for name in names) for one in tool_server.seen] == [
        ("ann%20%C3%BCnal%20%25", None, None),
        ("ann%20%C3%BCnal%20%25", '{"source":"web-chat","\\u00fc":1}', '{"name":"Ann"}'),
        (None, None, None),
        (None, None, None),
    ]


async def test_metadata_too_long_for_a_header_fails_the_call_and_says_so(
    tool_server: HttpToolServer, box: ToolBox
) -> None:
    context = replace(CONTEXT, metadata={"text": "x" * 9000})
    with pytest.raises(ToolFailed, match=r"metadata is 9011 bytes of JSON"):
        await box.call(rest(tool_server, "/o", send=("metadata",)), {}, context)
    assert tool_server.seen == []


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
async def test_a_destructive_call_is_not_sent_again_whatever_its_method(
    tool_server: HttpToolServer, box: ToolBox, method: str
) -> None:
    async def hang_up(writer: asyncio.StreamWriter) -> None:
        writer.close()

    tool_server.answers = [answer(b"1"), hang_up, answer(b"2")]
    spec = rest(tool_server, "/o", method=method, effect="destructive")
    assert await box.call(spec, {}, CONTEXT) == 1
    with pytest.raises(ToolFailed, match="not known whether the call had its effect"):
        await box.call(spec, {}, CONTEXT)
    assert len(tool_server.seen) == 2


def test_variables_that_are_not_set_are_found_wherever_they_stand() -> None:
    call = HttpCall(
        "https://${HOST}/o?k=${KEY}",
        headers={"X-A": "${TOKEN}"},
        query={"q": "${QUERY}"},
        body={"deep": [{"b": "${BODY} {id}"}]},
    )
    where = "in the environment of the process that runs it: export BODY=…"
    assert request_not_ready(call, {"TOKEN": "x"}) == f"needs BODY, HOST, KEY, QUERY {where}"
