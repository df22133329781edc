"""Which hosts the browser of an agent may reach, by its agents file and the setting."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from outlast.agents.dial import PrivateNetwork

_HOST: Final = re.compile(r"(\*\.)?[a-z0-9_-]+(\.[a-z0-9_-]+)*\.?|\[[0-9a-f:.]+\]")
_PORTS: Final = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Origin:
    """Scheme, host and port of pages; `*.` at its beginning stands for every host below."""

    host: str
    port: int

    @classmethod
    def read(cls, text: str) -> "Origin":
        """Read `https://shop.example`, `http://127.0.0.1:8000`, `https://*.example.com`.

        Raises ValueError, with a text for the operator.
        """
        try:
            parts = urlsplit(text)
            host, port = (parts.hostname or "").lower(), parts.port
        except ValueError:
            host, port, parts = "", None, urlsplit("")
        shown = f"[{host}]" if ":" in host else host
        more = parts.path.strip("/") or parts.query or parts.fragment or "@" in parts.netloc
        if parts.scheme not in _PORTS or more or not _HOST.fullmatch(shown):
            raise ValueError(f"{text[:80]!r} is not an origin such as https://shop.example")
        return cls(host.rstrip("."), port or _PORTS[parts.scheme])

    def matches(self, host: str, port: int) -> bool:
        """Whether this is the origin's host and port."""
        if port != self.port:
            return False
        if self.host.startswith("*."):
            return host.endswith(self.host[1:])
        return host == self.host


@dataclass(frozen=True, slots=True)
class Reach:
    """What one agent's browser may reach."""

    allow: tuple[Origin, ...] = ()
    """Only these, and `private`; empty: every public address."""
    private: tuple[Origin, ...] = ()
    """Origins that may be on private and loopback addresses."""
    setting: PrivateNetwork = PrivateNetwork.OPERATOR

    @classmethod
    def of(cls, allow: Iterable[str], private: Iterable[str], setting: PrivateNetwork) -> "Reach":
        """Return the reach of these origins, which were checked with the agent."""
        return cls(tuple(map(Origin.read, allow)), tuple(map(Origin.read, private)), setting)

    def refusal(self, host: str, port: int) -> str | None:
        """Return why no page of this host and port is loaded, whatever its address; or None."""
        host = host.lower().rstrip(".")
        if not self.allow or any(o.matches(host, port) for o in (*self.allow, *self.private)):
            return None
        return "it is not one of the agent's origins"

    def may_be_private(self, host: str, port: int) -> bool:
        """Whether its address may be a private or loopback one."""
        match self.setting:
            case PrivateNetwork.DENY:
                return False
            case PrivateNetwork.ALLOW:
                return True
            case PrivateNetwork.OPERATOR:
                host = host.lower().rstrip(".")
                return any(origin.matches(host, port) for origin in self.private)
