"""The page that shows the OpenAPI document: one file, without scripts, that needs no network.

Imported at the first request of the page.
"""

import base64
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from shlex import quote
from typing import Any, Final

import orjson
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markdown_it import MarkdownIt
from markupsafe import Markup

from outlast.reference.schema import Field, Kind, example_of, fields, kinds, notes

_HERE: Final = Path(__file__).parent
_METHODS: Final = ("get", "post", "put", "patch", "delete")
_JSON: Final = "application/json"
_FIRST: Final = "executions"
_ORIGIN: Final = "http://127.0.0.1:8321"


@dataclass(frozen=True, slots=True)
class Parameter:
    """A value in the path, the query or a header."""

    name: str
    place: str
    required: bool
    kinds: tuple[Kind, ...]
    description: str
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Content:
    """A body of one media type."""

    media: str
    kinds: tuple[Kind, ...]
    fields: tuple[Field, ...]
    """Of an object without a name of its own."""
    example: str | None


@dataclass(frozen=True, slots=True)
class Answer:
    """A response."""

    status: str
    description: str
    contents: tuple[Content, ...]

    @property
    def is_error(self) -> bool:
        """Whether it is one of the responses that all requests share."""
        return self.status >= "4"


@dataclass(frozen=True, slots=True)
class Operation:
    """A method of a path."""

    id: str
    method: str
    path: str
    tag: str
    summary: str
    description: str
    parameters: tuple[Parameter, ...]
    bodies: tuple[Content, ...]
    answers: tuple[Answer, ...]
    curl: str


@dataclass(frozen=True, slots=True)
class Named:
    """A schema with a name."""

    name: str
    description: str
    kinds: tuple[Kind, ...]
    fields: tuple[Field, ...]


def render(document: Mapping[str, Any], root: str) -> tuple[str, str]:
    """Return the page and its content security policy; `root` is the prefix of the paths."""
    style = (_HERE / "reference.css").read_text()
    groups: dict[str, list[Operation]] = {_FIRST: []}
    for operation in _operations(document, root):
        groups.setdefault(operation.tag, []).append(operation)
    content = template("reference.html").render(
        info=document["info"],
        root=root,
        groups=groups,
        schemas=[_named(name, one) for name, one in document["components"]["schemas"].items()],
        style=Markup(style),  # noqa: S704 - a file of the package
    )
    return content, policy_of(style)


def policy_of(style: str) -> str:
    """Return the content security policy of a page with this style and nothing else."""
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    return (
        f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    )


@cache
def template(name: str) -> Any:
    """Return a template of this package."""
    environment = Environment(
        loader=FileSystemLoader(_HERE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    reader = MarkdownIt("commonmark", {"html": False})
    environment.filters["markdown"] = lambda text: Markup(reader.render(text))  # noqa: S704
    environment.filters["inline_markdown"] = lambda text: Markup(reader.renderInline(text))  # noqa: S704
    return environment.get_template(name)


def _operations(document: Mapping[str, Any], root: str) -> Iterator[Operation]:
    schemas = document["components"]["schemas"]
    for path, methods in document["paths"].items():
        for method in _METHODS:
            if (found := methods.get(method)) is None:
                continue
            bodies = tuple(_contents(found.get("requestBody", {}), schemas))
            yield Operation(
                found["operationId"],
                method.upper(),
                path,
                found["tags"][0],
                found["summary"],
                found.get("description", "").removeprefix(found["summary"] + "."),
                tuple(_parameter(one) for one in found.get("parameters", ())),
                bodies,
                tuple(_answers(found["responses"], schemas)),
                _curl(method, root + path, found, bodies),
            )


def _parameter(given: Mapping[str, Any]) -> Parameter:
    schema = given.get("schema", {})
    description = given.get("description", schema.get("description", ""))
    return Parameter(
        given["name"],
        given["in"],
        given.get("required", False),
        kinds(schema),
        description,
        notes(schema),
    )


def _contents(given: Mapping[str, Any], schemas: Mapping[str, Any]) -> Iterator[Content]:
    for media, one in given.get("content", {}).items():
        schema = one.get("schema", {})
        example = one.get("example")
        if example is None and schema and media == _JSON:
            example = example_of(schema, schemas)
        shown = _indented(example) if isinstance(example, dict | list) else example
        yield Content(media, kinds(schema), fields(schema), shown or None)


def _answers(given: Mapping[str, Any], schemas: Mapping[str, Any]) -> Iterator[Answer]:
    for status, one in given.items():
        contents = () if status >= "4" else tuple(_contents(one, schemas))
        yield Answer(status, one["description"], contents)


def _named(name: str, schema: Mapping[str, Any]) -> Named:
    plain = () if schema.get("properties") else kinds(schema)
    return Named(name, schema.get("description", ""), plain, fields(schema))


def _curl(method: str, path: str, operation: Mapping[str, Any], bodies: tuple[Content, ...]) -> str:
    """Return a command that makes the request, with the key in a variable."""
    parts = ["curl"] if method == "get" else ["curl", "-X", method.upper()]
    parts.append(quote(_ORIGIN + path))
    if operation.get("security", True):
        parts.append('\\\n  -H "Authorization: Bearer $OUTLAST_API_KEY"')
    json = next((one.example for one in bodies if one.media == _JSON and one.example), None)
    if json is None:
        return " ".join(parts)
    body = orjson.dumps(orjson.loads(json)).decode()
    return " ".join(parts) + f" \\\n  -H 'Content-Type: {_JSON}' \\\n  -d {quote(body)}"


def _indented(value: Any) -> str:
    return orjson.dumps(value, option=orjson.OPT_INDENT_2).decode()
