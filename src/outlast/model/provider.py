"""Providers of models configured by the operator: their URLs and the data of each request.

`[providers.NAME]` of `outlast.toml` and `providers: {NAME: …}` of an agents file have the same
keys; `model: NAME:MODEL` uses one.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from types import MappingProxyType
from typing import Any, Final
from urllib.parse import SplitResult, urlsplit

from outlast.model.error import Misconfigured
from outlast.model.explain import given_kind

OPENAI_CHAT: Final = "openai-chat"
_RESERVED: Final = frozenset({"local", "scripted", "test"})
"""Kinds without a network address; no provider may have their names."""
_OURS: Final = frozenset({"model", "messages", "stream"})
"""Keys of a request that the operator cannot set."""
_HEADER: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
"""A field's name, RFC 9110, 5.6.2."""

Problems = list[tuple[tuple[str | int, ...], str]]
"""(path of keys, what is wrong)."""


@dataclass(frozen=True, slots=True)
class ProviderSpec:
    """One provider; texts may hold `${NAME}`, filled in from the environment when it is used."""

    name: str
    kind: str = OPENAI_CHAT
    """openai-chat, or a provider of pydantic-ai."""
    base_url: str | None = None
    api_key: str | None = field(default=None, repr=False)
    headers: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}), repr=False)
    extra_body: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}), repr=False)
    """Extra fields of each request's body; null removes a key of ours."""
    proxy: str | None = None
    """`http://…`, or empty for none; None: the environment's."""
    ca_file: str | None = None
    """PEM file of certificate authorities trusted besides the machine's."""
    timeout: float | None = None
    """Seconds of silence after which a request has failed; None: 300."""
    hidden: tuple[str, ...] = field(default=(), repr=False)
    """Values of `extra_body` that no error may show, once its variables are filled in."""


def read_providers(table: Any) -> dict[str, ProviderSpec]:
    """Read `{NAME: {kind?, baseUrl?, apiKey?, headers?, …}}`. Raises Misconfigured, naming all."""
    specs, problems = checked_providers(table)
    if problems:
        lines = (f"{'.'.join(map(str, ('providers', *path)))}: {text}" for path, text in problems)
        raise Misconfigured("\n".join(lines))
    return specs


def checked_providers(table: Any) -> tuple[dict[str, ProviderSpec], Problems]:
    """Return the valid providers, and what is wrong with the others."""
    if not isinstance(table, Mapping):
        return {}, [((), f"must be a table of providers, not {given_kind(table)}")]
    specs: dict[str, ProviderSpec] = {}
    problems: Problems = []
    for name, entry in table.items():
        found = [((name, *path), text) for path, text in _problems(name, entry)]
        problems += found
        if not found:
            specs[name] = _spec(name, entry)
    return specs, problems


def _spec(name: str, entry: Mapping[str, Any]) -> ProviderSpec:
    proxy = entry.get("proxy")
    return ProviderSpec(
        name,
        entry.get("kind", OPENAI_CHAT),
        entry.get("baseUrl"),
        entry.get("apiKey"),
        dict(entry.get("headers", {})),
        _plain(entry.get("extraBody", {})),
        "" if proxy is False else proxy,
        entry.get("caFile"),
        None if entry.get("timeout") is None else float(entry["timeout"]),
    )


def _plain(value: Any) -> Any:
    """Return the value with JSON's numbers; TOML's are read as decimals."""
    match value:
        case Mapping():
            return {key: _plain(one) for key, one in value.items()}
        case list():
            return [_plain(one) for one in value]
        case Decimal():
            return float(value)
        case _:
            return value


def filled_problems(spec: ProviderSpec) -> Problems:
    """Return what is wrong with a provider whose variables are filled in; it shows no value."""
    values = {
        "baseUrl": spec.base_url,
        "apiKey": spec.api_key,
        "headers": spec.headers,
        "proxy": spec.proxy or None,
        "caFile": spec.ca_file,
    }
    found = ((key, _KEYS[key](value)) for key, value in values.items() if value is not None)
    return [((key,), problem) for key, problem in found if problem is not None]


