"""Checks of the machine that a server runs on: its data folder, its key file, its environment."""

import shutil
import stat
import tempfile
from collections.abc import Iterator
from typing import Final

from outlast.services.findings import Finding, Level
from outlast.settings import Settings, unknown_variables

_MEGABYTE: Final = 1_000_000
_LITTLE: Final = 1000 * _MEGABYTE
_TOO_LITTLE: Final = 100 * _MEGABYTE


def machine_findings(settings: Settings) -> list[Finding]:
    """Return all findings; it reads and writes files."""
    return [*data_findings(settings), *environment_findings()]


def data_findings(settings: Settings) -> Iterator[Finding]:
    """Yield the findings of the data folder and the key file."""
    yield from _data_folder(settings)
    yield _key_file(settings)


def environment_findings() -> Iterator[Finding]:
    """Yield a finding for each variable that looks like a setting and is none."""
    for text in check_environment():
        yield Finding("environment", Level.WARN, text, "unset it, or write the setting's own name")


def check_environment() -> list[str]:
    """Return what is wrong with the environment, a sentence each."""
    return [
        f"{name} is not a setting" + (f"; did you mean {near}?" if near else "")
        for name, near in unknown_variables().items()
    ]


def _data_folder(settings: Settings) -> Iterator[Finding]:
    folder = settings.data_dir
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        remedy = "outlast doctor --data-dir FOLDER, with a folder that this user may write"
        yield Finding("data folder", Level.FAIL, f"{folder}: {error.strerror or error}", remedy)
        return
    yield Finding("data folder", Level.OK, f"{folder} can be written")
    free = shutil.disk_usage(folder).free
    text = f"{free // _MEGABYTE:,} MB free"
    if free >= _LITTLE:
        yield Finding("disk", Level.OK, text)
    else:
        level = Level.WARN if free >= _TOO_LITTLE else Level.FAIL
        yield Finding("disk", level, text, f"free space on the disk of {folder}")


def _key_file(settings: Settings) -> Finding:
    file = settings.key_file
    if settings.api_key:
        return Finding("key", Level.OK, "OUTLAST_API_KEY is set")
    try:
        mode = stat.S_IMODE(file.stat().st_mode)
    except OSError:
        return Finding("key", Level.OK, "none yet; the first start creates one")
    if mode & 0o077:
        text = f"other users can read {file} (mode {mode:04o})"
        return Finding("key", Level.WARN, text, f"chmod 600 {file}")
    return Finding("key", Level.OK, f"kept in {file}")
