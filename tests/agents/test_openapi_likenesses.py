"""OpenAPI documents as Stripe, Kubernetes and GitHub write them, called against a real server."""

from pathlib import Path
from typing import Any, Final

import pytest

from tests.agents.test_openapi import calling, tools

pytestmark = pytest.mark.anyio

FORM: Final = "application/x-www-form-urlencoded"
DEEP: Final = {"style": "deepObject", "explode": True}
NOTHING: Final = {"type": "object", "properties": {}, "additionalProperties": False}
PAYMENTS: Final[dict[str, Any]] = {
    "openapi": "3.0.0",
    "servers": [{"url": "https://api.payments.example/"}],
    "paths": {
        "/v1/customers": {
            "get": {
                "operationId": "GetCustomers",
                "tags": ["customers"],
                "parameters": [
                    {
                        "in": "query",
                        "name": "created",
                        **DEEP,
                        "schema": {
                            "anyOf": [
                                {"type": "object", "properties": {"gt": {"type": "integer"}}},
                                {"type": "integer"},
                            ]
                        },
                    },
                    {
                        "in": "query",
                        "name": "expand",
                        **DEEP,
                        "schema": {"type": "array", "items": {"type": "string"}},
                    },
                ],
                "requestBody": {"content": {FORM: {"encoding": {}, "schema": NOTHING}}},
            },
            "post": {
                "operationId": "PostCustomers",
                "tags": ["customers"],
                "requestBody": {
                    "content": {
                        FORM: {
                            "encoding": dict.fromkeys(("address", "items", "expand"), DEEP),
                            "schema": {
                                "type": "object",
                                "properties": {
                                    "address": {"type": "object"},
                                    "items": {"type": "array", "items": {"type": "object"}},
                                    "expand": {"type": "array", "items": {"type": "string"}},
                                    "live": {"type": "boolean"},
                                    "rest": {"type": "object"},
                                },
                            },
                        }
                    }
                },
            },
        },
        "/v1/customers/{customer}": {
            "delete": {
                "operationId": "DeleteCustomer",
                "tags": ["customers"],
                "parameters": [
                    {"in": "path", "name": "customer", "schema": {"type": "string"}},
                ],
                "requestBody": {"content": {FORM: {"schema": NOTHING}}, "required": False},
            }
        },
    },
}
CLUSTER: Final[dict[str, Any]] = {
    "openapi": "3.0.0",
    "paths": {
        "/api/v1/namespaces/{namespace}/pods": {
            "parameters": [
                {"name": "namespace", "in": "path", "required": True, "schema": {"type": "string"}}
            ],
            "post": {
                "operationId": "createPod",
                "requestBody": {
                    "required": True,
                    "content": {"*/*": {"schema": {"$ref": "#/components/schemas/io.k8s.Pod"}}},
                },
            },
        }
    },
    "components": {
        "schemas": {
            "io.k8s.Pod": {
                "type": "object",
                "x-kubernetes-group-version-kind": [{"kind": "Pod"}],
                "properties": {
                    "metadata": {
                        "allOf": [{"$ref": "#/components/schemas/io.k8s.Meta"}],
                        "default": {},
                    },
                    "schema": {"$ref": "#/components/schemas/io.k8s.Props"},
                },
            },
            "io.k8s.Meta": {"type": "object", "properties": {"name": {"type": "string"}}},
            "io.k8s.Props": {
                "type": "object",
                "properties": {
                    "$ref": {"type": "string"},
                    "not": {"$ref": "#/components/schemas/io.k8s.Props"},
                },
            },
        }
    },
}
COOKIE: Final = "headers: {Cookie: sid=1}"
FORGE: Final[dict[str, Any]] = {
    "openapi": "3.1.0",
    "servers": [{"url": "https://api.forge.example"}],
    "paths": {
        "/repos/{owner}/contents/{path}": {
            "put": {
                "operationId": "repos/put-content",
                "parameters": [
                    {"$ref": "#/components/parameters/owner"},
                    {"name": "sid", "in": "cookie", "required": True, "schema": {}},
                    {"name": "path", "in": "path", "required": True, "schema": {"type": "string"}},
                    {"name": "X-Depth", "in": "header", "schema": {"type": ["integer", "null"]}},
                    {"name": "draft", "in": "query", "schema": {"type": ["boolean", "null"]}},
                ],
                "requestBody": {
                    "content": {
                        "application/json": {
                            "schema": {
                                "oneOf": [
                                    {"$ref": "#/components/schemas/labels"},
                                    {"type": "object", "required": ["labels"]},
                                ]
                            }
                        }
                    }
                },
            }
        }
    },
    "components": {
        "parameters": {
            "owner": {"name": "owner", "in": "path", "required": True, "schema": {"type": "string"}}
        },
        "schemas": {
            "labels": {
                "$id": "https://api.forge.example/labels",
                "$schema": "https://json-schema.org/draft/2020-12/schema",
                "type": "array",
                "items": {"$ref": "#/components/schemas/label"},
            },
            "label": {"type": "string", "minLength": 1},
        },
    },
}


