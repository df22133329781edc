"""The limit of open files: raised to the hard limit, and divided between clients and the rest."""

import resource
from contextlib import suppress
from typing import Final

import structlog

from outlast.http.connections import RESERVE
from outlast.settings import Settings

_MOST_FILES: Final = 1 << 20
"""More is of no use, and some systems refuse an unlimited value."""
LOW: Final = 4096
_OWN: Final = 64
"""Files of the database, the logs, libraries."""
_MOST_CONNECTIONS: Final = 16_384
"""More would need more memory than is usual for a server."""
_FEWEST_CONNECTIONS: Final = 16

logger = structlog.get_logger(__name__)


def raise_limit() -> None:
    """Raise the soft limit of open files to the hard one; warn if that is low."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = _bounded(hard)
    if _bounded(soft) < most:
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    if (limit := files()) < LOW:
        logger.warning(
            "files.limit_is_low",
            limit=limit,
            remedy="raise the limit of open files: ulimit -n 65536; systemd: LimitNOFILE=65536",
        )


def files() -> int:
    """Return how many files this process may have open."""
    return _bounded(resource.getrlimit(resource.RLIMIT_NOFILE)[0])


def _bounded(limit: int) -> int:
    return _MOST_FILES if limit == resource.RLIM_INFINITY else min(limit, _MOST_FILES)


def connections_of(settings: Settings, limit: int) -> int:
    """Return how many client connections there may be with this limit of open files."""
    outgoing = min(settings.concurrency, limit // 3)  # to models and tools
    spare = limit - _OWN - settings.database_connections - outgoing - RESERVE
    room = max(_FEWEST_CONNECTIONS, min(spare, _MOST_CONNECTIONS))
    if settings.max_connections > max(spare, room):
        logger.warning(
            "connections.more_than_files",
            max_connections=settings.max_connections,
            limit=limit,
            remedy=f"raise the limit of open files, or lower OUTLAST_MAX_CONNECTIONS to {room}",
        )
    return settings.max_connections or room
