"""Schemas of an OpenAPI document as JSON Schema, for a tool's arguments.

Nothing is expanded: what a schema refers to is copied once into `$defs`, so that a schema may refer
to itself.
"""

from collections.abc import Mapping
from typing import Any, Final

from outlast.agents.tools.openapi_document import OpenApiDocument

_OF_SCHEMAS: Final = {"properties", "patternProperties", "$defs", "definitions", "dependentSchemas"}
"""Keywords that hold schemas by name."""
_LISTS: Final = {"allOf", "anyOf", "oneOf", "prefixItems"}
_SINGLE: Final = {
    "additionalProperties",
    "contains",
    "else",
    "if",
    "items",
    "not",
    "propertyNames",
    "then",
    "unevaluatedItems",
    "unevaluatedProperties",
}
_LEFT_OUT: Final = {
    "$id",
    "$schema",
    "discriminator",
    "example",
    "externalDocs",
    "nullable",
    "writeOnly",
    "xml",
}
"""Keywords of OpenAPI that are none of JSON Schema; `$id` would make `#/$defs` another's."""


class Schemas:
    """Converts schemas, and collects those that they refer to."""

    def __init__(self, document: OpenApiDocument) -> None:
        self._document = document
        self._names: dict[str, str] = {}
        self.defs: dict[str, Any] = {}
        """The schemas referred to, by name: the `$defs` of the tool's arguments."""

    def converted(self, schema: Any) -> Any:
        """Return a schema as JSON Schema. Raises Misconfigured for a wrong reference."""
        if not isinstance(schema, Mapping):
            return schema if isinstance(schema, bool) else True
        if isinstance(reference := schema.get("$ref"), str):
            own = {"$ref": f"#/$defs/{self._defined(reference)}"}
            if self._document.is_3_0:  # 3.0.3, 4.7.24: siblings of a reference are ignored
                return own
            rest = {key: value for key, value in schema.items() if key != "$ref"}
            return own | self.converted(rest)
        made = {
            key: self._value(key, value)
            for key, value in schema.items()
            if key not in _LEFT_OUT and not key.startswith("x-")
        }
        _leave_out_read_only(schema, made)
        if self._document.is_3_0:
            _exclusive(made)
            if schema.get("nullable") is True:
                return _nullable(made)
        return made

    def _value(self, key: str, value: Any) -> Any:
        if key in _OF_SCHEMAS and isinstance(value, Mapping):
            return {str(name): self.converted(one) for name, one in value.items()}
        if key in _LISTS and isinstance(value, list):
            return [self.converted(one) for one in value]
        if key in _SINGLE:
            return self.converted(value)
        return value

    def _defined(self, reference: str) -> str:
        """Return the name in `$defs` of what a reference names."""
        if reference not in self._names:
            last = reference.rsplit("/", 1)[-1]
            plain = "".join(one if one.isascii() and one.isalnum() else "_" for one in last)
            name, number = plain, 1
            while name in self.defs:
                number += 1
                name = f"{plain}_{number}"
            self._names[reference] = name
            self.defs[name] = True  # a schema that refers to itself finds the name
            self.defs[name] = self.converted(self._document.at(reference))
        return self._names[reference]


def _leave_out_read_only(schema: Mapping[str, Any], made: dict[str, Any]) -> None:
    """Leave out properties that a request does not send (OpenAPI 3.1, 4.8.24)."""
    properties = schema.get("properties")
    if not isinstance(properties, Mapping):
        return
    dropped = {
        str(name)
        for name, one in properties.items()
        if isinstance(one, Mapping) and one.get("readOnly") is True
    }
    if dropped:
        made["properties"] = {k: v for k, v in made["properties"].items() if k not in dropped}
        if isinstance(required := made.get("required"), list):
            made["required"] = [name for name in required if name not in dropped]


def _exclusive(made: dict[str, Any]) -> None:
    """Turn 3.0's `exclusiveMinimum: true` into the bound itself."""
    for bound in ("Minimum", "Maximum"):
        exclusive = made.get(f"exclusive{bound}")
        if isinstance(exclusive, bool):
            del made[f"exclusive{bound}"]
            if exclusive and bound.lower() in made:
                made[f"exclusive{bound}"] = made.pop(bound.lower())


def _nullable(made: dict[str, Any]) -> dict[str, Any]:
    """Return a 3.0 schema that allows null as well."""
    if not isinstance(kind := made.get("type"), str):
        return {"anyOf": [made, {"type": "null"}]}
    made["type"] = [kind, "null"]
    if isinstance(choices := made.get("enum"), list) and None not in choices:
        made["enum"] = [*choices, None]
    return made
