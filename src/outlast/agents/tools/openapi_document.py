"""An OpenAPI document: read from a file or a URL, with its references and servers.

Format: https://spec.openapis.org/oas/v3.1.0 and https://spec.openapis.org/oas/v3.0.3.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote, urljoin, urlsplit

from outlast.agents.yaml_text import read_json, read_yaml
from outlast.model.error import Misconfigured
from outlast.model.whole_number import number_of

METHODS: Final = ("get", "put", "post", "delete", "head", "patch")
"""Methods of operations that can be tools; OPTIONS and TRACE cannot."""
_LARGEST: Final = 16 * 1024 * 1024
_FETCH_SECONDS: Final = 30.0
_REFERENCES: Final = 16
"""How many references may follow each other; more is a circle."""
_TEMPLATED: Final = re.compile(r"\{([^{}]+)\}")


@dataclass(frozen=True, slots=True)
class OpenApiDocument:
    """A parsed document, and where it came from."""

    value: Mapping[str, Any]
    source: str
    """Its path or URL."""

    @property
    def is_3_0(self) -> bool:
        """Whether its schemas are those of OpenAPI 3.0, which are not quite JSON Schema."""
        return str(self.value.get("openapi", "")).startswith("3.0")

    def operations(self) -> Iterator["Operation"]:
        """Yield the document's operations in their order. Raises Misconfigured."""
        paths = self.value.get("paths")
        for path, item in paths.items() if isinstance(paths, Mapping) else ():
            found = self.resolved(item)
            for method in METHODS:
                if isinstance(operation := found.get(method), Mapping):
                    yield Operation(self, str(path), method, found, operation)

    def resolved(self, value: Any) -> Mapping[str, Any]:
        """Return a mapping itself, or the one that it refers to. Raises Misconfigured."""
        for _ in range(_REFERENCES):
            if not isinstance(value, Mapping):
                break
            if not isinstance(reference := value.get("$ref"), str):
                return value
            value = self.at(reference)
        raise Misconfigured(f"{self.source}: a mapping is expected, not {str(value)[:80]}")

    def at(self, reference: str) -> Any:
        """Return what a reference names in this document (RFC 6901). Raises Misconfigured."""
        if not reference.startswith("#"):
            where = f"{self.source}: {reference[:200]} is in another document"
            raise Misconfigured(f"{where}; bundle them into one, then name that")
        if not reference.startswith("#/"):
            raise Misconfigured(f"{self.source}: {reference[:200]} is no place in the document")
        value: Any = self.value
        for part in unquote(reference[1:]).split("/")[1:]:
            key = part.replace("~1", "/").replace("~0", "~")
            if isinstance(value, Mapping) and key in value:
                value = value[key]
                continue
            place = number_of(key)
            if place is None or not isinstance(value, list) or place >= len(value):
                raise Misconfigured(f"{self.source}: there is no {reference[:200]}")
            value = value[place]
        return value


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of one path."""

    document: OpenApiDocument
    path: str
    method: str
    item: Mapping[str, Any]
    """What all operations of the path share."""
    value: Mapping[str, Any]

    @property
    def shown(self) -> str:
        """The operation for errors: its id, or method and path."""
        return self.given_id or f"{self.method.upper()} {self.path}"

    @property
    def given_id(self) -> str:
        """The `operationId`; empty if it has none."""
        found = self.value.get("operationId")
        return found if isinstance(found, str) else ""

    @property
    def tags(self) -> list[str]:
        """The tags; empty if it has none."""
        found = self.value.get("tags")
        return [str(tag) for tag in found] if isinstance(found, list) else []

    def base(self) -> str:
        """Return the URL of the first server, with the defaults of its variables.

        A relative one is resolved against the document's URL. Raises Misconfigured if there is none
        to call.
        """
        for holder in (self.value, self.item, self.document.value):
            servers = holder.get("servers")
            if isinstance(servers, list) and servers and isinstance(servers[0], Mapping):
                return self._server(servers[0])
        return self._server({"url": "/"})  # OpenAPI 3.1, 4.8.1.1: the default

    def _server(self, server: Mapping[str, Any]) -> str:
        variables = server.get("variables")
        known = variables if isinstance(variables, Mapping) else {}

        def default(found: re.Match[str]) -> str:
            variable = known.get(found[1])
            return str(variable.get("default", "")) if isinstance(variable, Mapping) else found[0]

        url = _TEMPLATED.sub(default, str(server.get("url", "")))
        source = self.document.source
        if not urlsplit(url).scheme and urlsplit(source).scheme in {"http", "https"}:
            url = urljoin(source, url)
        if urlsplit(url).scheme not in {"http", "https"} or "$" in url or "{" in url:
            raise Misconfigured(
                f"{source}: {self.shown} has no server that can be called ({url[:200] or 'none'}); "
                "write its URL as base"
            )
        return url


def read_document(source: str, folder: Path) -> OpenApiDocument:
    """Read a document in JSON or YAML, from a URL or from a file relative to a folder.

    Raises Misconfigured.
    """
    is_url = urlsplit(source).scheme in {"http", "https"}
    text = _fetched(source) if is_url else _read(folder / source)
    shown = source if is_url else str(folder / source)
    read = read_json if text.lstrip().startswith("{") else read_yaml
    value = read(text, shown).value
    if not isinstance(value, Mapping):
        raise Misconfigured(f"{shown}: this is not an OpenAPI document")
    version = str(value.get("openapi", ""))
    if not version.startswith(("3.0", "3.1", "3.2")):
        found = value.get("swagger", version) or "none"
        raise Misconfigured(
            f"{shown}: OpenAPI 3.0 to 3.2 is read, and this is version {str(found)[:20]}; "
            "convert it, for example with editor.swagger.io"
        )
    return OpenApiDocument(value, shown)


def _read(file: Path) -> str:
    try:
        return file.read_text("utf-8")
    except FileNotFoundError as error:
        raise Misconfigured(f"{file}: there is no such file") from error
    except (OSError, UnicodeDecodeError) as error:
        raise Misconfigured(f"{file}: cannot be read: {error}") from error


def _fetched(url: str) -> str:
    """Return the text at a URL; redirects are not followed. Raises Misconfigured."""
    from http.client import HTTPException
    from urllib.error import HTTPError
    from urllib.request import HTTPRedirectHandler, Request, build_opener

    class Stay(HTTPRedirectHandler):
        def redirect_request(self, *_: Any) -> None:
            return None

    accept = {"accept": "application/json, application/yaml, */*", "user-agent": "outlast"}
    request = Request(url, headers=accept)  # noqa: S310 - the scheme is http or https
    try:
        with build_opener(Stay).open(request, timeout=_FETCH_SECONDS) as found:
            body: bytes = found.read(_LARGEST + 1)
    except HTTPError as error:
        to = error.headers.get("location")
        more = f" and names {to[:200]}" if to else ""
        raise Misconfigured(f"{url}: the server answered {error.code}{more}") from error
    except (OSError, HTTPException, ValueError) as error:
        reason = f"{url}: cannot be fetched: {error}"
        raise Misconfigured(f"{reason}; or save it and name it as file") from error
    if len(body) > _LARGEST:
        raise Misconfigured(f"{url}: the document is larger than {_LARGEST} bytes")
    return body.decode("utf-8", "replace")
