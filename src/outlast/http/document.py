"""What the OpenAPI document says of a route: parameters, body, answers, errors.

Handlers take one Call, so the document is told from the same models that parse it: a query model's
fields are the parameters, a body model is the request body, an answer's TypedDict is its schema.
"""

from collections.abc import Mapping
from typing import Any, Final, get_args, get_origin

from pydantic import BaseModel
from typing_extensions import TypedDict

REF: Final = "#/components/schemas/{model}"


class ErrorDetail(TypedDict):
    """What went wrong, for a program (type, code, param) and for a person (message)."""

    type: str
    code: str
    message: str
    param: str | None
    requestId: str


class Error(TypedDict):
    """The answer to a request that failed."""

    error: ErrorDetail


_DESCRIPTIONS: Final = {
    400: "The request cannot be understood.",
    401: "No valid API key was sent.",
    403: "The API key lacks a scope.",
    404: "There is no such thing in this workspace.",
    409: "The thing is not in a state that allows this.",
    413: "The body is too large.",
    415: "The body is compressed.",
    422: "A field has a value that it cannot have.",
    500: "The server made a mistake.",
    503: "The server cannot take the request now.",
}
_ALWAYS: Final = (401, 403, 500, 503)
_OF_A_BODY: Final = (413, 415)

REQUEST_ID: Final = {
    "name": "X-Request-Id",
    "in": "header",
    "description": "Comes back in the answer, the logs and the error; made where none is sent.",
    "schema": {"type": "string", "pattern": "^[A-Za-z0-9._:-]{1,128}$"},
}
IDEMPOTENCY_KEY: Final = {
    "name": "Idempotency-Key",
    "in": "header",
    "description": "The same key and body within 24 hours give the first answer again.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[ -~]+$"},
}
LAST_EVENT_ID: Final = {
    "name": "Last-Event-ID",
    "in": "header",
    "description": "An event id of this stream: go on behind it. Wins over `after`.",
    "schema": {"type": "string"},
}
TICKET: Final = {
    "name": "ticket",
    "in": "query",
    "description": "A stream ticket of this execution, in the place of a key.",
    "schema": {"type": "string"},
}
"""A route that has it among its parameters opens to a ticket of the `executionId` in its path."""
PREFER: Final = {
    "name": "Prefer",
    "in": "header",
    "description": "`respond-async`: answer 202 at once. `wait=N`: after N seconds at the latest.",
    "schema": {"type": "string"},
    "examples": {"async": {"value": "respond-async"}, "wait": {"value": "wait=10"}},
}


def event_stream(types: tuple[str, ...]) -> dict[str, Any]:
    """A stream's media type: the schema is that of one event, as tools of OpenAPI read it.

    types: the values of `type` in an event's JSON.
    """
    kinds = {"type": "string", "enum": list(types)}
    data = {
        "type": "string",
        "contentMediaType": "application/json",
        "contentSchema": {"type": "object", "required": ["type"], "properties": {"type": kinds}},
    }
    cursor = {"type": "string", "description": "An opaque cursor, for `Last-Event-ID`."}
    return {
        "schema": {
            "type": "object",
            "description": "One server-sent event.",
            "properties": {"id": cursor, "data": data},
            "required": ["data"],
        },
        "example": 'id: 1-3\ndata: {"type":"text_delta","text":"Hello"}\n\n',
    }


def operation(
    name: str,
    summary: str,
    *,
    errors: tuple[int, ...] = (),
    answers: Mapping[int, Mapping[str, Any]],
    path: Mapping[str, str] | None = None,
    query: type[BaseModel] | None = None,
    headers: tuple[Mapping[str, Any], ...] = (),
    body: type[BaseModel] | None = None,
    error: type = Error,
) -> dict[str, Any]:
    """Keyword arguments for a router's get, post, …: everything that the document says of a route.

    answers: status → what FastAPI's `responses` takes; a `model` is only named, and its room lists
    it among its schemas: FastAPI would build a validator for each at every start.
    path: parameter → what it names.
    error: the room's shape of an error.
    """
    extra: dict[str, Any] = {
        "parameters": [
            *(_path_parameter(*item) for item in (path or {}).items()),
            *(_query_parameters(query) if query else ()),
            *headers,
            REQUEST_ID,
        ]
    }
    if body is not None:
        content = {"application/json": {"schema": {"$ref": REF.format(model=body.__name__)}}}
        extra["requestBody"] = {"required": False, "content": content}
    failures = {
        status: _answer({"model": error, "description": _DESCRIPTIONS[status]})
        for status in sorted({*errors, *_ALWAYS, *(_OF_A_BODY if body else ())})
    }
    first = min(answers)
    return {
        "operation_id": name,
        "summary": summary,
        "status_code": first,
        "response_model": None,
        "responses": {status: _answer(told) for status, told in answers.items()} | failures,
        "openapi_extra": extra,
    }


def _answer(told: Mapping[str, Any]) -> dict[str, Any]:
    answer = dict(told)
    model = answer.pop("model", None)
    if get_origin(model) is list:
        answer["content"] = {"application/json": {"schema": _list_of(*get_args(model))}}
    elif model is not None:
        names = [{"$ref": REF.format(model=one.__name__)} for one in get_args(model) or (model,)]
        schema = names[0] if len(names) == 1 else {"anyOf": names}
        answer["content"] = {"application/json": {"schema": schema}, **answer.get("content", {})}
    return answer


def _list_of(model: type) -> dict[str, Any]:
    return {"type": "array", "items": {"$ref": REF.format(model=model.__name__)}}


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
    """A schema with the definitions of its model in the place of their references.

    A parameter's schema stands alone: nothing else of its model comes into the document.
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
    """A field's schema without the null that stands for an absent parameter."""
    description = field.get("description")
    rest = {key: value for key, value in field.items() if key not in ("title", "description")}
    if "anyOf" in rest:
        kinds = [kind for kind in rest.pop("anyOf") if kind != {"type": "null"}]
        rest = kinds[0] | {key: value for key, value in rest.items() if key != "default"}
    found: dict[str, Any] = {"schema": rest}
    if description:
        found["description"] = description
    return found
