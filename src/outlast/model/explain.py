"""Validation messages in plain English: what was expected, what was given, where.

Validation errors of pydantic come in as plain data (`ValidationError.errors()`): HTTP bodies and
queries, agents files and scripts give the same message for the same mistake. A given value is shown
only if it is short and no secret: never under a name of a header, key, token or URL.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final, TypeAlias

Path: TypeAlias = tuple[str | int, ...]
Detail: TypeAlias = Mapping[str, Any]
"""One of pydantic's errors: type, loc, msg, input, ctx."""

_LONGEST: Final = 40
_SECRET: Final = re.compile(
    r"header|authori[sz]ation|cookie|secret|token$|password|key$|url|session|metadata",
    re.IGNORECASE,
)
_FOREIGN: Final = re.compile(r"^[\w ]*?\binput should ", re.IGNORECASE)

_KINDS: Final = {
    "bool": "true or false",
    "int": "a whole number",
    "float": "a number",
    "string": "text",
    "dict": "an object",
    "mapping": "an object",
    "model": "an object",
    "model_attributes": "an object",
    "dataclass": "an object",
    "list": "a list",
    "tuple": "a list",
    "set": "a list",
    "frozen_set": "a list",
    "none_required": "null",
    "decimal": "a number",
    "finite_number": "a number, neither infinite nor NaN",
}
"""What a field accepts, by prefix of pydantic's error types."""
_ENDINGS: Final = ("_type", "_parsing", "_from_float", "_unicode", "_parsing_size", "_sub")
_BOUNDS: Final = {
    "greater_than": ("gt", "greater than"),
    "greater_than_equal": ("ge", "at least"),
    "less_than": ("lt", "less than"),
    "less_than_equal": ("le", "at most"),
    "multiple_of": ("multiple_of", "a multiple of"),
}


@dataclass(frozen=True, slots=True)
class Explained:
    """One mistake: its place, and a predicate such as `must be text, not 5`."""

    path: Path
    text: str
    type: str
    """Pydantic's error type."""
    given: Any


def explain(details: Iterable[Detail], value: Any) -> list[Explained]:
    """Return each mistake of a document once, in the order of its fields.

    value: the whole document. If all alternatives of a field fail, they become one sentence.
    """
    found: dict[Path, list[Detail]] = {}
    for detail in details:
        found.setdefault(place(detail, value), []).append(detail)
    deeper = {path[:size] for path in found for size in range(len(path))}
    return [
        Explained(path, sentence(path, those), those[0]["type"], those[0].get("input"))
        for path, those in found.items()
        if path not in deeper or not any(_is_branch(detail, path) for detail in those)
    ]


def sentence(path: Path, details: list[Detail]) -> str:
    """Return what is wrong with one field; several details are its alternatives."""
    expected = list(dict.fromkeys(_expected(detail) for detail in details))
    if len(expected) > 1:
        alternatives = [text.removeprefix("must be ") for text in expected if "must be " in text]
        expected = [f"must be {_listed(alternatives or expected)}"]
    text = expected[0]
    shown = _given(details[0], path) if text.startswith("must be ") else None
    return text if shown is None else f"{text}, not {shown}"


def place(detail: Detail, value: Any) -> Path:
    """Return the path of the mistake in the document, without pydantic's names of alternatives."""
    path: list[str | int] = []
    for part in detail["loc"]:
        if _has(value, part):
            value = value[part]
        elif detail["type"] != "missing" or part != detail["loc"][-1]:
            continue
        path.append(part)
    return tuple(path)


def _has(value: Any, part: str | int) -> bool:
    if isinstance(value, Mapping):
        return part in value
    return isinstance(value, list | tuple) and isinstance(part, int) and part < len(value)


def _is_branch(detail: Detail, path: Path) -> bool:
    """Whether the detail concerns one of several alternatives."""
    return len(detail["loc"]) > len(path)


def _expected(detail: Detail) -> str:
    kind, context = detail["type"], detail.get("ctx") or {}
    if kind in _BOUNDS:
        name, words = _BOUNDS[kind]
        return f"must be {words} {context.get(name)}"
    if kind in _SENTENCES:
        return _SENTENCES[kind](context)
    for ending in _ENDINGS:
        if (name := kind.removesuffix(ending)) != kind and name in _KINDS:
            return f"must be {_KINDS[name]}"
    return f"must be {_KINDS[kind]}" if kind in _KINDS else _own(detail)


def _own(detail: Detail) -> str:
    """Return the message of a custom check, or of an error type without a sentence here."""
    message = str(detail["msg"]).removeprefix("Value error, ").removeprefix("Assertion failed, ")
    return _FOREIGN.sub("must ", message, count=1).replace("an instance of", "of the kind")


def _length(words: str, bound: str, unit: str) -> Callable[[Mapping[str, Any]], str]:
    def sized(context: Mapping[str, Any]) -> str:
        most = context.get(bound)
        if (bound, most) == ("min_length", 1):
            return "must not be empty"
        units = unit if most == 1 else f"{unit}s"
        actual = context.get("actual_length")
        return f"must have {words} {most} {units}" + ("" if actual is None else f", not {actual}")

    return sized


_SENTENCES: Final[dict[str, Callable[[Mapping[str, Any]], str]]] = {
    "missing": lambda _: "is missing",
    "extra_forbidden": lambda _: "is not known here",
    "string_too_short": _length("at least", "min_length", "character"),
    "string_too_long": _length("at most", "max_length", "character"),
    "too_short": _length("at least", "min_length", "item"),
    "too_long": _length("at most", "max_length", "item"),
    "literal_error": lambda context: f"must be {_choices(context)}",
    "enum": lambda context: f"must be {_choices(context)}",
    "string_pattern_mismatch": lambda context: f"must match {context.get('pattern')}",
    "invalid_key": lambda _: "must be an object whose names are text",
    "recursion_loop": lambda _: "must not contain itself",
}


def _choices(context: Mapping[str, Any]) -> str:
    """Rewrite pydantic's `'a', 'b' or 'c'` as the field's values: a, b or c."""
    return str(context.get("expected", "one of the known values")).replace("'", "")


def _listed(texts: list[str]) -> str:
    return texts[0] if len(texts) == 1 else f"{', '.join(texts[:-1])} or {texts[-1]}"


def _given(detail: Detail, path: Path) -> str | None:
    """Return the given value as far as it may be shown; None if that would not help."""
    given = detail.get("input")
    kind = given_kind(given)
    if any(_SECRET.search(part) for part in path if isinstance(part, str)):
        return kind
    match given:
        case str() if detail["type"] in _BOUNDS:
            return given[:_LONGEST]
        case str():
            return f'"{given}"' if len(given) <= _LONGEST and given.isprintable() else kind
        case bool():
            return str(given).lower()
        case int() | float():
            return repr(given) if abs(given) < 1 << 63 else kind
        case _:
            return kind


def given_kind(given: Any) -> str:
    """Return the kind of a value of JSON, YAML or TOML, without the value."""
    if given == "":
        return "an empty text"
    known = (name for kind, name in _GIVEN.items() if isinstance(given, kind))
    return next(known, "another kind of value")


_GIVEN: Final[dict[type, str]] = {
    type(None): "null",
    bool: "true or false",
    int: "a number",
    float: "a number",
    Decimal: "a number",
    str: "text",
    dict: "an object",
    list: "a list",
    tuple: "a list",
    set: "a list",
}
