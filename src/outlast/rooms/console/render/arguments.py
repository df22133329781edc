"""A form for a tool's arguments, made from its JSON Schema, and the arguments that it sends.

Text, numbers, yes or no and enumerations have fields of their own; what is nested is written as
JSON, and so is everything if the schema is not an object with properties.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from difflib import ndiff
from typing import Any, Final

import orjson

_PLAIN: Final = {"string": "text", "number": "number", "integer": "number", "boolean": "boolean"}
_CANONICAL: Final = orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS
PREFIX: Final = "argument."
"""Of the names of fields."""
RAW: Final = "arguments"
"""The field of everything as JSON."""
_MOST_FIELDS: Final = 50


class NotArguments(Exception):
    """What a field holds cannot be read; `name` is the argument's."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(message)
        self.name, self.message = name, message


@dataclass(frozen=True, slots=True)
class Field:
    """One argument in a form."""

    name: str
    kind: str
    """text, number, boolean, choice or json."""
    text: str
    """Its value as the field shows it; empty: not given."""
    description: str = ""
    required: bool = False
    choices: tuple[str, ...] = ()
    problem: str = ""


def fields_of(schema: Mapping[str, Any] | None, arguments: Mapping[str, Any]) -> list[Field]:
    """Return the form's fields; none if everything is written as JSON."""
    properties = (schema or {}).get("properties")
    if not isinstance(properties, dict) or not properties or len(properties) > _MOST_FIELDS:
        return []
    if set(arguments) - set(properties):
        return []
    required = (schema or {}).get("required") or []
    return [
        _field(name, found if isinstance(found, dict) else {}, arguments, name in required)
        for name, found in properties.items()
    ]


def _field(name: str, schema: Mapping[str, Any], arguments: Mapping[str, Any], need: bool) -> Field:
    kind = _PLAIN.get(str(schema.get("type")), "json")
    choices: tuple[str, ...] = ()
    if isinstance(schema.get("enum"), list) and kind in ("text", "number"):
        kind, choices = "choice", tuple(_shown(one) for one in schema["enum"])
    given = name in arguments
    value = arguments.get(name)
    if given and not _fits(kind, value):
        kind, choices = "json", ()
    text = "" if not given else _json(value) if kind == "json" else _shown(value)
    if choices and given and text not in choices:
        choices = (text, *choices)
    return Field(name, kind, text, str(schema.get("description") or ""), need, choices)


def _fits(kind: str, value: Any) -> bool:
    match kind:
        case "text":
            return isinstance(value, str)
        case "number":
            return isinstance(value, int | float) and not isinstance(value, bool)
        case "boolean":
            return isinstance(value, bool)
        case "choice":
            return isinstance(value, str | int | float) and not isinstance(value, bool)
        case _:
            return True


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else orjson.dumps(value).decode()


def _json(value: Any) -> str:
    return orjson.dumps(value, option=orjson.OPT_INDENT_2).decode()


# --- what a form sends


def sent(
    fields: list[Field],
    form: Mapping[str, str],
    proposed: Mapping[str, Any],
    prefix: str = PREFIX,
) -> dict[str, Any]:
    """Return the arguments of a form; a field that was not touched keeps its value.

    Raises NotArguments.
    """
    if not fields:
        return _object(form.get(RAW if prefix == PREFIX else prefix), proposed)
    found: dict[str, Any] = {}
    for field in fields:
        text = form.get(prefix + field.name, field.text)
        if text == field.text:
            if field.name in proposed:
                found[field.name] = proposed[field.name]
        elif text or (field.kind == "text" and field.name in proposed):
            found[field.name] = _value(field, text)
    return found


def _object(text: str | None, proposed: Mapping[str, Any]) -> dict[str, Any]:
    if text is None or text.strip() == _json(proposed):
        return dict(proposed)
    value = _loads("", text)
    if not isinstance(value, dict):
        raise NotArguments("", "The arguments are one JSON object: {…}.")
    return value


def _value(field: Field, text: str) -> Any:
    if field.kind == "text" or (field.kind == "choice" and not _is_number(text)):
        return text
    value = _loads(field.name, text)
    if field.kind == "number" and not _fits("number", value):
        raise NotArguments(field.name, "This is a number.")
    return value


def _is_number(text: str) -> bool:
    try:
        return isinstance(orjson.loads(text), int | float)
    except orjson.JSONDecodeError:
        return False


def _loads(name: str, text: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise NotArguments(name, f"This is not JSON: {error}.") from error


def filled(
    fields: list[Field],
    form: Mapping[str, str],
    problem: NotArguments | None,
    prefix: str = PREFIX,
) -> list[Field]:
    """Return the fields as they were sent, with what is wrong."""
    return [
        replace(
            field,
            text=form.get(prefix + field.name, field.text),
            problem=problem.message if problem and problem.name == field.name else "",
        )
        for field in fields
    ]


def value_of(text: str) -> Any:
    """Return a text as JSON; what is none is a text, and nothing is null."""
    if not text.strip():
        return None
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return text


def difference(before: Any, after: Any) -> list[tuple[str, str]]:
    """Return the lines of two JSON values with their tag, `ins`, `del` or `span`."""
    return [*_tagged(_lines(before), _lines(after))] if before != after else []


def _lines(value: Any) -> list[str]:
    return orjson.dumps(value, option=_CANONICAL).decode().splitlines()


def _tagged(before: list[str], after: list[str]) -> Iterator[tuple[str, str]]:
    tags = {"+ ": "ins", "- ": "del", "  ": "span"}
    for line in ndiff(before, after):
        if (tag := tags.get(line[:2])) is not None:
            yield tag, line[2:]
