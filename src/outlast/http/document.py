"""The OpenAPI document, made from the rooms' endpoints.

A query model's fields are the parameters, a body model is the request body, a response's TypedDict
is its schema, a handler's docstring is the description.
"""

from collections.abc import Iterable, Mapping, Sequence
from inspect import cleandoc
from typing import Any, Final

from pydantic import BaseModel, TypeAdapter
from pydantic.json_schema import JsonSchemaMode

from outlast.http.endpoint import Answer, Endpoint
from outlast.http.errors import Error
from outlast.http.room import Room

_REF: Final = "#/components/schemas/{model}"
_JSON: Final = "application/json"
_NO_CONTENT: Final = 204

_DESCRIPTIONS: Final = {
    400: "The request cannot be understood.",
    401: "No valid API key was sent.",
    403: "The API key lacks a scope.",
    404: "There is no such thing in this workspace.",
    409: "The thing is not in a state that allows this.",
    412: "The thing is another than the request expects.",
    413: "The body is too large.",
    415: "The body is compressed.",
    422: "A field has a value that it cannot have.",
    500: "The server made a mistake.",
    502: "A provider that the request needs has failed.",
    503: "The server cannot take the request now.",
}
_ALWAYS: Final = (500, 503)
_OF_A_KEY: Final = (401, 403)
_OF_A_BODY: Final = (413, 415)
_REQUEST_ID: Final = {
    "name": "X-Request-Id",
    "in": "header",
    "description": "Comes back in the answer, the logs and the error; made where none is sent.",
    "schema": {"type": "string", "pattern": "^[A-Za-z0-9._:-]{1,128}$"},
}
_SECURITY: Final = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "`Authorization: Bearer <key>`"},
    "apiKey": {"type": "apiKey", "in": "header", "name": "X-Api-Key"},
}


def document(info: Mapping[str, Any], rooms: Sequence[Room]) -> dict[str, Any]:
    """Return the document of these rooms."""
    paths: dict[str, dict[str, Any]] = {}
    for room in rooms:
        for endpoint in _described_in(room):
            operations = paths.setdefault(endpoint.path, {})
            operations[endpoint.method.lower()] = _operation(endpoint, room.surface.error)
    return {
        "openapi": "3.1.0",
        "info": dict(info),
        "paths": paths,
        "components": {"schemas": _schemas(rooms), "securitySchemes": _SECURITY},
        "security": [{name: []} for name in _SECURITY],
    }


def _described_in(room: Room) -> Iterable[Endpoint]:
    return (endpoint for endpoint in room.endpoints if not endpoint.bodyless)


def _operation(endpoint: Endpoint, error: type) -> dict[str, Any]:
    usual = min(endpoint.answers)
    answers = {
        str(status): _answer(answer, usual=status == usual)
        for status, answer in endpoint.answers.items()
    }
    operation: dict[str, Any] = {
        "tags": [endpoint.tag],
        "summary": endpoint.summary,
        "description": cleandoc(endpoint.handler.__doc__ or ""),
        "operationId": endpoint.name,
        "responses": answers | _failures(endpoint, error),
        "parameters": [
            *(_path_parameter(*item) for item in endpoint.parameters.items()),
            *(_query_parameters(endpoint.query) if endpoint.query else ()),
            *endpoint.headers,
            _REQUEST_ID,
        ],
    }
    if endpoint.body is not None:
        content = {_JSON: {"schema": _reference(endpoint.body)}}
        operation["requestBody"] = {"required": False, "content": content}
    if not endpoint.scopes:
        operation["security"] = []
    return operation


def _failures(endpoint: Endpoint, error: type) -> dict[str, Any]:
    keyed = _OF_A_KEY if endpoint.scopes else ()
    bodied = _OF_A_BODY if endpoint.body else ()
    return {
        str(status): {
            "description": _DESCRIPTIONS[status],
            "content": {_JSON: {"schema": _reference(error)}},
        }
        for status in sorted({*endpoint.errors, *_ALWAYS, *keyed, *bodied})
    }


def _answer(answer: Answer, *, usual: bool) -> dict[str, Any]:
    content: dict[str, Any] = {}
    if answer.models:
        content[_JSON] = {"schema": _schema(answer)}
    elif usual and answer.content:
        content[_JSON] = {"schema": {}}
    content |= answer.content
    rendered = {"description": answer.description}
    return rendered | {"content": content} if content else rendered


def _schema(answer: Answer) -> dict[str, Any]:
    named = [_reference(model) for model in answer.models]
    schema = named[0] if len(named) == 1 else {"anyOf": named}
    return {"type": "array", "items": schema} if answer.is_list else schema


def _reference(model: type) -> dict[str, Any]:
    return {"$ref": _REF.format(model=model.__name__)}


def _path_parameter(name: str, description: str) -> dict[str, Any]:
    return {
        "name": name,
        "in": "path",
        "required": True,
        "description": description,
        "schema": {"type": "string"},
    }


def _query_parameters(model: type[BaseModel]) -> list[dict[str, Any]]:
    schema = model.model_json_schema()
    definitions = schema.get("$defs", {})
    return [
        {"name": name, "in": "query", "required": False} | _described(_inlined(field, definitions))
        for name, field in schema["properties"].items()
    ]


def _inlined(schema: Any, definitions: Mapping[str, Any]) -> Any:
    """Return a schema with references replaced by its model's definitions.

    A parameter's schema stands alone: its model is not part of the document.
    """
    match schema:
        case {"$ref": str(place), **beside}:
            name = place.removeprefix("#/$defs/")
            return _inlined(definitions[name] | beside, definitions)
        case dict():
            return {key: _inlined(value, definitions) for key, value in schema.items()}
        case list():
            return [_inlined(item, definitions) for item in schema]
        case _:
            return schema


def _described(field: dict[str, Any]) -> dict[str, Any]:
    """Return a field's schema without the null of an absent parameter."""
    description = field.get("description")
    rest = {key: value for key, value in field.items() if key not in ("title", "description")}
    if "anyOf" in rest:
        kinds = [kind for kind in rest.pop("anyOf") if kind != {"type": "null"}]
        rest = kinds[0] | {key: value for key, value in rest.items() if key != "default"}
    found: dict[str, Any] = {"schema": rest}
    if description:
        found["description"] = description
    return found


def _schemas(rooms: Iterable[Room]) -> dict[str, Any]:
    """Return the schemas of request bodies and responses."""
    models = {Error, *(model for room in rooms for model in _models(room))}
    wanted: list[tuple[type, JsonSchemaMode, TypeAdapter[Any]]] = [
        (model, _mode(model), TypeAdapter(model))
        for model in sorted(models, key=lambda model: model.__name__)
    ]
    _, schema = TypeAdapter.json_schemas(wanted, ref_template=_REF)
    definitions: dict[str, Any] = schema["$defs"]
    return definitions


def _models(room: Room) -> Iterable[type]:
    yield room.surface.error
    for endpoint in _described_in(room):
        if endpoint.body is not None:
            yield endpoint.body
        for answer in endpoint.answers.values():
            yield from answer.models


def _mode(model: type) -> JsonSchemaMode:
    return "validation" if issubclass(model, BaseModel) else "serialization"
