"""Tools of OpenAPI read the document: two validators, and a generator of TypeScript."""

from pathlib import Path
from typing import Any

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from outlast.testing import NamedModels, core_on
from outlast.web import create_app
from tests.support import npm
from tests.support.tools import FakeTools

pytestmark = pytest.mark.anyio


@pytest.fixture
async def document(tmp_path: Path) -> dict[str, Any]:
    async with core_on(tmp_path, models=NamedModels({}), tools=FakeTools(), start=False) as core:
        return create_app(core).openapi()


def test_a_document_with_a_reference_to_nothing_is_found_wrong() -> None:
    schema = {"$ref": "#/$defs/Format"}
    parameter = {"name": "format", "in": "query", "schema": schema}
    answers = {"responses": {"200": {"description": "."}}}
    broken = {
        "openapi": "3.1.0",
        "info": {"title": "t", "version": "1"},
        "paths": {"/": {"get": {"parameters": [parameter], **answers}}},
    }
    with pytest.raises(Exception, match="Format"):
        list(OpenAPIV31SpecValidator(broken).iter_errors())


async def test_the_document_is_valid_openapi_3_1(document: dict[str, Any]) -> None:
    assert [error.message for error in OpenAPIV31SpecValidator(document).iter_errors()] == []


async def test_every_reference_in_the_document_leads_somewhere(document: dict[str, Any]) -> None:
    for reference in references(document):
        place: Any = document
        assert reference.startswith("#/components/"), reference
        for name in reference.removeprefix("#/").split("/"):
            place = place[name]


def references(value: Any) -> list[str]:
    if isinstance(value, list):
        return [found for item in value for found in references(item)]
    if not isinstance(value, dict):
        return []
    here = [value["$ref"]] if isinstance(value.get("$ref"), str) else []
    return here + [found for item in value.values() for found in references(item)]


async def test_a_second_validator_and_openapi_typescript_read_the_document(
    document: dict[str, Any], packages: Path
) -> None:
    found = await npm.run(packages, "openapi.mjs", document)
    assert found["valid"], found["errors"]
    assert found["problems"] == []
    for operation in ("executeAgent", "listExecutions", "decideApproval"):
        assert operation in found["types"]
    assert 'format?: "openai" | "ui" | "native"' in found["types"]
