"""Operations of an OpenAPI document as tools.

Arguments are the parameters and the keys of the body, by name; one that stands in several places
has the place in front: `path_id`, `body_id`. A body that is no plain object is one argument.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Final

import orjson

from outlast.agents.tools.openapi_call import FORM, SEPARATORS, Body, OpenApiCall, Parameter
from outlast.agents.tools.openapi_document import Operation
from outlast.agents.tools.openapi_schema import Schemas
from outlast.model.agent import Effect, ToolSpec
from outlast.model.error import Misconfigured

KEY: Final = "openapi"
LONGEST_NAME: Final = 64
_HASH: Final = 8
_DESCRIPTION: Final = 1024
"""Characters of a tool's description; providers take no more."""
_UNNAMEABLE: Final = re.compile(r"[^a-zA-Z0-9_-]+")
_EFFECTS: Final = {
    "get": Effect.READ_ONLY,
    "head": Effect.READ_ONLY,
    "put": Effect.IDEMPOTENT,
    "delete": Effect.IDEMPOTENT,
}
"""RFC 9110, 9.2.1 and 9.2.2; any other method is destructive."""
_IGNORED_HEADERS: Final = {"accept", "authorization", "content-type"}
"""OpenAPI 3.1, 4.8.12.1: parameters of these names are ignored."""
_JSON: Final = re.compile(r"application/(?:[\w.+-]+\+)?json\b", re.IGNORECASE)
_ANY_MEDIA: Final = {"*/*", "application/*"}
"""Media types of a body that may be JSON."""
_WITHOUT_BODY: Final = {"get", "head"}
"""OpenAPI 3.0, 4.7.10.1: a body is ignored where HTTP gives it no meaning."""
_COMPOSED: Final = ("allOf", "anyOf", "oneOf", "not", "if", "patternProperties", "$ref")
_STYLES: Final = {"path": {"simple"}, "header": {"simple"}}
_QUERY_STYLES: Final = {*SEPARATORS, "deepObject"}


@dataclass(frozen=True, slots=True)
class Operator:
    """What the operator adds to every request of a document's tools."""

    base: str | None = None
    headers: dict[str, str] = field(default_factory=dict)
    query: dict[str, str] = field(default_factory=dict)
    send: tuple[str, ...] = ("user",)
    timeout: float = 30.0
    retries: int = 0
    max_result_bytes: int = 262_144
    proxy: str | None = None
    ca_file: str | None = None


@dataclass(frozen=True, slots=True)
class _Argument:
    """An argument before it has its name."""

    name: str
    place: str
    schema: Any
    required: bool
    parameter: Mapping[str, Any] = field(default_factory=dict)


def tool_name(operation: Operation, prefix: str = "") -> str:
    """Return an operation's name as a tool: at most 64 letters, digits, _ and -.

    One that is cut ends with a hash of the whole, so that names stay apart.
    """
    whole = prefix + (operation.given_id or f"{operation.method}_{operation.path.strip('/')}")
    name = _UNNAMEABLE.sub("_", whole).strip("_-") or operation.method
    if len(name) <= LONGEST_NAME:
        return name
    return f"{name[: LONGEST_NAME - _HASH - 1]}_{_hash(whole)}"


def distinct_names(operations: list[Operation], prefix: str) -> list[str]:
    """Return the tools' names; those that would be equal end with a hash of method and path."""
    names = [tool_name(one, prefix) for one in operations]
    counts = Counter(names)
    return [
        name
        if counts[name] == 1
        else f"{name[: LONGEST_NAME - _HASH - 1]}_{_hash(f'{one.method} {one.path}')}"
        for name, one in zip(names, operations, strict=True)
    ]