async def test_a_payment_api_gets_its_brackets_and_no_body_that_says_nothing(
    tmp_path: Path,
) -> None:
    made = tools(tmp_path, "include: [customers]", PAYMENTS)
    assert set(made["DeleteCustomer"].parameters["properties"]) == {"customer"}
    async with calling(tmp_path, "include: [customers]", PAYMENTS) as call:
        request = await call("GetCustomers", created={"gt": 1}, expand=["data.a", "b"])
        query = "created%5Bgt%5D=1&expand%5B%5D=data.a&expand%5B%5D=b"
        assert request.line == f"GET /v2/v1/customers?{query} HTTP/1.1"
        assert "content-length" not in request.headers
        request = await call("GetCustomers", created=7)
        assert request.line == "GET /v2/v1/customers?created=7 HTTP/1.1"
        request = await call(
            "PostCustomers",
            address={"city": "Ulm", "geo": {"lat": 1.5, "lon": None}},
            items=[{"price": "p&1", "quantity": 2}, {"price": "p2"}],
            expand=["a", "b"],
            live=True,
            rest={"a": 1},
        )
        assert request.headers["content-type"] == FORM
        assert request.body == (
            b"address%5Bcity%5D=Ulm&address%5Bgeo%5D%5Blat%5D=1.5"
            b"&items%5B0%5D%5Bprice%5D=p%261&items%5B0%5D%5Bquantity%5D=2"
            b"&items%5B1%5D%5Bprice%5D=p2&expand%5B%5D=a&expand%5B%5D=b"
            b"&live=true&rest=%7B%22a%22%3A1%7D"
        )
        request = await call("DeleteCustomer", customer="cus_1")
        assert request.line == "DELETE /v2/v1/customers/cus_1 HTTP/1.1"


async def test_a_body_of_any_media_type_is_json_and_properties_may_have_odd_names(
    tmp_path: Path,
) -> None:
    async with calling(tmp_path, "include: [createPod]", CLUSTER) as call:
        body = {"metadata": {"name": "a"}, "schema": {"$ref": "x", "not": {"not": {}}}}
        request = await call("createPod", namespace="default", **body)
        assert request.line == "POST /v2/api/v1/namespaces/default/pods HTTP/1.1"
        assert request.headers["content-type"] == "application/json"
        assert request.body == body


async def test_schemas_with_ids_of_their_own_and_null_types_are_understood(tmp_path: Path) -> None:
    async with calling(tmp_path, f"include: [repos/put-content], {COOKIE}", FORGE) as call:
        given = {"owner": "o", "path": "a/b c.md"}
        request = await call("repos_put-content", **given, draft=False, body=["bug"])
        assert request.line == "PUT /v2/repos/o/contents/a%2Fb%20c.md?draft=false HTTP/1.1"
        assert request.body == ["bug"]
        assert request.headers["cookie"] == "sid=1"
        request = await call("repos_put-content", **given, draft=None, **{"X-Depth": 3})
        assert request.line == "PUT /v2/repos/o/contents/a%2Fb%20c.md HTTP/1.1"
        assert request.headers["x-depth"] == "3"
