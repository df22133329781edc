"""Where a server listens: kept in its data folder, for commands on the same machine."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

from outlast.settings import Settings

_FILE: Final = "address"
_ANY: Final = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # noqa: S104 - not to listen on


def url_at(host: str, port: int) -> str:
    """Return the URL of a server on this machine; one that listens on all addresses is local."""
    host = _ANY.get(host, host)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def url_of(settings: Settings) -> str:
    """Return the URL of the server of these settings, on this machine.

    Where they name no port, it is the one that the data folder's server listens on.
    """
    usual = Settings()
    named = (settings.host, settings.port) != (usual.host, usual.port) and settings.port
    return (not named and _kept(settings)) or url_at(settings.host, settings.port)


@contextmanager
def kept_address(settings: Settings, host: str, port: int) -> Iterator[None]:
    """Keep the server's URL in the data folder while it runs; not where the disk is full."""
    file, url = settings.data_dir / _FILE, url_at(host, port)
    with suppress(OSError):
        file.write_text(url)
    try:
        yield
    finally:
        if _kept(settings) == url:  # else another one has started, on Postgres
            with suppress(OSError):
                file.unlink()


def _kept(settings: Settings) -> str:
    """Return the URL of the server that runs, or was killed; empty if there is none."""
    try:
        return (settings.data_dir / _FILE).read_text().strip()
    except (OSError, UnicodeDecodeError):
        return ""
