"""JSON Schemas as people read them: what a value may be, in a line, and what an object holds."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson

from outlast.model.amount import amount

REF: Final = "#/components/schemas/"
_BOUNDS: Final = {
    "minimum": ("at least", ""),
    "exclusiveMinimum": ("more than", ""),
    "maximum": ("at most", ""),
    "exclusiveMaximum": ("less than", ""),
    "minLength": ("at least", "character"),
    "maxLength": ("at most", "character"),
    "minItems": ("at least", "item"),
    "maxItems": ("at most", "item"),
    "minProperties": ("at least", "key"),
    "maxProperties": ("at most", "key"),
    "pattern": ("matches", ""),
}
Schema = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Kind:
    """A part of a type's name: text, or a link to a named schema."""

    text: str
    schema: str | None = None


@dataclass(frozen=True, slots=True)
class Field:
    """A property of an object."""

    name: str
    kinds: tuple[Kind, ...]
    required: bool
    description: str
    notes: tuple[str, ...]
    """Bounds and the default."""
    example: str | None
    fields: tuple["Field", ...]
    """Of an object without a name of its own."""


def kinds(schema: Schema) -> tuple[Kind, ...]:
    """Return what a value of this schema may be."""
    return tuple(_kinds(schema))


def _kinds(schema: Schema) -> Iterator[Kind]:
    if "$ref" in schema:
        name = str(schema["$ref"]).removeprefix(REF)
        yield Kind(name, name)
    elif "const" in schema:
        yield Kind(_json(schema["const"]))
    elif "enum" in schema:
        yield Kind(" | ".join(_json(value) for value in schema["enum"]))
    elif some := schema.get("anyOf") or schema.get("oneOf"):
        yield from _alternatives(some)
    else:
        yield from _of_type(schema)


def _alternatives(some: list[Schema]) -> Iterator[Kind]:
    for number, one in enumerate(some):
        if number:
            yield Kind(" or ")
        yield from _kinds(one)


def _of_type(schema: Schema) -> Iterator[Kind]:
    kind = schema.get("type", "any JSON")
    if kind == "array" and "items" in schema:
        yield Kind("array of ")
        yield from _kinds(schema["items"])
    elif kind == "object" and isinstance(values := schema.get("additionalProperties"), dict):
        yield Kind("object of ")
        yield from _kinds(values)
    else:
        given = kind if isinstance(kind, str) else " or ".join(kind)
        form = schema.get("format")
        yield Kind(f"{given}, {form}" if form else given)


def fields(schema: Schema) -> tuple[Field, ...]:
    """Return the properties of an object's schema."""
    required = frozenset(schema.get("required", ()))
    properties: Mapping[str, Schema] = schema.get("properties", {})
    return tuple(_field(name, one, name in required) for name, one in properties.items())


def _field(name: str, schema: Schema, required: bool) -> Field:
    examples = schema.get("examples", ())
    return Field(
        name,
        kinds(schema),
        required,
        schema.get("description", ""),
        notes(schema),
        _json(examples[0]) if examples else None,
        fields(schema),
    )


def notes(schema: Schema) -> tuple[str, ...]:
    """Return the bounds of a value and its default, as phrases; null is named by the type."""
    some = schema.get("anyOf") or schema.get("oneOf") or ()
    found = [
        f"{text} {amount(one[bound], unit) if unit else one[bound]}"
        for one in (schema, *some)
        for bound, (text, unit) in _BOUNDS.items()
        if bound in one
    ]
    if schema.get("default") is not None:
        found.append(f"default {_json(schema['default'])}")
    return tuple(found)


def example_of(schema: Schema, schemas: Mapping[str, Schema]) -> Any:
    """Return a value of a body: the schema's own example, else its required properties."""
    schema = schemas.get(str(schema.get("$ref", "")).removeprefix(REF), schema)
    if schema.get("examples"):
        return schema["examples"][0]
    if "example" in schema:
        return schema["example"]
    if some := schema.get("anyOf") or schema.get("oneOf"):
        return example_of(some[0], schemas)
    choices = [schema[name] for name in ("const", "default") if schema.get(name) is not None]
    if choices := [*choices, *schema.get("enum", ())]:
        return choices[0]
    if "properties" in schema:
        properties = schema["properties"]
        return {name: example_of(properties[name], schemas) for name in schema.get("required", ())}
    return {"string": "…", "integer": 1, "number": 1, "boolean": True, "array": []}.get(
        schema.get("type", ""), {}
    )


def _json(value: Any) -> str:
    return orjson.dumps(value).decode()
