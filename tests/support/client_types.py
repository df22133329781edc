"""The types of the Python client's answers, made from the OpenAPI document; a test compares them.

`python -m tests.support.client_types` writes them.
"""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from outlast.reference import Reference
from outlast.rooms.executions import room
from outlast.web import ROOMS

FILE: Final = Path(__file__).parents[2] / "src" / "outlast_client" / "types.py"
_HEAD: Final = '''"""Answers of the API as types, made from its OpenAPI document.

`python -m tests.support.client_types` writes them. Everything is a dict at run time; a server that
is newer may send more than stands here.
"""

from __future__ import annotations

from typing import Any, Literal, NotRequired, TypedDict
'''

_PLAIN: Final = {
    "string": "str",
    "integer": "int",
    "number": "float",
    "boolean": "bool",
    "null": "None",
}


def page() -> str:
    """Return the whole file."""
    document = Reference(ROOMS).document()
    schemas: dict[str, Any] = document["components"]["schemas"]
    named = [name for _, schema in answers(document) for name in names_in(schema)]
    names = sorted(reached(named, schemas), key=_name)
    return _formatted(_HEAD + "".join(_written(name, schemas[name]) for name in names))


def answers(document: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield each operation of the main room and the schema of a success."""
    own = {endpoint.name for endpoint in room.endpoints}
    for item in document["paths"].values():
        for operation in item.values():
            if operation["operationId"] not in own:
                continue
            for status, answer in operation["responses"].items():
                if status.startswith("2"):
                    for media in (answer.get("content") or {}).values():
                        yield operation["operationId"], media.get("schema", {})


def reached(todo: list[str], schemas: dict[str, Any]) -> set[str]:
    """Return these names and those of all schemas that they contain."""
    found: set[str] = set()
    while todo:
        name = todo.pop()
        if name not in found:
            found.add(name)
            todo += names_in(schemas[name])
    return found


def names_in(schema: Any) -> list[str]:
    """Return the names of the schemas that a part of the document refers to."""
    match schema:
        case {"$ref": str(place)}:
            return [place.rpartition("/")[2]]
        case dict():
            return [name for inner in schema.values() for name in names_in(inner)]
        case list():
            return [name for inner in schema for name in names_in(inner)]
        case _:
            return []


def _written(name: str, schema: dict[str, Any]) -> str:
    if schema.get("type") != "object" or "properties" not in schema:
        return f"\n{_name(name)} = {_type(schema)}\n"
    required = set(schema.get("required", ()))
    fields = {
        field: _type(inner) if field in required else f"NotRequired[{_type(inner)}]"
        for field, inner in schema["properties"].items()
    }
    if not all(field.isidentifier() and field != "from" for field in fields):
        inside = ", ".join(f'"{field}": "{kind}"' for field, kind in fields.items())
        return f'\n{_name(name)} = TypedDict("{_name(name)}", {{{inside}}})\n'
    lines = "".join(f"    {field}: {kind}\n" for field, kind in fields.items())
    return f"\nclass {_name(name)}(TypedDict):\n{lines or '    pass'}\n"


def _type(schema: dict[str, Any]) -> str:  # noqa: PLR0911 - one for each kind of schema
    match schema:
        case {"$ref": str(place)}:
            return _name(place.rpartition("/")[2])
        case {"const": value}:
            return f"Literal[{value!r}]"
        case {"enum": values}:
            return f"Literal[{', '.join(map(repr, values))}]"
        case {"anyOf": options} | {"oneOf": options}:
            return " | ".join(dict.fromkeys(_type(option) for option in options))
        case {"type": "array"}:
            return f"list[{_type(schema.get('items', {}))}]"
        case {"type": "object"}:
            inner = schema.get("additionalProperties")
            return f"dict[str, {_type(inner) if isinstance(inner, dict) else 'Any'}]"
        case {"type": str(kind)}:
            return _PLAIN[kind]
        case _:
            return "Any"


def _name(name: str) -> str:
    """Return the name as others see it: of one that two rooms have, the last part."""
    return name.rpartition("__")[2]


def _formatted(text: str) -> str:
    ruff = Path(sys.executable).with_name("ruff")
    for command in (("check", "--select", "I,UP037,Q", "--fix"), ("format",)):
        text = subprocess.run(
            [ruff, *command, "--quiet", "--stdin-filename", str(FILE), "-"],
            input=text,
            capture_output=True,
            text=True,
            check=False,
            cwd=FILE.parents[2],
        ).stdout
    return text


if __name__ == "__main__":
    FILE.write_text(page())
