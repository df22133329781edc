"""Encrypts small values with the server's secret, for the server to read again.

The secret is the operator's (`OUTLAST_SECRET_KEY`), else one that the first start generates in the
data folder. Each purpose has a key of its own, derived from it (HKDF, RFC 5869); a sealed value is
a Fernet token. Servers that share a database need the same secret.
"""

import base64
import os
import secrets
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, Final

import orjson

from outlast.model.clock import Clock
from outlast.model.error import Misconfigured

FORWARDED: Final = "forwarded headers"
BROWSER_STATE: Final = "browser state"
TICKET: Final = "stream ticket"
SESSION: Final = "console session"
LINK: Final = "console link"
_SECRET_BYTES: Final = 32


class DecryptionFailed(Exception):
    """The value was not sealed with the server's secret, or too long ago."""


class Seal:
    """Encrypts and decrypts JSON values."""

    def __init__(self, secret: str, file: Path, clock: Clock) -> None:
        """`secret` wins over the file, which is created when first needed."""
        self._secret = secret
        self._file = file
        self._clock = clock
        self._began = clock.now(), clock.monotonic()
        self._key = cache(self._new_key)

    def prepare(self) -> None:
        """Find the secret, or generate it. Raises Misconfigured."""
        self._secret = self._secret or _read(self._file) or _make(self._file)

    def seal(self, purpose: str, value: Any) -> str:
        """Return the encrypted value; only `open` with the same purpose can read it."""
        sealed: bytes = self._key(purpose).encrypt_at_time(orjson.dumps(value), self._seconds())
        return sealed.decode()

    def open(self, purpose: str, sealed: str, seconds: int | None = None) -> Any:
        """Return a value sealed at most this many seconds ago. Raises DecryptionFailed."""
        from cryptography.fernet import InvalidToken

        token = sealed.encode(errors="replace")
        try:
            if seconds is None:
                return orjson.loads(self._key(purpose).decrypt(token))
            found = self._key(purpose).decrypt_at_time(token, seconds, self._seconds())
        except InvalidToken as error:
            raise DecryptionFailed from error
        return orjson.loads(found)

    def _seconds(self) -> int:
        """Return the time by a clock that is never set while the process runs.

        If the machine's clock is set back, sealed values expire neither later nor earlier.
        """
        now, monotonic = self._began
        return now // 1000 + int(self._clock.monotonic() - monotonic)

    def _new_key(self, purpose: str) -> Any:
        from cryptography.fernet import Fernet
        from cryptography.hazmat.primitives.hashes import SHA256
        from cryptography.hazmat.primitives.kdf.hkdf import HKDF

        self.prepare()
        derived = HKDF(SHA256(), _SECRET_BYTES, None, purpose.encode())
        return Fernet(base64.urlsafe_b64encode(derived.derive(self._secret.encode())))


def _read(file: Path) -> str:
    try:
        return file.read_text().strip()
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as error:
        raise Misconfigured(f"The secret in {file} cannot be read: {error}") from error


def _make(file: Path) -> str:
    """Write a new secret for its owner alone; one that another process wrote first wins."""
    scratch = file.with_name(f"{file.name}.{os.getpid()}")
    try:
        with suppress(FileNotFoundError):
            scratch.unlink()
        handle = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w") as writer:
            writer.write(secrets.token_urlsafe(_SECRET_BYTES) + "\n")
        with suppress(FileExistsError):
            file.hardlink_to(scratch)
        scratch.unlink()
    except OSError as error:
        raise Misconfigured(f"The secret cannot be written to {file}: {error}") from error
    return _read(file)
