"""The table of endpoints is whole: what it says is what the server does."""

import asyncio
import inspect
import re
import threading
from typing import get_type_hints

import httpx2
import orjson
import pytest
from starlette.responses import Response
from starlette.routing import Route as PlainRoute

from outlast.http.call import Call
from outlast.http.endpoint import PUBLIC, Answer, Endpoint
from outlast.http.errors import error_object
from outlast.http.room import Room, Surface
from outlast.http.route import Route
from outlast.http.spool import json_response
from outlast.model.workspace import Scope
from outlast.rooms.console import room as console
from outlast.services.all import Services
from outlast.web import HEALTH, ROOMS, create_app
from tests.support.api import Api, MakeApi
from tests.support.waiting import BOUND, until

pytestmark = pytest.mark.anyio

ENDPOINTS = [endpoint for room in ROOMS for endpoint in room.endpoints]
SAMPLES = {
    "agentId": "agent",
    "executionId": "exec_01k6zj3t7hf2a9q1x5m8r4c0vb",
    "taskId": "exec_01k6zj3t7hf2a9q1x5m8r4c0vb",
    "conversationId": "conv_01k6zj3t7hf2a9q1x5m8r4c0vb",
    "toolCallId": "tc_01k6zj3t7hf2a9q1x5m8r4c0vb",
}
"""Ids of things that are not there, and an agent's name."""
BODIES = {
    "executeAgent": {"input": "Hi", "background": True},
    "decideApproval": {"approved": True},
    "decideRunApproval": {"approved": True},
    "createRun": {"messages": [{"role": "user", "content": "Hi"}]},
    "createTask": {"name": "Import"},
    "updateTask": {"state": {}},
    "failTask": {"error": "no"},
}
"""For the operations that take nothing less."""
each = pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda endpoint: endpoint.name)


@each
def test_a_handler_takes_the_request_and_the_services_and_nothing_of_any_type(
    endpoint: Endpoint,
) -> None:
    assert inspect.iscoroutinefunction(endpoint.handler)
    hints = get_type_hints(endpoint.handler)
    assert hints == {"call": Call, "services": Services, "return": Response}


@each
def test_an_endpoint_says_all_that_the_document_needs(endpoint: Endpoint) -> None:
    assert endpoint.handler.__doc__
    assert endpoint.summary
    assert endpoint.answers
    assert set(re.findall(r"{(\w+)}", endpoint.path)) == set(endpoint.parameters)
    assert set(endpoint.scopes) <= set(Scope)


@each
def test_a_handler_reads_the_body_and_the_query_that_its_endpoint_names(
    endpoint: Endpoint,
) -> None:
    source = inspect.getsource(endpoint.handler)
    body, query = endpoint.body, endpoint.query
    assert re.findall(r"\bbody_as\((?:\w+\.)?(\w+)", source) == ([body.__name__] if body else [])
    read = re.findall(r"\bquery_as\((?:\w+\.)?(\w+)", source)
    if not read and query and "call.cursor()" in source:  # Last-Event-ID, else `after`
        read = [query.__name__]
        assert set(query.model_fields) == {"after"}
    assert read == ([query.__name__] if query else [])


async def test_every_route_of_the_server_is_an_endpoint_or_known_to_be_public(api: Api) -> None:
    for room in (*ROOMS, console):  # which its first request opens
        await api.get(f"{room.prefixes[0]}/nothing")
    routes = api.app.router.routes
    served = {
        (route.path, method)
        for route in routes
        if isinstance(route, Route)
        for method in route.methods or ()
    }
    every = [*ENDPOINTS, *console.endpoints]
    heads = {(page.path, "HEAD") for page in console.endpoints if page.method == "GET"}
    assert served == heads | {(endpoint.path, endpoint.method) for endpoint in every}
    others = {route.path for route in routes if isinstance(route, PlainRoute)}
    others -= {endpoint.path for endpoint in every}
    pages = {"/docs", "/docs/errors", "/docs/errors/{code}"}
    assert others == {*HEALTH, "/", "/openapi.json", *pages}


def test_every_scope_opens_an_endpoint() -> None:
    assert {scope for endpoint in ENDPOINTS for scope in endpoint.scopes} == set(Scope)


