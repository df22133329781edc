"""The stored call of an OpenAPI tool, and the request made of it and a call's arguments.

How arguments are written: OpenAPI 3.1, 4.8.12.3 and 4.8.12.4 (style values and examples).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final
from urllib.parse import quote

import orjson

from outlast.agents.port import ToolContext
from outlast.agents.tools.arguments import invalid_arguments
from outlast.agents.tools.placeholders import as_text
from outlast.agents.tools.request import ToolRequest, tool_request
from outlast.model.agent import HttpCall
from outlast.model.error import ToolFailed

FORM: Final = "application/x-www-form-urlencoded"
SEPARATORS: Final = {"form": ",", "spaceDelimited": "%20", "pipeDelimited": "%7C"}
"""Separators of a query's items that share one parameter, by style."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """An argument that is part of the URL or a header."""

    argument: str
    name: str
    place: str
    """path, query or header."""
    style: str
    explode: bool
    as_json: bool = False


@dataclass(frozen=True, slots=True)
class Body:
    """How arguments become the body."""

    media: str
    """The content type."""
    argument: str | None = None
    """The argument that is the whole body; None: `fields`."""
    fields: dict[str, str] = field(default_factory=dict)
    """Arguments by the body's keys."""
    deep: tuple[str, ...] = ()
    """Keys of a form that are written in the style `deepObject`."""

    @staticmethod
    def of(stored: Mapping[str, Any]) -> "Body":
        """Return the body that was stored."""
        return Body(**{**stored, "deep": tuple(stored.get("deep", ()))})


@dataclass(frozen=True, slots=True)
class OpenApiCall:
    """The request of one operation. Stored as JSON with the agent's version."""

    method: str
    url: str
    """With `{argument}` in the path; `${NAME}` only in what the operator wrote."""
    parameters: tuple[Parameter, ...] = ()
    body: Body | None = None
    headers: dict[str, str] = field(default_factory=dict)
    """The operator's, as of an HTTP tool."""
    query: dict[str, str] = field(default_factory=dict)
    """The operator's."""
    send: tuple[str, ...] = ("user",)
    timeout: float = 30.0
    retries: int = 0
    max_result_bytes: int = 262_144
    proxy: str | None = None
    ca_file: str | None = None

    @staticmethod
    def of(stored: Mapping[str, Any]) -> "OpenApiCall":
        """Return the call that was stored."""
        body = stored.get("body")
        return OpenApiCall(
            **{
                **stored,
                "parameters": tuple(Parameter(**one) for one in stored.get("parameters", ())),
                "body": None if body is None else Body.of(body),
                "send": tuple(stored.get("send", ("user",))),
            }
        )

    @property
    def http(self) -> HttpCall:
        """The same call without what arguments add to query, headers and body."""
        return HttpCall(
            self.url,
            self.headers,
            self.timeout,
            self.retries,
            self.max_result_bytes,
            self.method,
            query=self.query,
            body=False,
            send=self.send,
            proxy=self.proxy,
            ca_file=self.ca_file,
        )


def openapi_request(
    call: OpenApiCall,
    arguments: dict[str, Any],
    context: ToolContext,
    environ: Mapping[str, str],
) -> ToolRequest:
    """Return the request of a call, filled in. Raises ToolFailed as `tool_request` does."""
    in_path = {
        one.argument: _simple(arguments[one.argument], one.explode)
        for one in call.parameters
        if one.place == "path" and arguments.get(one.argument) is not None
    }
    made = tool_request(call.http, in_path, context, environ)
    pairs = [pair for one in call.parameters for pair in _pairs(one, arguments)]
    url = made.url
    if pairs:
        query = "&".join(f"{name}={value}" for name, value in pairs)
        url += ("&" if "?" in url else "?") + query
    headers = dict(_headers(call, arguments)) | made.headers
    body = _body(call.body, arguments)
    if body is not None:
        assert call.body is not None
        headers["content-type"] = call.body.media
    return replace(made, url=url, headers=headers, body=body)


def _pairs(parameter: Parameter, arguments: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield a query parameter's names and values, percent-encoded."""
    value = arguments.get(parameter.argument)
    if parameter.place != "query" or value is None:
        return
    name = _encoded(parameter.name)
    match value:
        case _ if parameter.as_json:
            yield name, _encoded(orjson.dumps(value).decode())
        case dict() | list() if parameter.style == "deepObject":
            yield from _deep(name, value)
        case dict() if parameter.explode:
            for key, item in value.items():
                yield _encoded(key), _encoded(as_text(item))
        case list() if parameter.explode:
            for item in value:
                yield name, _encoded(as_text(item))
        case list() | dict():
            pairs = value.items() if isinstance(value, dict) else ((item,) for item in value)
            items = [item for pair in pairs for item in pair]
            joint = SEPARATORS.get(parameter.style, ",")
            yield name, joint.join(_encoded(as_text(item)) for item in items)
        case _:
            yield name, _encoded(as_text(value))


def _deep(name: str, value: Any) -> Iterator[tuple[str, str]]:
    """Yield what an encoded name with brackets holds; null is left out.

    OpenAPI leaves lists open. They are written as PHP, Rails and Stripe read them: `a[]=1`, and
    `a[0][b]=1` for objects.
    """
    match value:
        case None:
            return
        case dict():
            for key, item in value.items():
                yield from _deep(f"{name}%5B{_encoded(key)}%5D", item)
        case list():
            for place, item in enumerate(value):
                place_shown = place if isinstance(item, dict | list) else ""
                yield from _deep(f"{name}%5B{place_shown}%5D", item)
        case _:
            yield name, _encoded(as_text(value))


def _headers(call: OpenApiCall, arguments: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the headers that arguments fill. Raises ToolFailed for one that cannot be sent."""
    for one in call.parameters:
        value = arguments.get(one.argument)
        if one.place != "header" or value is None:
            continue
        text = _simple(value, one.explode)
        if not text.isascii() or not text.isprintable():
            problem = f"{one.argument}: must be printable ASCII on one line, as it is a header"
            raise ToolFailed(invalid_arguments([problem]))
        yield one.name.lower(), text


def _simple(value: Any, explode: bool) -> str:
    """Return a value in the style `simple`: items with commas between."""
    match value:
        case list():
            return ",".join(as_text(item) for item in value)
        case dict():
            joint = "=" if explode else ","
            return ",".join(f"{key}{joint}{as_text(item)}" for key, item in value.items())
        case _:
            return as_text(value)


def _body(body: Body | None, arguments: Mapping[str, Any]) -> bytes | None:
    """Return the body; None if no argument is part of it."""
    if body is None:
        return None
    if body.argument is not None:
        if body.argument not in arguments:
            return None
        content = arguments[body.argument]
    else:
        content = {key: arguments[name] for key, name in body.fields.items() if name in arguments}
        if not content:
            return None
    if body.media != FORM:
        return orjson.dumps(content)
    fields = content.items() if isinstance(content, dict) else ()
    pairs = (pair for key, value in fields for pair in _of_form(key, value, key in body.deep))
    return "&".join(f"{name}={value}" for name, value in pairs).encode()


def _of_form(key: str, value: Any, deep: bool) -> Iterator[tuple[str, str]]:
    """Yield a form field's names and values, percent-encoded; objects are JSON unless `deep`."""
    if deep:
        yield from _deep(_encoded(key), value)
        return
    for item in value if isinstance(value, list) else [value]:
        if item is not None:
            yield _encoded(key), _encoded(as_text(item))


def _encoded(text: str) -> str:
    """Percent-encode all but the unreserved characters of RFC 3986, 2.3."""
    return quote(text, safe="", errors="replace")
