"""Checks of an HTTP tool's request, at the path of each key."""

from collections.abc import Iterator, Mapping
from math import inf
from typing import Any, Final, TypeAlias

from outlast.agents.tools.placeholders import ARGUMENT, VARIABLE, Url, argument_names
from outlast.agents.tools.request import BODILESS, header_problem, taken, url_problem
from outlast.model.agent import ENVIRONMENT_PROXY, HttpCall
from outlast.model.provider import proxy_problem

_METHODS: Final = ("GET", "POST", "PUT", "PATCH", "DELETE")
_SENT: Final = ("user", "metadata", "session")
_OPERATORS_VARIABLE: Final = (
    "a variable of the server's environment is for the operator's own agents file"
)
_Problem: TypeAlias = tuple[tuple[str | int, ...], str]


def http_problems(http: HttpCall, parameters: dict[str, Any]) -> Iterator[_Problem]:
    """Yield everything that is wrong with the request of a tool with this schema of arguments."""
    if problem := url_problem(http.url) or _brace_problem(http.url):
        yield ("url",), problem
    for name, value in http.headers.items():
        if problem := header_problem(name, value):
            yield ("headers", name), problem
    if http.method not in _METHODS:
        yield ("method",), f"one of {', '.join(_METHODS)}"
    if http.proxy not in {None, ENVIRONMENT_PROXY}:
        yield from ((("proxy",), problem) for problem in _proxy_problems(http.proxy))
    if not 0 < http.timeout < inf:
        yield ("timeout",), "seconds greater than 0"
    if http.retries < 0:
        yield ("retries",), "a number of 0 or more"
    if http.max_result_bytes <= 0:
        yield ("max_result_bytes",), "bytes greater than 0"
    for index, what in enumerate(http.send):
        if what not in _SENT:
            yield ("send", index), f"one of {', '.join(_SENT)}"
    shapes = [*_shape("query", http.query), *_body_shape(http)]
    yield from shapes
    if not shapes:
        yield from _names(http, parameters)


def variable_problems(http: HttpCall) -> Iterator[_Problem]:
    """Yield every `${NAME}`, proxy and file of a request, at the path of its key."""
    for key in ("proxy", "ca_file"):
        if getattr(http, key) is not None:
            yield (key,), "is for the operator's own agents file"
    places = {"url": http.url, "query": http.query, "body": http.body}
    for key, value in places.items():
        if VARIABLE.search(repr(value)):
            yield (key,), _OPERATORS_VARIABLE
    for name, value in http.headers.items():
        if VARIABLE.search(value):
            yield ("headers", name), _OPERATORS_VARIABLE


def _proxy_problems(proxy: str) -> Iterator[str]:
    if problem := proxy_problem(proxy):
        yield f"{problem}, true for the environment's"
    elif VARIABLE.sub("", Url(proxy).login).strip(":@"):
        yield "a user and a password here would be stored in clear; write them as ${NAME}"


def _brace_problem(url: str) -> str | None:
    if "{" in ARGUMENT.sub("", VARIABLE.sub("", url)):
        return "a { that names no parameter is written %7B"
    return None


def _body_shape(http: HttpCall) -> Iterator[_Problem]:
    if http.body is None or http.body is False:
        return
    if http.method in BODILESS:
        yield ("body",), f"{http.method} has no body; write query"
        return
    yield from _shape("body", http.body)


def _shape(key: str, value: Any) -> Iterator[_Problem]:
    match value:
        case None:
            return
        case Mapping() if value and all(isinstance(name, str) for name in value):
            yield from _texts((key,), value)
        case list() | tuple() if value and all(isinstance(name, str) for name in value):
            return
        case _:
            yield (key,), "a list of arguments' names, or a mapping of names to values"


def _texts(path: tuple[str | int, ...], value: Any) -> Iterator[_Problem]:
    """Yield misspelt variables, which would be sent literally."""
    if isinstance(value, str):
        if "${" in VARIABLE.sub("", value):
            yield path, "a variable is written ${NAME}, of letters, digits and _"
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _texts((*path, str(key)), item)
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from _texts((*path, index), item)


def _names(http: HttpCall, parameters: dict[str, Any]) -> Iterator[_Problem]:
    """Yield names that are no parameters, and parameters that are not used."""
    known = parameters.get("properties")
    known = known if isinstance(known, dict) else {}
    places = {"url": http.url, "query": http.query, "body": http.body}
    for key, value in places.items():
        for name in dict.fromkeys(_named(value)):
            if name not in known:
                there = ", ".join(known) or "none"
                yield (key,), f"there is no parameter {name!r}; the parameters: {there}"
    for name in argument_names(Url(http.url).path):
        kind = known.get(name)
        if isinstance(kind, dict) and kind.get("type") in ("array", "object"):
            yield ("url",), f"the parameter {name!r} is an {kind['type']} and cannot be in a path"
    rest = http.query if http.method in BODILESS else http.body
    if rest is not None:
        used = {*taken(http), *_named(http.body)}
        for name in known:
            if name not in used:
                yield (), f"the parameter {name!r} is in neither the URL, the query nor the body"


def _named(value: Any) -> list[str]:
    if isinstance(value, list | tuple):
        return [str(name) for name in value]
    return list(argument_names(value))
