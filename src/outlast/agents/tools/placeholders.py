"""Texts of an HTTP tool's request: `{name}` is an argument, `${NAME}` comes from the environment.

Arguments come from the model, so they are encoded for their position and never become part of the
host; variables come from the operator. Both are filled in when the tool is called.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final
from urllib.parse import quote

import orjson

from outlast.agents.tools.arguments import invalid_arguments
from outlast.model.error import ToolFailed

VARIABLE: Final = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
ARGUMENT: Final = re.compile(r"(?<!\$)\{(\w[\w.\[\]-]*)\}")
_PATH_SAFE: Final = "/:@!$&'()*+,;=%~"
"""RFC 3986, 3.3: characters allowed in a path; `%` as the value may be encoded already."""
_ABSENT: Final = object()


class Variables:
    """Fills in `${NAME}`, and collects the values that are secrets."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self.secrets: set[str] = set()

    def fill(self, text: str, encode: Callable[[str], str] = str, *, is_secret: bool = True) -> str:
        """Return the text with its variables filled in. Raises ToolFailed naming an unset one."""
        if "${" not in text:
            return text

        def filled(match: re.Match[str]) -> str:
            value = self._environ.get(match[1])
            if value is None:
                raise ToolFailed(
                    f"The environment variable {match[1]}, which this tool needs, is not set."
                )
            value = value.strip()
            if is_secret and value:
                self.secrets.add(value)
            return encode(value)

        return VARIABLE.sub(filled, text)


class Url:
    """A tool's URL in parts: the origin, the path, the query."""

    def __init__(self, template: str) -> None:
        self._whole = template = template.partition("#")[0]
        front, _, self.query = template.partition("?")
        host = front.find("://") + 3 if "://" in front else 0
        slash = front.find("/", host)
        self.prefix, self.path = (front, "") if slash < 0 else (front[:slash], front[slash:])
        login, at, _ = self.prefix[host:].rpartition("@")
        self.login = login + at
        """`user:password@`, or empty."""
        self.shown = self.prefix.replace(self.login, "", 1) + self.path
        """The URL for errors and logs: without login, query and values."""

    def fill(self, arguments: Mapping[str, Any], variables: Variables) -> str:
        """Return the URL to call.

        Raises ToolFailed if an argument is missing or not allowed in a path, or a variable is not
        set. A query parameter whose argument is missing is left out.
        """
        if "{" not in self._whole:
            return self._whole
        scheme, login, host = self.prefix.partition(self.login) if self.login else ("", "", "")
        before = (
            variables.fill(scheme, is_secret=False)
            + variables.fill(login, _encoded)
            + variables.fill(host if self.login else self.prefix, is_secret=False)
        )
        if self.path.startswith("/"):
            before = before.removesuffix("/")
        url = before + self._filled_path(arguments, variables)
        if not self.query:
            return url
        pairs = [pair for pair in self.query.split("&") if not _is_absent(pair, arguments)]
        query = ARGUMENT.sub(lambda found: _encoded(_needed(found[1], arguments)), "&".join(pairs))
        joint = "&" if "?" in url else "?"
        return f"{url}{joint}{variables.fill(query, _encoded)}" if query else url

    def _filled_path(self, arguments: Mapping[str, Any], variables: Variables) -> str:
        """Fill in each segment by itself; an argument cannot make one empty, `.` or `..`."""
        segments = self.path.split("/")
        for index, segment in enumerate(segments):
            # Variables first: an argument that looks like one is no variable.
            known = _with_variables(segment, variables)
            names = ARGUMENT.findall(known)
            if names:
                plain = ARGUMENT.sub(lambda found: _needed(found[1], arguments), known)
                if not plain or not {".", ".."}.isdisjoint(re.split(r"[/\\]", plain)):
                    problem = f"{names[0]}: must not be empty, . or .. in a URL's path"
                    raise ToolFailed(invalid_arguments([problem]))
            segments[index] = ARGUMENT.sub(
                lambda found: _encoded(_needed(found[1], arguments)), known
            )
        return "/".join(segments)


def _is_absent(pair: str, arguments: Mapping[str, Any]) -> bool:
    """Whether a parameter's value is a single argument that is missing."""
    whole = ARGUMENT.fullmatch(pair.partition("=")[2])
    return whole is not None and arguments.get(whole[1]) is None


def _with_variables(segment: str, variables: Variables) -> str:
    """Fill in variables; a value that is a path, such as `/api/v2`, is no secret."""
    before = set(variables.secrets)
    filled = variables.fill(segment, lambda value: quote(value, safe=_PATH_SAFE))
    variables.secrets = before | {value for value in variables.secrets - before if "/" not in value}
    return filled


def fill(template: Any, arguments: Mapping[str, Any], variables: Variables) -> Any:
    """Return a value with its placeholders filled in, at any depth.

    A text that is a single placeholder becomes the argument itself, of any type; if the argument is
    missing, its key or item is left out.
    """
    filled = _filled(template, arguments, variables)
    return None if filled is _ABSENT else filled


def _filled(template: Any, arguments: Mapping[str, Any], variables: Variables) -> Any:
    if isinstance(template, str):
        if whole := ARGUMENT.fullmatch(template):
            return arguments.get(whole[1], _ABSENT)
        parts = ARGUMENT.split(template)
        texts = [
            _needed(part, arguments) if index % 2 else variables.fill(part)
            for index, part in enumerate(parts)
        ]
        return "".join(texts)
    if isinstance(template, Mapping):
        pairs = {key: _filled(value, arguments, variables) for key, value in template.items()}
        return {key: value for key, value in pairs.items() if value is not _ABSENT}
    if isinstance(template, list | tuple):
        items = [_filled(value, arguments, variables) for value in template]
        return [item for item in items if item is not _ABSENT]
    return template


def query_text(parameters: Mapping[str, Any]) -> str:
    """Return parameters as a query: null is left out, and a list's items repeat the name."""
    pairs = [
        (name, item)
        for name, value in parameters.items()
        for item in (value if isinstance(value, list | tuple) else [value])
        if item is not None
    ]
    return "&".join(f"{_encoded(name)}={_encoded(as_text(value))}" for name, value in pairs)


def as_text(value: Any) -> str:
    """Return an argument as text: unchanged, or as JSON."""
    return value if isinstance(value, str) else orjson.dumps(value).decode()


def argument_names(template: Any) -> Iterator[str]:
    """Return the arguments that a value names, at any depth."""
    if isinstance(template, str):
        yield from ARGUMENT.findall(template)
    elif isinstance(template, Mapping):
        for value in template.values():
            yield from argument_names(value)
    elif isinstance(template, list | tuple):
        for value in template:
            yield from argument_names(value)


def _needed(name: str, arguments: Mapping[str, Any]) -> str:
    """Return the argument as text. Raises ToolFailed with a message for the model."""
    value = arguments.get(name)
    if value is None:
        raise ToolFailed(invalid_arguments([f"{name}: needed for this call; give a value"]))
    return as_text(value)


def _encoded(text: str) -> str:
    """Percent-encode all but the unreserved characters of RFC 3986, 2.3."""
    return quote(text, safe="", errors="replace")