def http_url(url: str) -> SplitResult | None:
    """Return the parts of an http:// or https:// URL; None if it is none."""
    try:
        parts = urlsplit(url)
        right = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    except ValueError:  # an IPv6 address or a port that cannot be
        return None
    return parts if right and url.isprintable() and " " not in url else None


def _problems(name: Any, entry: Any) -> Iterator[tuple[tuple[str | int, ...], str]]:
    if not isinstance(name, str) or not name or {*":/"} & {*name} or name.strip() != name:
        yield (), "a provider's name is text without colons, slashes and blanks at its ends"
    if name in _RESERVED:
        yield (), f"{name}: is a kind of model that runs here; give the provider another name"
    if not isinstance(entry, Mapping):
        yield (), f"must be a table of keys, not {given_kind(entry)}"
        return
    for key, value in entry.items():
        if key not in _KEYS:
            yield (key,), f"unknown key; known keys: {', '.join(_KEYS)}"
        elif (problem := _KEYS[key](value)) is not None:
            yield (key,), problem
    kind = entry.get("kind", OPENAI_CHAT)
    if kind == OPENAI_CHAT and "baseUrl" not in entry and name != OPENAI_CHAT:
        yield (), "the key baseUrl is missing, as https://host/v1"


def _text(value: Any) -> str | None:
    if not isinstance(value, str) or not value.strip():
        return f"must be text that is not empty, not {given_kind(value)}"
    return None


def _line(value: Any) -> str | None:
    if (problem := _text(value)) is not None:
        return problem
    return None if value.isascii() and value.isprintable() else "must be printable ASCII"


def _kind(value: Any) -> str | None:
    if (problem := _text(value)) is not None:
        return problem
    if value in _RESERVED:
        return f"{value} runs here, at no provider; write the model as {value}:NAME"
    return None if ":" not in value else "a kind has no colon; the model's name follows in `model`"


def _file(value: Any) -> str | None:
    if (problem := _text(value)) is not None:
        return problem
    return None if value.isprintable() else "must be the path of a file, on one line"


def _url(value: Any) -> str | None:
    if (problem := _text(value)) is not None:
        return problem
    if "${" in value:
        return None
    parts = http_url(value)
    right = parts is not None and not parts.query and not parts.fragment
    return None if right else "must be a URL like https://host/v1"


def proxy_problem(value: Any) -> str | None:
    """Return why a value is no proxy's URL; None if it is one, or false."""
    if value is False:
        return None
    if (problem := _text(value)) is not None:
        return f"{problem}; false is for none"
    right = "${" in value or http_url(value) is not None
    return None if right else "must be a URL like http://host:3128; false is for none"


def _headers(value: Any) -> str | None:
    if not isinstance(value, Mapping):
        return f"must be a table of names and texts, not {given_kind(value)}"
    for name, text in value.items():
        if not isinstance(name, str) or not _HEADER.fullmatch(name):
            return f"{name!r} is not the name of a header"
        if not isinstance(text, str):
            return f"{name}: must be text on one line, not {given_kind(text)}"
        if not text.isascii() or not text.isprintable():
            return f"{name}: must be printable ASCII on one line"
    return None


def _extra(value: Any) -> str | None:
    if not isinstance(value, Mapping):
        return f"must be a table, not {given_kind(value)}"
    if reserved := sorted(_OURS & set(value)):
        return f"{reserved[0]}: is written by Outlast; remove it"
    import orjson

    try:
        orjson.dumps(_plain(value), option=orjson.OPT_PASSTHROUGH_DATETIME)
    except TypeError as error:
        return f"must be JSON: {error}"
    return None


def _seconds(value: Any) -> str | None:
    number = isinstance(value, int | float | Decimal) and not isinstance(value, bool)
    if isinstance(value, Decimal) and value.is_nan():
        number = False  # it compares with nothing
    if not number or not 0 < value < 1e6:  # noqa: PLR2004 - no time limit is longer
        return "must be a number of seconds above 0"
    return None


_KEYS: Final[dict[str, Any]] = {
    "kind": _kind,
    "baseUrl": _url,
    "apiKey": _line,
    "headers": _headers,
    "extraBody": _extra,
    "proxy": proxy_problem,
    "caFile": _file,
    "timeout": _seconds,
}
"""Keys of a provider, with checks of their values: None if valid."""
