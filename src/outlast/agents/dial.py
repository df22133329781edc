"""Which addresses may be dialled: decided for each address, after DNS, as its socket is made."""

import socket
from collections.abc import Callable
from enum import StrEnum
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import TYPE_CHECKING, Final

from outlast.agents.outgoing import IDLE_SECONDS

if TYPE_CHECKING:
    import aiohttp
    from aiohttp.connector import AddrInfoType

_NAT64: Final = ip_network("64:ff9b::/96")
"""RFC 6052: the last 32 bits are an IPv4 address."""
_METADATA: Final = frozenset(map(ip_address, ("fd00:ec2::254", "100.100.100.200")))
"""Metadata services of clouds outside the link-local networks (AWS, Alibaba)."""


class PrivateNetwork(StrEnum):
    """Who may name private and loopback addresses."""

    OPERATOR = "operator"
    """The operator's agents file alone."""
    ALLOW = "allow"
    """A model too."""
    DENY = "deny"


class AddressRefused(OSError):
    """An address may not be dialled."""


def refusal(address: str, *, private: bool) -> str | None:
    """Return why an IP address may not be dialled; None if it may be.

    Link-local and metadata addresses never; private ones, loopback among them, if `private`.
    """
    found = _plain(ip_address(address.partition("%")[0]))
    if found.is_link_local or found in _METADATA:
        return "link-local and metadata addresses are never called"
    own = found.is_loopback or found.is_unspecified  # an unspecified one reaches this machine
    if found.is_multicast or (found.is_reserved and not own):
        return "multicast and reserved addresses are never called"
    if not private and not found.is_global:
        return "private and loopback addresses are not called (OUTLAST_PRIVATE_NETWORK)"
    return None


def guarded(*, private: bool) -> "Callable[[], aiohttp.BaseConnector]":
    """Return a factory of connectors that refuse addresses with AddressRefused."""

    def connector() -> "aiohttp.BaseConnector":
        import aiohttp

        def made(found: "AddrInfoType") -> socket.socket:
            family, kind, protocol, _, place = found
            if reason := refusal(str(place[0]), private=private):
                raise AddressRefused(reason)
            return socket.socket(family, kind, protocol)

        return aiohttp.TCPConnector(limit=0, keepalive_timeout=IDLE_SECONDS, socket_factory=made)

    return connector


def _plain(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """Return the IPv4 address that an IPv6 address stands for, or the address itself."""
    if isinstance(address, IPv4Address):
        return address
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    teredo = address.teredo
    return address.ipv4_mapped or address.sixtofour or (teredo[1] if teredo else address)
