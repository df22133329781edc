"""A tool's JSON schema as every provider understands it, and arguments as the schema requires.

vLLM's parser does not follow `$ref`: it writes such a value as a string of JSON. So a reference
that is not recursive is replaced by its target, and a string that holds JSON is read if the schema
requires an object or an array.
"""

from dataclasses import replace
from typing import Any, Final

from outlast.agents.port import ModelRequest
from outlast.model.agent import ToolSpec
from outlast.model.json_depth import is_too_deep
from outlast.model.message import AssistantMessage, Part, ToolCall
from outlast.model.text import read_json, storable
from outlast.model.whole_number import beyond_64_bits

_DEFINITIONS: Final = ("$defs", "definitions")
_MOST: Final = 2000
"""Maximum subschemas after inlining; a larger schema is sent unchanged."""


class _TooLarge(Exception):
    """The inlined schema would be too large."""


def inlined(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the schema with every `$ref` that is not recursive replaced; itself if there is none.

    Only references into the schema itself (`#/…`) are followed.
    """
    if not any(name in schema for name in _DEFINITIONS):
        return schema
    try:
        written: dict[str, Any] = _Inliner(schema).inline(schema, ())
    except (_TooLarge, RecursionError):
        return schema
    if not _refers(written):
        for name in _DEFINITIONS:
            written.pop(name, None)
    return written


def read_by_schema(message: AssistantMessage, request: ModelRequest) -> AssistantMessage:
    """Return the message with strings of JSON read if the tools' schemas want no string."""
    if not request.tools or not message.tool_calls:
        return message
    tools = {tool.name: tool for tool in request.tools}
    return AssistantMessage(tuple(_read_part(part, tools) for part in message.parts))


def _read_part(part: Part, tools: dict[str, ToolSpec]) -> Part:
    if not isinstance(part, ToolCall) or part.name not in tools:
        return part
    root = tools[part.name].parameters
    parameters = _read(part.parameters, root, root)
    if parameters is part.parameters or is_too_deep(parameters):
        return part
    return replace(part, parameters=parameters)


def _read(value: Any, schema: Any, root: dict[str, Any]) -> Any:
    """Return the value as the schema requires; the same object if nothing changes."""
    schema = _resolved(schema, root)
    match value:
        case str():
            return _read_text(value, schema, root)
        case dict() if isinstance(properties := schema.get("properties"), dict):
            read = {name: _read(item, properties.get(name), root) for name, item in value.items()}
            return read if any(read[name] is not value[name] for name in value) else value
        case list() if isinstance(items := schema.get("items"), dict):
            found = [_read(item, items, root) for item in value]
            return found if any(a is not b for a, b in zip(found, value, strict=True)) else value
        case _:
            return value


def _read_text(text: str, schema: dict[str, Any], root: dict[str, Any]) -> Any:
    wanted = _types(schema, root)
    if not wanted or "string" in wanted or text.lstrip()[:1] not in {"{", "["}:
        return text
    try:
        value = read_json(data := storable(text).encode())
    except ValueError:
        return text
    if beyond_64_bits(data) is not None:  # read, it would be another number
        return text
    if (isinstance(value, dict) and "object" in wanted) or (
        isinstance(value, list) and "array" in wanted
    ):
        return _read(value, schema, root)
    return text


def _types(schema: dict[str, Any], root: dict[str, Any]) -> set[str]:
    """Return the types that the schema or its alternatives name; empty for any type."""
    named = schema.get("type")
    if isinstance(named, str):
        return {named}
    if isinstance(named, list):
        return {name for name in named if isinstance(name, str)}
    types: set[str] = set()
    for choices in (schema.get("anyOf"), schema.get("oneOf")):
        for choice in choices if isinstance(choices, list) else ():
            inner = _resolved(choice, root).get("type")
            if not isinstance(inner, str):
                return set()
            types.add(inner)
    return types


def _resolved(schema: Any, root: dict[str, Any]) -> dict[str, Any]:
    """Return the schema that the references lead to; empty if they lead nowhere."""
    for _ in range(8):
        if not isinstance(schema, dict):
            return {}
        if "$ref" not in schema:
            return schema
        schema = _target(schema["$ref"], root)
    return {}


def _target(reference: Any, root: dict[str, Any]) -> Any:
    """Return the target of a reference inside the schema; None for any other."""
    if not isinstance(reference, str) or not reference.startswith("#/"):
        return None
    found: Any = root
    for step in reference[2:].split("/"):
        name = step.replace("~1", "/").replace("~0", "~")
        found = found.get(name) if isinstance(found, dict) else None
    return found


def _refers(value: Any) -> bool:
    match value:
        case dict():
            return "$ref" in value or any(
                _refers(item) for name, item in value.items() if name not in _DEFINITIONS
            )
        case list():
            return any(map(_refers, value))
        case _:
            return False


class _Inliner:
    """Writes a schema with its references replaced."""

    def __init__(self, root: dict[str, Any]) -> None:
        self._root = root
        self._written = 0

    def inline(self, schema: Any, within: tuple[str, ...]) -> Any:
        """`within`: the references that enclose this schema."""
        match schema:
            case dict():
                self._written += 1
                if self._written > _MOST:
                    raise _TooLarge
                reference = schema.get("$ref")
                if isinstance(reference, str) and not self._recurses(reference, within):
                    rest = {name: item for name, item in schema.items() if name != "$ref"}
                    target = _target(reference, self._root)
                    return self.inline({**target, **rest}, (*within, reference))
                return {
                    name: item if name in _DEFINITIONS else self.inline(item, within)
                    for name, item in schema.items()
                }
            case list():
                return [self.inline(item, within) for item in schema]
            case _:
                return schema

    def _recurses(self, reference: str, within: tuple[str, ...]) -> bool:
        """Whether the reference is recursive, or its target cannot be inlined."""
        if reference in within:
            return True
        target = _target(reference, self._root)
        return not isinstance(target, dict) or reference in self._reached(target, set())

    def _reached(self, value: Any, seen: set[str]) -> set[str]:
        """Return all references that can be reached from here."""
        match value:
            case dict():
                reference = value.get("$ref")
                if isinstance(reference, str) and reference not in seen:
                    seen.add(reference)
                    self._reached(_target(reference, self._root), seen)
                for item in value.values():
                    self._reached(item, seen)
            case list():
                for item in value:
                    self._reached(item, seen)
            case _:
                pass
        return seen
