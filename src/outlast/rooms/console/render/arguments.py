"""A form for a tool's arguments, made from its JSON Schema, and the arguments that it sends.

Text, numbers, yes or no and enumerations have fields of their own; what is nested is written as
JSON, and so is everything if the schema is not an object with properties.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import orjson

from outlast.model.whole_number import beyond_64_bits
from outlast.rooms.console.render.lines import Line, differing, json_lines

_PLAIN: Final = {"string": "text", "number": "number", "integer": "number", "boolean": "boolean"}
PREFIX: Final = "argument."
"""Of the names of fields."""
RAW: Final = "arguments"
"""The field of everything as JSON."""
_MOST_FIELDS: Final = 50
_AROUND: Final = 20
"""Equal lines beside the first and the last change."""


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
    values: tuple[Any, ...] = ()
    """What the choices stand for."""
    problem: str = ""


def fields_of(schema: Mapping[str, Any] | None, arguments: Mapping[str, Any]) -> list[Field]:
    """Return the form's fields; none if everything is written as JSON."""
    properties = (schema or {}).get("properties")
    if not isinstance(properties, dict) or not properties or len(properties) > _MOST_FIELDS:
        return []
    if set(arguments) - set(properties):
        return []
    found = (schema or {}).get("required")
    required = found if isinstance(found, list) else []
    return [
        _field(name, found if isinstance(found, dict) else {}, arguments, name in required)
        for name, found in properties.items()
    ]


def _field(name: str, schema: Mapping[str, Any], arguments: Mapping[str, Any], need: bool) -> Field:
    kind, values = _PLAIN.get(str(schema.get("type")), "json"), _choices(schema)
    given = name in arguments
    value = arguments.get(name)
    if given and not _fits(kind, value):
        kind = "json"
    if kind not in ("text", "number"):
        values = ()
    elif values:
        kind = "choice"
    choices = tuple(_shown(one) for one in values)
    text = "" if not given else _json(value) if kind == "json" else _shown(value)
    if choices and given and text not in choices:
        choices, values = (text, *choices), (value, *values)
    about = str(schema.get("description") or "")
    return Field(name, kind, text, about, need, choices, values)


def _choices(schema: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return what a schema has to choose from; nothing if a choice would look like none."""
    found = schema.get("enum")
    return () if not isinstance(found, list) or "" in found else tuple(found)


def _fits(kind: str, value: Any) -> bool:
    match kind:
        case "text":
            return isinstance(value, str)
        case "number":
            return isinstance(value, int | float) and not isinstance(value, bool)
        case "boolean":
            return isinstance(value, bool)
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
        text = as_it_was(text, field.text)
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


def as_it_was(text: str, before: str) -> str:
    """Return a text of a form with the line ends that it had, which browsers change."""
    if text == _unified(before):
        return before
    all_had_both = "\r\n" in before and before.count("\n") == before.count("\r\n")
    return text.replace("\n", "\r\n") if all_had_both else text


def _unified(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _value(field: Field, text: str) -> Any:
    if field.kind == "text":
        return text
    if field.kind == "choice":
        found = dict(zip(field.choices, field.values, strict=True))
        return found.get(text, text)
    if field.kind == "number":
        return _number(field.name, text)
    return _loads(field.name, text)


def _number(name: str, text: str) -> int | float:
    try:
        value: Any = orjson.loads(text)
    except orjson.JSONDecodeError:
        value = None
    if not _fits("number", value):
        raise NotArguments(name, "This is not a number; write it as 1234.5 is written.")
    number: int | float = _exact(name, text, value)
    return number


def _loads(name: str, text: str) -> Any:
    try:
        return _exact(name, text, orjson.loads(text))
    except orjson.JSONDecodeError as error:
        raise NotArguments(name, f"This is not JSON: {error}.") from error


def _exact(name: str, text: str, value: Any) -> Any:
    """Return what was read of a text. Raises NotArguments if a number of it was rounded."""
    beyond = beyond_64_bits(text.encode())
    if beyond is not None:
        raise NotArguments(name, f"{beyond.shown} is a whole number beyond 64 bits.")
    return value


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
    """Return a text as JSON; what is none, or would be rounded, is a text, and nothing is null."""
    if not text.strip():
        return None
    if beyond_64_bits(text.encode()) is not None:
        return text
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return text


def difference(before: Any, after: Any) -> list[Line]:
    """Return the lines of two JSON values, none if they are equal."""
    lines, more = differing(json_lines(before), json_lines(after), _AROUND)
    return [*lines, Line("span", "…")] if more else lines
