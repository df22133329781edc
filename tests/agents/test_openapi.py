"""OpenAPI documents in the likeness of real ones become tools, and those call a real server."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml

from outlast import openapi_tools
from outlast.agents.check import operators_only
from outlast.agents.loader import load
from outlast.agents.tools.toolbox import ToolBox
from outlast.model.agent import AgentSpec, Effect, ToolSpec
from outlast.model.clock import SystemClock
from outlast.model.error import Misconfigured, ToolFailed
from outlast.model.spec_json import spec_from_dict, spec_to_dict
from tests.support.http_tools import CONTEXT, HttpToolServer, answer

pytestmark = pytest.mark.anyio

SHOP: dict[str, Any] = yaml.safe_load((Path(__file__).parent / "shop.openapi.yaml").read_text())
FILE = """
agents:
  - name: a
    model: m
    tools:
      - openapi: {file: shop.json, %s}
"""


def tools(folder: Path, keys: str, document: Any = SHOP) -> dict[str, ToolSpec]:
    (folder / "shop.json").write_bytes(orjson.dumps(document))
    (folder / "agents.yaml").write_text(FILE % keys)
    (spec,) = load(str(folder / "agents.yaml")).specs
    assert spec_from_dict(orjson.loads(orjson.dumps(spec_to_dict(spec)))) == spec
    return {tool.name: tool for tool in spec.tools}


def refusal(folder: Path, keys: str, document: Any = SHOP) -> str:
    with pytest.raises(Misconfigured) as raised:
        tools(folder, keys, document)
    return raised.value.message


@asynccontextmanager
async def calling(
    folder: Path, keys: str, document: Any = SHOP, *, environ: dict[str, str] | None = None
) -> AsyncIterator[Callable[..., Any]]:
    """Yield a function that calls a tool, and returns the request line, headers and body."""
    server = HttpToolServer([answer(b'{"ok":true}')])
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    made = tools(folder, f"base: 'http://127.0.0.1:{port}/v2', {keys}", document)
    box = ToolBox(SystemClock(), environ=environ or {})

    async def call(name: str, **arguments: Any) -> Any:
        assert await box.call(made[name], arguments, CONTEXT) == {"ok": True}
        return server.seen[-1]

    try:
        yield call
    finally:
        await box.close()
        listening.close()


def test_operations_are_included_by_id_and_by_tag_with_the_effect_of_their_method(
    tmp_path: Path,
) -> None:
    made = tools(tmp_path, "include: [notes, putOrder, 'DELETE /orders/{id}', plant]")
    assert {name: tool.effect for name, tool in made.items()} == {
        "listNotes": Effect.READ_ONLY,
        "addNote": Effect.DESTRUCTIVE,
        "putOrder": Effect.IDEMPOTENT,
        "delete_orders_id": Effect.IDEMPOTENT,
        "plant": Effect.DESTRUCTIVE,
    }
    assert made["listNotes"].description == "List the notes of an order\n\nNewest first."
    assert made["plant"].description == "POST /trees"
    url = made["listNotes"].other["openapi"]["url"]
    assert url == "https://eu.shop.example/v2/orders/{order-id}/notes"


def test_what_the_operator_writes_wins_over_the_document(tmp_path: Path) -> None:
    keys = "include: [notes], prefix: shop_, effects: {addNote: idempotent}"
    made = tools(tmp_path, f"{keys}, query: {{debug: 'on'}}, headers: {{x-trace: ours}}")
    assert made["shop_addNote"].effect is Effect.IDEMPOTENT
    assert set(made["shop_addNote"].parameters["properties"]) == {"order-id", "text", "by"}


def test_schemas_are_those_of_json_schema_and_refer_to_each_other(tmp_path: Path) -> None:
    made = tools(tmp_path, "include: [notes, putOrder, plant, draw]")
    notes = made["listNotes"].parameters
    assert notes["properties"]["debug"] == {
        "type": ["string", "null"],
        "enum": ["on", None],
        "description": "Wins over the path's",
    }
    assert notes["required"] == ["order-id"]
    assert "Accept" not in notes["properties"]
    note = made["addNote"].parameters["properties"]
    assert note["text"] == {"type": "string"}
    order = made["putOrder"].parameters
    assert order["properties"]["path_id"] == {"type": "integer", "exclusiveMinimum": 0}
    assert set(order["properties"]) == {"path_id", "query_id", "body_id", "lines"}
    assert order["required"] == ["path_id", "body_id"]
    assert order["$defs"]["Line"]["properties"]["parent"] == {"$ref": "#/$defs/Line"}
    tree = made["plant"].parameters
    assert tree["required"] == ["body"]
    assert tree["$defs"]["Node"]["properties"]["nullable"] == {"type": "boolean"}
    assert set(made["draw"].parameters["$defs"]) == {"Circle", "Square", "Shape"}


async def test_arguments_reach_path_query_and_headers_in_their_style(tmp_path: Path) -> None:
    async with calling(tmp_path, "include: [notes]") as call:
        request = await call(
            "listNotes",
            **{"order-id": "A/1 {x} ${HOME}", "X-Trace": ["a", "b"]},
            tag=["x&y", "z"],
            ids=[1, 2],
            sort=["a", "b"],
            filter={"status": "open", "ids": [1, 2]},
            range={"from": 1, "to": 2},
            where={"a": [1]},
        )
        assert request.line == (
            "GET /v2/orders/A%2F1%20%7Bx%7D%20%24%7BHOME%7D/notes?tag=x%26y&tag=z&ids=1,2"
            "&sort=a%7Cb&filter%5Bstatus%5D=open&filter%5Bids%5D%5B%5D=1&filter%5Bids%5D%5B%5D=2&from=1&to=2"
            "&where=%7B%22a%22%3A%5B1%5D%7D HTTP/1.1"
        )
        assert request.headers["x-trace"] == "a,b"
        assert "content-length" not in request.headers


async def test_bodies_are_json_forms_or_one_argument(tmp_path: Path) -> None:
    async with calling(tmp_path, "include: [notes, putOrder, plant, draw, charge]") as call:
        request = await call("addNote", **{"order-id": "A1"}, text="{by} ${HOME}", by=None)
        assert request.body == {"text": "{by} ${HOME}", "by": None}
        request = await call("putOrder", path_id=7, query_id="q", body_id="b")
        assert request.line == "PUT /v2/orders/7?id=q HTTP/1.1"
        assert request.body == {"id": "b"}
        request = await call("plant", body={"children": [{"children": []}]})
        assert request.headers["content-type"] == "application/vnd.tree+json"
        assert request.body == {"children": [{"children": []}]}
        request = await call("draw", body={"kind": "circle", "r": 1})
        assert request.body == {"kind": "circle", "r": 1}
        request = await call("charge", amount=5, expand=["a b", "c"])
        assert request.headers["content-type"] == "application/x-www-form-urlencoded"
        assert request.body == b"amount=5&expand=a%20b&expand=c"


async def test_arguments_that_do_not_fit_reach_no_server(tmp_path: Path) -> None:
    async with calling(tmp_path, "include: [notes, putOrder, draw]") as call:
        for name, arguments in (
            ("addNote", {"order-id": "A1"}),
            ("addNote", {"order-id": "A1", "text": "x", "made_up": 1}),
            ("addNote", {"order-id": "..", "text": "x"}),
            ("addNote", {"order-id": "A1", "text": "x", "X-Trace": ["a\r\nb: c"]}),
            ("putOrder", {"path_id": 0, "body_id": "b"}),
            ("draw", {"body": {"kind": "circle"}}),
        ):
            with pytest.raises(ToolFailed, match="not valid"):
                await call(name, **arguments)


async def test_variables_are_the_operators_alone_and_stay_secret(tmp_path: Path) -> None:
    keys = (
        "include: [addNote], headers: {Authorization: 'Bearer ${TOKEN}'}, query: {key: '${TOKEN}'}"
    )
    environ = {"TOKEN": "secret-token-1"}
    async with calling(tmp_path, keys, environ=environ) as call:
        request = await call("addNote", **{"order-id": "A1"}, text="x")
        assert request.line == "POST /v2/orders/A1/notes?key=secret-token-1 HTTP/1.1"
        assert request.headers["authorization"] == "Bearer secret-token-1"
        assert request.headers["idempotency-key"] == CONTEXT.tool_call_id
    made = tools(tmp_path, keys)
    assert "secret-token-1" not in repr(made)
    spec = AgentSpec("a", "m", tools=tuple(made.values()))
    assert {problem.path[-1] for problem in operators_only(spec)} == {"Authorization", "query"}


def test_a_document_cannot_name_the_servers_environment(tmp_path: Path) -> None:
    hostile = SHOP | {"servers": [{"url": "https://x.example/${HOME}"}]}
    assert "no server that can be called" in refusal(tmp_path, "include: [addNote]", hostile)
    paths = {"/a/${HOME}/b": {"get": {"operationId": "look"}}}
    hostile = SHOP | {"paths": paths}
    assert "is no parameter" in refusal(tmp_path, "include: [look]", hostile)
    paths = {"/a/$HOME/b": {"get": {"operationId": "look"}}}
    made = tools(tmp_path, "include: [look]", SHOP | {"paths": paths})
    assert made["look"].other["openapi"]["url"] == "https://eu.shop.example/v2/a/%24HOME/b"


@pytest.mark.parametrize(
    ("keys", "document", "shown"),
    [
        ("include: [files]", SHOP, "upload needs a body multipart/form-data: only JSON and forms"),
        ("include: [addNotes]", SHOP, "no operation or tag 'addNotes' is included; did you mean"),
        ("include: [addNote], effects: {plant: read_only}", SHOP, "no operation or tag 'plant'"),
        ("include: []", SHOP, "include"),
        ("include: [notes], url: 'https://x.example'", SHOP, "exactly one of file and url"),
        ("include: [notes], base: 'ftp://x'", SHOP, "openapi.base: a tool's URL begins with http"),
        ("include: [notes], headers: {'a b': c}", SHOP, "this is not a header's name"),
        ("include: [x]", {"swagger": "2.0"}, "and this is version 2.0; convert it"),
        ("include: [x]", [], "not an OpenAPI document"),
        (
            "include: [x]",
            {"openapi": "3.1.0"},
            "no operation or tag 'x' is included; there are none",
        ),
        (
            "include: [x]",
            {"openapi": "3.1.0", "paths": {"/x": {"get": {"operationId": "x"}}}},
            "x has no server that can be called (/); write its URL as base",
        ),
        (
            "include: [x], base: 'https://x.example'",
            {
                "openapi": "3.1.0",
                "paths": {"/x": {"$ref": "other.yaml#/x"}},
            },
            "other.yaml#/x is in another document; bundle them into one",
        ),
        (
            "include: [x], base: 'https://x.example'",
            {
                "openapi": "3.1.0",
                "paths": {"/x": {"post": {"operationId": "x", "requestBody": {"$ref": "#/no"}}}},
            },
            "there is no #/no",
        ),
        (
            "include: [x], base: 'https://x.example'",
            {"openapi": "3.1.0", "paths": {"/x": {"$ref": "#anchor"}}},
            "#anchor is no place in the document",
        ),
        *(
            (
                "include: [x], base: 'https://x.example'",
                {"openapi": "3.1.0", "servers": [{}], "paths": {"/x": {"$ref": f"#/servers/{at}"}}},
                f"there is no #/servers/{at}",
            )
            for at in ("²", "1", "-1", "x")
        ),
        (
            "include: [x], base: 'https://x.example'",
            {"openapi": "3.1.0", "paths": {"/x": {"$ref": "#/paths/~1x"}}},
            "a mapping is expected",
        ),
        (
            "include: [x], base: 'https://x.example'",
            {
                "openapi": "3.1.0",
                "paths": {
                    "/x": {
                        "get": {
                            "operationId": "x",
                            "parameters": [{"in": "cookie", "name": "sid", "required": True}],
                        }
                    }
                },
            },
            "x needs the cookie sid, which a model does not send; write it as the header Cookie",
        ),
    ],
)
def test_what_cannot_be_a_tool_is_refused_by_name(
    tmp_path: Path, keys: str, document: Any, shown: str
) -> None:
    message = refusal(tmp_path, keys, document)
    assert shown in message
    assert message.startswith(f"{tmp_path / 'agents.yaml'}:")


def test_long_and_equal_names_stay_apart(tmp_path: Path) -> None:
    ids = [f"{'a' * 70}{n}" for n in range(3)] + ["same name", "same/name"]
    paths = {f"/{n}": {"get": {"operationId": one}} for n, one in enumerate(ids)}
    listed = ", ".join(f"'{one}'" for one in ids)
    made = tools(tmp_path, f"include: [{listed}]", SHOP | {"paths": paths})
    assert len(made) == 5
    assert all(len(name) <= 64 for name in made)
    again = tools(tmp_path, f"include: [{listed}]", SHOP | {"paths": paths})
    assert list(made) == list(again)


def test_a_document_of_300_operations_makes_300_tools(tmp_path: Path) -> None:
    one = SHOP["paths"]["/trees"]["post"]
    paths = {
        f"/t/{n}": {"post": one | {"operationId": f"op{n}", "tags": ["all"]}} for n in range(300)
    }
    made = tools(tmp_path, "include: [all]", SHOP | {"paths": paths})
    assert len(made) == 300


def test_a_document_of_3_1_in_yaml_keeps_what_stands_beside_a_reference(tmp_path: Path) -> None:
    document = {
        "openapi": "3.1.0",
        "servers": [{"url": "https://x.example"}],
        "paths": {
            "/x": {
                "post": {
                    "operationId": "x",
                    "requestBody": {
                        "content": {
                            "application/json": {
                                "schema": {
                                    "type": "object",
                                    "properties": {
                                        "one": {
                                            "$ref": "#/components/schemas/One",
                                            "description": "d",
                                        }
                                    },
                                    "required": ["one"],
                                }
                            }
                        }
                    },
                }
            }
        },
        "components": {"schemas": {"One": {"type": ["string", "null"], "const": None}}},
    }
    (tmp_path / "x.yaml").write_text(yaml.safe_dump(document))
    (tool,) = openapi_tools(str(tmp_path / "x.yaml"), ["x"], approval=True, retries=2)
    assert tool.approval is True
    assert tool.parameters["properties"]["one"] == {"$ref": "#/$defs/One", "description": "d"}
    assert "required" not in tool.parameters, "the body may be left out"


async def test_a_document_is_fetched_from_its_url_and_relative_servers_are_found() -> None:
    documents = {
        "/api/openapi.json": (200, orjson.dumps(SHOP | {"servers": [{"url": "../v3"}]})),
        "/moved": (302, b""),
        "/broken": (200, b'{"openapi": '),
    }

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, body = documents.get(self.path, (404, b""))
            self.send_response(status)
            self.send_header("location", "http://169.254.169.254/")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        origin = f"http://127.0.0.1:{server.server_port}"
        (tool,) = openapi_tools(f"{origin}/api/openapi.json", ["plant"])
        assert tool.other["openapi"]["url"] == f"{origin}/v3/trees"
        for path, shown in (
            ("/moved", "answered 302 and names http://169.254.169.254/"),
            ("/none", "answered 404"),
            ("/broken", "/broken:1"),
        ):
            with pytest.raises(Misconfigured) as raised:
                openapi_tools(f"{origin}{path}", ["plant"])
            assert shown in raised.value.message
        server.shutdown()
    with pytest.raises(Misconfigured, match="or save it and name it as file"):
        openapi_tools(f"{origin}/api/openapi.json", ["plant"])
