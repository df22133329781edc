"""The prefix of the server's paths, behind a proxy that serves it below a path, or in an app.

`X-Forwarded-Prefix` of a trusted proxy, else the setting `root_path`, is the prefix of every path
seen from outside. It is added to ASGI's `root_path`, which links and documents use; the proxy may
have stripped it from the path or not.
"""

import re
from collections.abc import Iterable
from functools import lru_cache
from ipaddress import ip_address, ip_network
from typing import Final

from starlette.types import Scope

X_FORWARDED_PREFIX: Final = b"x-forwarded-prefix"
_PREFIX: Final = re.compile(r"(/[A-Za-z0-9._~-]+)+")
_ANY: Final = "*"


class Prefixes:
    """Puts the external prefix of a request into its scope."""

    def __init__(self, own: str, trusted: Iterable[str], served: Iterable[str]) -> None:
        """`own` is the setting, `trusted` are proxies, `served` are prefixes of our paths."""
        names = tuple(trusted)
        self.own = own
        self._any = _ANY in names
        self._networks = tuple(ip_network(name, strict=False) for name in names if name != _ANY)
        self._served = tuple(served)
        self._trusts = lru_cache(maxsize=1000)(self._is_trusted)

    def place(self, scope: Scope, sent: bytes | None) -> None:
        """Set the prefix in the request's scope; `sent` is the header's value."""
        prefix = self.own
        if sent is not None and self._trusts(_address(scope)):
            given = sent.decode("latin-1").rstrip("/")
            prefix = given if not given or _PREFIX.fullmatch(given) else prefix
        if not prefix:
            return
        scope["root_path"] = prefix + scope.get("root_path", "")
        if not self._is_left_on(prefix, scope["path"]):
            scope["path"] = prefix + scope["path"]
        elif scope["path"] == prefix:
            scope["path"] += "/"

    def path_of(self, scope: Scope) -> str:
        """Return the request's path without its prefix; the scope stays unchanged."""
        placed = dict(scope)
        sent = next((value for name, value in scope["headers"] if name == X_FORWARDED_PREFIX), None)
        self.place(placed, sent)
        return route_path(placed)

    def _is_left_on(self, prefix: str, path: str) -> bool:
        """Whether the proxy has left the prefix on the path; if our paths begin so, it has not."""
        own = any(_below(known, prefix) for known in self._served)
        return not own and _below(path, prefix)

    def _is_trusted(self, address: str) -> bool:
        if self._any:
            return True
        try:
            parsed = ip_address(address)
        except ValueError:
            return False
        return any(parsed in known for known in self._networks)


NO_PREFIX: Final = Prefixes("", (), ())
"""Trusts no proxy."""


def route_path(scope: Scope) -> str:
    """Return the request's path without the prefix."""
    path: str = scope["path"]
    root: str = scope.get("root_path", "")
    return path[len(root) :] if root and _below(path, root) else path


def _below(path: str, prefix: str) -> bool:
    return path == prefix or path.startswith(prefix + "/")


def _address(scope: Scope) -> str:
    client = scope.get("client")
    return "" if client is None else str(client[0])
