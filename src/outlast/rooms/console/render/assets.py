"""The console's files, read at the first page and kept in memory."""

import gzip
import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

_FOLDER: Final = Path(__file__).parents[1] / "static"
_TYPES: Final = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
_FILES: Final = {
    "console.css": "console.css",
    "console.js": "console.js",
    "keys.js": "keys.js",
    "live.js": "live.js",
    "timeline.js": "timeline.js",
    "icon.svg": "icon.svg",
    "icons.svg": "vendor/icons.svg",
    "htmx.min.js": "vendor/htmx.min.js",
    "hx-sse.min.js": "vendor/hx-sse.min.js",
}
"""Every file that is served, by its name in addresses."""


@dataclass(frozen=True, slots=True)
class Asset:
    """A file."""

    content: bytes
    gzipped: bytes
    media_type: str
    digest: str


@cache
def _read(name: str) -> Asset:
    path = _FOLDER / _FILES[name]
    content = path.read_bytes()
    digest = hashlib.sha256(content).hexdigest()[:16]
    return Asset(content, gzip.compress(content, mtime=0), _TYPES[path.suffix], digest)


def asset(name: str) -> Asset | None:
    """Return a file; None if there is none of this name."""
    return _read(name) if name in _FILES else None


def address(name: str) -> str:
    """Return a file's path below the console. Raises KeyError."""
    return f"/static/{_read(name).digest}/{name}"
