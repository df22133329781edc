"""The OpenAPI document names everything once, and its examples work; health and metrics."""

import base64
import hashlib
import re
from typing import Any

import jsonschema_rs
import pytest

from outlast.model.error import Overloaded
from tests.support import error_page
from tests.support.api import Api

pytestmark = pytest.mark.anyio


@pytest.fixture
async def document(api: Api) -> dict[str, Any]:
    found: dict[str, Any] = (await api.client.get("/openapi.json")).json()
    return found


def operations(document: dict[str, Any]) -> list[dict[str, Any]]:
    return [operation for item in document["paths"].values() for operation in item.values()]


async def test_the_document_is_openapi_3_1_and_says_how_to_get_in(document: dict[str, Any]) -> None:
    assert document["openapi"] == "3.1.0"
    assert set(document["components"]["securitySchemes"]) == {"bearer", "apiKey"}
    assert document["security"] == [{"bearer": []}, {"apiKey": []}]


async def test_the_list_of_executions_names_its_filter_by_metadata(
    document: dict[str, Any],
) -> None:
    parameters = document["paths"]["/v1/executions"]["get"]["parameters"]
    found = next(one for one in parameters if one["name"] == "metadata.KEY")
    assert found["in"] == "query"
    assert not found.get("required", False)
    assert "indexed_metadata" in found["description"]


async def test_every_operation_has_a_name_of_its_own_and_tells_its_errors(
    document: dict[str, Any],
) -> None:
    named = [operation["operationId"] for operation in operations(document)]
    assert len(set(named)) == len(named)
    for operation in operations(document):
        assert operation["summary"]
        if operation.get("security") != []:
            assert {"401", "403", "500", "503"} <= set(operation["responses"])
        assert "HTTPValidationError" not in str(operation)


async def test_every_reference_is_answered_and_every_schema_is_one(
    document: dict[str, Any],
) -> None:
    schemas = document["components"]["schemas"]
    for name, schema in schemas.items():
        whole = schema | {"components": {"schemas": schemas}}
        jsonschema_rs.validator_for(whole)
        assert schema.get("description") or schema.get("title"), name


async def test_the_bodys_example_runs_as_printed(api: Api, document: dict[str, Any]) -> None:
    (example,) = document["components"]["schemas"]["ExecuteBody"]["examples"]
    assert (await api.execute(example)).status_code == 200


async def test_streams_are_event_streams_in_the_document(document: dict[str, Any]) -> None:
    for path, method in (
        ("/v1/agents/{agentId}/execute", "post"),
        ("/v1/executions/{executionId}/stream", "get"),
    ):
        assert "text/event-stream" in document["paths"][path][method]["responses"]["200"]["content"]


async def test_the_document_can_be_read_by_people(api: Api, document: dict[str, Any]) -> None:
    response = await api.client.get("/docs")
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/html")
    page = response.text
    ids = re.findall(r' id="([^"]+)"', page)
    assert len(set(ids)) == len(ids)
    operations = {
        one["operationId"]
        for path in document["paths"].values()
        for method, one in path.items()
        if method in {"get", "post", "put", "patch", "delete"}
    }
    schemas = {f"schema-{name}" for name in document["components"]["schemas"]}
    assert operations | schemas <= set(ids)
    links = set(re.findall(r'href="([^"]+)"', page))
    assert {link[1:] for link in links if link.startswith("#")} <= set(ids)
    assert [link for link in links if not link.startswith("#")] == ["/openapi.json"]


async def test_the_page_of_the_document_needs_no_network_and_runs_no_script(api: Api) -> None:
    response = await api.client.get("/docs")
    policy = response.headers["content-security-policy"]
    (style,) = re.findall(r"<style>(.*?)</style>", response.text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert policy.startswith(f"default-src 'none'; style-src 'sha256-{digest}'; ")
    assert not re.search(r"<script|<link|<img|style=|src=|@import|url\(", response.text)


async def test_each_error_links_to_the_page_of_its_code_which_needs_no_key(api: Api) -> None:
    del api.client.headers["authorization"]
    for path, code in (("/v1/executions", "invalid_api_key"), ("/v1/nowhere", "not_found")):
        refused = await api.client.get(path)
        assert refused.headers["link"] == f'</docs/errors/{code}>; rel="help"'
    wrong = await api.client.delete("/docs")
    assert wrong.headers["link"] == '</docs/errors/method_not_allowed>; rel="help"'
    contents = (await api.client.get("/docs/errors")).text
    assert set(re.findall(r'href="/docs/errors/(\w+)"', contents)) == set(error_page.codes())
    for code in error_page.codes():
        page = await api.client.get(f"/docs/errors/{code}")
        assert page.status_code == 200
        assert f"<h1>{code}</h1>" in page.text
        assert error_page.HELPS[code][:20].partition("`")[0] in page.text
        assert page.headers["content-security-policy"].startswith("default-src 'none'; ")
        assert not re.search(r"<script|<link|<img|style=|src=", page.text)
    assert (await api.client.get("/docs/errors/nothing")).status_code == 404


async def test_health_needs_no_key(api: Api) -> None:
    del api.client.headers["authorization"]
    for path in ("/healthz", "/readyz", "/metrics", "/openapi.json"):
        assert (await api.client.get(path)).status_code == 200


async def test_the_servers_address_points_on(api: Api) -> None:
    del api.client.headers["authorization"]
    answer = (await api.client.get("/")).json()
    assert (answer["name"], bool(answer["version"])) == ("Outlast", True)
    for name in ("docs", "openapi", "health", "ready"):
        assert (await api.client.get(answer[name])).status_code == 200
    assert (await api.client.post("/")).status_code == 405


async def test_metrics_are_prometheus_text(api: Api) -> None:
    response = await api.client.get("/metrics")
    assert response.headers["content-type"].startswith("text/plain")
    assert "outlast_segments_running" in response.text


async def test_a_server_that_drains_is_not_ready(api: Api) -> None:
    await api.core.engine.stop(0)
    response = await api.client.get("/readyz")
    assert response.status_code == 503
    assert response.json()["status"] == "unavailable"
    assert (await api.client.get("/healthz")).status_code == 200


async def test_a_server_without_its_database_is_not_ready(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: object) -> None:
        raise Overloaded("The database does not answer.")

    monkeypatch.setattr(type(api.core.store), "ready", broken)
    response = await api.client.get("/readyz")
    assert response.status_code == 503
    assert response.json()["reason"] == "The database does not answer."


async def test_the_lifespan_opens_starts_and_closes_the_core(api: Api) -> None:
    core = api.core
    await core.close()
    async with api.app.router.lifespan_context(api.app):
        assert core.engine.accepting
        assert (await api.execute({"input": "Hi"})).json()["output"] == "Hello"
    assert not core.engine.accepting
    await core.open()