def operation_spec(operation: Operation, name: str, operator: Operator) -> ToolSpec:
    """Return the tool of an operation. Raises Misconfigured, naming it, if it cannot be called."""
    schemas = Schemas(operation.document)
    arguments = [*_parameters(operation, operator, schemas), *_body_arguments(operation, schemas)]
    names = _named(arguments)
    parameters = _schema(arguments, names, schemas)
    url = _url(operation, operator, dict(zip(map(_place, arguments), names, strict=True)))
    call = OpenApiCall(
        operation.method.upper(),
        url,
        tuple(
            _parameter(one, name, operation)
            for one, name in zip(arguments, names, strict=True)
            if one.place != "body"
        ),
        _body(operation, arguments, names),
        operator.headers,
        operator.query,
        operator.send,
        operator.timeout,
        operator.retries,
        operator.max_result_bytes,
        operator.proxy,
        operator.ca_file,
    )
    effect = _EFFECTS.get(operation.method, Effect.DESTRUCTIVE)
    return ToolSpec(
        name, _description(operation), parameters, effect, timeout=operator.timeout,
        other={KEY: orjson.loads(orjson.dumps(call))},
    )  # fmt: skip


def _place(argument: _Argument) -> tuple[str, str]:
    return argument.place, argument.name


def _parameters(operation: Operation, operator: Operator, schemas: Schemas) -> Iterator[_Argument]:
    """Yield the parameters that the model fills; those of the operation win over the path's."""
    found: dict[tuple[str, str], Mapping[str, Any]] = {}
    for holder in (operation.item, operation.value):
        given = holder.get("parameters")
        for one in given if isinstance(given, list) else ():
            parameter = operation.document.resolved(one)
            found[str(parameter.get("in")), str(parameter.get("name"))] = parameter
    own_headers = {name.lower() for name in operator.headers} | _IGNORED_HEADERS
    for (place, name), parameter in found.items():
        required = place == "path" or parameter.get("required") is True
        if place == "cookie" and required and "cookie" not in own_headers:
            raise Misconfigured(
                f"{operation.shown} needs the cookie {name}, which a model does not send; "
                "write it as the header Cookie"
            )
        if (
            place == "cookie"
            or (place == "header" and name.lower() in own_headers)
            or (place == "query" and name in operator.query)
        ):
            continue
        schema = parameter.get("schema", _json_content(parameter).get("schema", True))
        converted = schemas.converted(schema)
        described = parameter.get("description")
        if described and isinstance(converted, dict) and "description" not in converted:
            converted["description"] = str(described)
        yield _Argument(name, place, converted, required, parameter)


