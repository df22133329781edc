"""Every route of the OpenAPI document, with what the document allows and with what it does not."""

import asyncio
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import schemathesis
from hypothesis import HealthCheck
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

import requests
from outlast.app import build
from outlast.settings import Settings
from outlast.testing import NamedModels, owner
from outlast.web import App, create_app
from tests.support.api import Api
from tests.support.databases import POSTGRESQL, SQLITE, Database
from tests.support.long_cases import WHOLE
from tests.support.models import FakeModel, by_turn
from tests.support.tools import FakeTools, call, spec, tool
from tests.support.waiting import BOUND

EXAMPLES = {SQLITE: 30 if WHOLE else 5, POSTGRESQL: 6 if WHOLE else 1}
"""How often each operation is requested; the requests do not depend on the database."""
NO_HTTP = b"Invalid HTTP request received."
"""What uvicorn says to a header that breaks the protocol, before there is a request."""
CHECKS: list[Any] = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]


@dataclass
class Served:
    """A server in a thread of its own, and real ids for paths."""

    url: str
    headers: dict[str, str]
    schema: Any
    known: dict[str, str]
    database: str


def document() -> dict[str, Any]:
    settings = Settings(data_dir=Path("unused"))
    core = build(settings, models=NamedModels({}), tools=lambda *_: FakeTools())
    app: App = create_app(core)
    return app.openapi()


OPERATIONS = [
    (method, path)
    for path, item in document()["paths"].items()
    for method in item
    if path != "/metrics"
]


@pytest.fixture(scope="module")
def served(module_database: Database) -> Iterator[Served]:
    ready: list[Served] = []
    up = threading.Event()
    down: list[Any] = []

    async def serve() -> None:
        replies = by_turn(["Let me see. ", call(1, "lookup")], ["Hello"])
        async with module_database.core(
            models=NamedModels({"actor": FakeModel(replies)}),
            tools=FakeTools(lookup=lambda _: {"status": "shipped"}),
        ) as core:
            caller = await owner(core)
            key = await core.services.keys.create(caller.workspace_id, "fuzz")
            agent = spec(tool("lookup"))
            await core.services.agents.put(caller.workspace_id, [(agent, "1")])
            api = Api(core, caller, key.secret)
            async with api.listening() as client:
                execution = (await api.execute({"input": "Hi"})).json()
                leave = asyncio.Event()
                down.extend([asyncio.get_running_loop(), leave])
                url = str(client.base_url).rstrip("/")
                ready.append(
                    Served(
                        url,
                        api.headers,
                        schemathesis.openapi.from_dict(api.app.openapi()),
                        {
                            "agentId": "agent",
                            "executionId": execution["id"],
                            "conversationId": execution["conversationId"],
                        },
                        module_database.kind,
                    )
                )
                up.set()
                await leave.wait()
            await api.client.aclose()

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    assert up.wait(BOUND)
    yield ready[0]
    down[0].call_soon_threadsafe(down[1].set)
    thread.join(BOUND)


# The server's own thread may ask for chance while hypothesis watches that no strategy does.
@pytest.mark.filterwarnings("ignore:Do not use the `random` module inside strategies")
@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.value)
@pytest.mark.parametrize(("method", "path"), OPERATIONS, ids=str)
def test_no_request_finds_a_mistake_or_an_untrue_document(
    served: Served, method: str, path: str, mode: GenerationMode
) -> None:
    strategy = served.schema[path][method.upper()].as_strategy(generation_mode=mode)
    tries = iter(range(1_000_000))

    @hypothesis.settings(
        max_examples=EXAMPLES[served.database],
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @hypothesis.given(case=strategy)
    def fuzz(case: Any) -> None:
        if case.path_parameters and next(tries) % 3:
            case.path_parameters |= {
                name: served.known[name] for name in case.path_parameters if name in served.known
            }
        try:
            response = case.call(base_url=served.url, headers=served.headers)
        except (requests.exceptions.InvalidHeader, UnicodeEncodeError):
            return
        if response.content == NO_HTTP:
            return
        case.validate_response(response, checks=CHECKS)

    try:
        fuzz()
    except hypothesis.errors.Unsatisfiable:
        pytest.skip("the document allows everything here")