async def test_an_endpoint_refuses_a_key_without_its_scope_and_opens_to_one_with_no_other(
    api: Api,
) -> None:
    for endpoint in ENDPOINTS:
        needed = endpoint.scopes[0]
        opened = await _answer(api, endpoint, frozenset({needed}))
        assert opened.status_code != 403, endpoint.name
        refused = await _answer(api, endpoint, frozenset(Scope) - set(endpoint.scopes))
        assert (refused.status_code, needed in refused.text) == (403, True), endpoint.name


async def test_a_key_without_the_scope_is_refused_before_its_request_is_read(
    api: Api,
) -> None:
    for endpoint in ENDPOINTS:
        rest = frozenset(Scope) - set(endpoint.scopes)
        refused = await _answer(api, endpoint, rest, b"{")
        assert refused.status_code == 403, endpoint.name


async def test_a_key_that_decides_may_send_a_decision_where_others_start_a_run(
    api: Api,
) -> None:
    (endpoint,) = (one for one in ENDPOINTS if one.name == "createRun")
    part = {
        "type": "tool-x",
        "toolCallId": "tc_1",
        "state": "approval-responded",
        "approval": {"approved": True},
    }
    body = {"messages": [{"role": "assistant", "id": SAMPLES["executionId"], "parts": [part]}]}
    scopes = frozenset({Scope.APPROVALS_WRITE, Scope.EXECUTIONS_READ})
    answer = await _answer(api, endpoint, scopes, orjson.dumps(body))
    assert answer.json() == {"error": "Name the chat whose run waits for this decision."}


async def _answer(
    api: Api, endpoint: Endpoint, scopes: frozenset[Scope], content: bytes | None = None
) -> httpx2.Response:
    made = await api.core.services.keys.create(api.caller.workspace_id, "some", scopes)
    path = re.sub(r"{(\w+)}", lambda found: SAMPLES.get(found[1], "none"), endpoint.path)
    headers = {"Authorization": f"Bearer {made.secret}"}
    sent = content or orjson.dumps(BODIES[endpoint.name]) if endpoint.name in BODIES else content
    return await api.client.request(endpoint.method, path, content=sent, headers=headers)


async def test_a_public_endpoint_needs_no_key(make_api: MakeApi) -> None:
    api = await make_api()

    async def greet(call: Call, services: Services) -> Response:
        """Say hello."""
        return json_response({"path": call.url.path})

    endpoint = Endpoint(
        "GET",
        "/v1/hello",
        greet,
        scope=PUBLIC,
        name="greet",
        summary="Greet",
        tag="greetings",
        answers={200: Answer("Hello.")},
    )
    room = Room("greetings", ("/v1/hello",), lambda: Surface((endpoint,), error_object))
    app = create_app(api.core, (room,))
    transport = httpx2.ASGITransport(app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://house") as client:
        assert (await client.get("/v1/hello")).json() == {"path": "/v1/hello"}


async def test_a_room_opens_at_its_first_request_while_others_are_answered(
    make_api: MakeApi,
) -> None:
    async def greet(call: Call, services: Services) -> Response:
        """Say hello."""
        return json_response({"path": call.url.path})

    endpoint = Endpoint(
        *("GET", "/api/v1/hello", greet),
        scope=PUBLIC,
        name="greet",
        summary="Greet",
        tag="greetings",
        answers={200: Answer("Hello.")},
    )
    imported, loaded = threading.Event(), list[str]()

    def load() -> Surface:
        loaded.append("records")
        assert imported.wait(BOUND)
        return Surface((endpoint,), error_object)

    api = await make_api()
    app = create_app(api.core, (Room("records", ("/api/v1",), load),))
    transport = httpx2.ASGITransport(app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://house") as client:
        paths = ("/api/v1/hello", "/api/v1/hello", "/api/v1/nothing")
        waiting = [asyncio.create_task(client.get(path)) for path in paths]
        async with asyncio.timeout(BOUND):
            await until(lambda: bool(loaded))
            assert (await client.get("/healthz")).status_code == 200
            imported.set()
            answers = [await one for one in waiting]
    assert [one.status_code for one in answers] == [200, 200, 404]
    assert loaded == ["records"]