def _json_content(holder: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the media type object of JSON; empty if there is none."""
    content = holder.get("content")
    for media, value in content.items() if isinstance(content, Mapping) else ():
        if _JSON.match(str(media)) and isinstance(value, Mapping):
            return value
    return {}


def _parameter(argument: _Argument, name: str, operation: Operation) -> Parameter:
    given, place = argument.parameter, argument.place
    style = str(given.get("style", "form" if place == "query" else "simple"))
    if style not in _STYLES.get(place, _QUERY_STYLES):
        where = f"{operation.shown}: the parameter {argument.name}"
        raise Misconfigured(f"{where} has the style {style}, which is not written")
    explode = given.get("explode", style == "form")
    return Parameter(name, argument.name, place, style, explode is True, "content" in given)


@dataclass(frozen=True, slots=True)
class _RequestBody:
    media: str
    schema: Mapping[str, Any]
    required: bool
    encoding: Mapping[str, Any]

    @property
    def deep(self) -> tuple[str, ...]:
        """Keys of a form in the style `deepObject`."""
        if self.media.lower() != FORM:
            return ()
        given = ((key, one) for key, one in self.encoding.items() if isinstance(one, Mapping))
        return tuple(str(key) for key, one in given if one.get("style") == "deepObject")


def _request_body(operation: Operation) -> _RequestBody | None:
    """Return the body that is sent; None without one."""
    if "requestBody" not in operation.value or operation.method in _WITHOUT_BODY:
        return None
    given = operation.document.resolved(operation.value["requestBody"])
    content, required = given.get("content"), given.get("required") is True
    found = {str(media): one for media, one in content.items()} if content else {}
    for media, one in found.items():
        plain = media.partition(";")[0].strip()
        plain = "application/json" if plain in _ANY_MEDIA else plain
        if _JSON.match(plain) or plain.lower() == FORM:
            value = one if isinstance(one, Mapping) else {}
            schema, encoding = value.get("schema"), value.get("encoding")
            schema = schema if isinstance(schema, Mapping) else {}
            if not required and _is_empty(schema):
                return None
            encoding = encoding if isinstance(encoding, Mapping) else {}
            return _RequestBody(plain, schema, required, encoding)
    if not required:
        return None
    media = ", ".join(found) or "of no type"
    raise Misconfigured(f"{operation.shown} needs a body {media}: only JSON and forms are sent")


def _is_empty(schema: Mapping[str, Any]) -> bool:
    """Whether nothing but an empty object fits."""
    return schema.get("additionalProperties") is False and not schema.get("properties")


def _body_arguments(operation: Operation, schemas: Schemas) -> Iterator[_Argument]:
    """Yield the keys of a plain object, or the whole body as one."""
    body = _request_body(operation)
    if body is None:
        return
    schema, required = body.schema, body.required
    plain = operation.document.resolved(schema) if "$ref" in schema else schema
    if not _is_plain(plain):
        yield _Argument("", "body", schemas.converted(schema), required)
        return
    converted = schemas.converted(plain)
    needed = converted.get("required", []) if required else []
    for name, one in converted["properties"].items():
        yield _Argument(name, "body", one, name in needed)


def _is_plain(schema: Mapping[str, Any]) -> bool:
    """Whether a schema is an object of named keys alone."""
    return (
        isinstance(schema.get("properties"), Mapping)
        and bool(schema["properties"])
        and schema.get("type", "object") == "object"
        and not any(key in schema for key in _COMPOSED)
        and schema.get("additionalProperties", False) is False
        and schema.get("nullable") is not True
    )


def _body(operation: Operation, arguments: list[_Argument], names: list[str]) -> Body | None:
    body = _request_body(operation)
    if body is None:
        return None
    pairs = zip(arguments, names, strict=True)
    fields = {one.name: name for one, name in pairs if one.place == "body"}
    if "" in fields:
        return Body(body.media, argument=fields[""], deep=body.deep)
    return Body(body.media, fields=fields, deep=body.deep)


def _named(arguments: list[_Argument]) -> list[str]:
    """Return the arguments' names for the model, all different."""
    plain = [_UNNAMEABLE.sub("_", one.name).strip("_-") or one.place for one in arguments]
    counts = Counter(plain)
    names: list[str] = []
    for one, name in zip(arguments, plain, strict=True):
        made = name if counts[name] == 1 else f"{one.place}_{name}"
        made = made[:LONGEST_NAME]
        number = 1
        while made in names:
            number += 1
            made = f"{made[: LONGEST_NAME - 4]}_{number}"
        names.append(made)
    return names


def _schema(arguments: list[_Argument], names: list[str], schemas: Schemas) -> dict[str, Any]:
    made: dict[str, Any] = {
        "type": "object",
        "properties": {n: one.schema for n, one in zip(names, arguments, strict=True)},
        "additionalProperties": False,
    }
    required = [n for n, one in zip(names, arguments, strict=True) if one.required]
    if required:
        made["required"] = required
    if schemas.defs:
        made["$defs"] = schemas.defs
    return made


def _url(operation: Operation, operator: Operator, names: Mapping[tuple[str, str], str]) -> str:
    """Return base and path with the arguments' names in it. Raises Misconfigured."""
    base = operator.base or operation.base()

    def named(found: re.Match[str]) -> str:
        name = names.get(("path", found[1]))
        if name is None:
            raise Misconfigured(f"{operation.shown}: the path's {found[0]} is no parameter")
        return "{" + name + "}"

    parts = re.split(r"(\{[^{}]*\})", operation.path)
    path = "".join(
        re.sub(r"\{([^{}]*)\}", named, part)
        if part.startswith("{")
        else part.replace("$", "%24").replace("{", "%7B").replace("?", "%3F").replace("#", "%23")
        for part in parts
    )
    return base.rstrip("/") + "/" + path.lstrip("/")


def _description(operation: Operation) -> str:
    texts = [operation.value.get("summary"), operation.value.get("description")]
    given = list(dict.fromkeys(str(text).strip() for text in texts if text))
    text = "\n\n".join(given) or f"{operation.method.upper()} {operation.path}"
    return text if len(text) <= _DESCRIPTION else text[: _DESCRIPTION - 1] + "…"


def _hash(text: str) -> str:
    return sha256(text.encode()).hexdigest()[:_HASH]
