"""Notices changed files beside the agents file, for `outlast serve --reload`.

It compares times and sizes at an interval: a project's folder has few files, and nothing has to be
installed for it. Packages, hidden folders and the server's own data are left out.
"""

import asyncio
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

import structlog

from outlast.app import Core
from outlast.duty import Duty

LOOK_SECONDS: Final = 0.5
_SUFFIXES: Final = frozenset({".py", ".yaml", ".yml", ".json"})
_FOREIGN: Final = frozenset({"node_modules", "site-packages", "__pycache__", "venv"})
_MOST: Final = 5000
"""Files that are compared; a folder with more is not a project's."""

logger = structlog.get_logger(__name__)


class FileWatch:
    """The files of a folder, as last seen."""

    def __init__(self, folder: Path, without: Path, changed: Callable[[], None]) -> None:
        """`without` is a folder that is left out; `changed` is called after each change."""
        self._folder = folder
        self._without = without.resolve()
        self._changed = changed
        self._seen = self._look()

    async def compare(self) -> None:
        """Call `changed` if a file was written, added or removed since the last comparison."""
        found = await asyncio.to_thread(self._look)
        if found != self._seen:
            self._seen = found
            self._changed()

    def _look(self) -> dict[str, tuple[int, int]]:
        found = {}
        for number, path in enumerate(self._files()):
            if number == _MOST:
                break
            with suppress(OSError):  # it may go away while it is looked at
                state = path.stat()
                found[str(path)] = (state.st_mtime_ns, state.st_size)
        return found

    def _files(self) -> Iterator[Path]:
        for place, folders, names in os.walk(self._folder):
            here = Path(place)
            folders[:] = [name for name in folders if self._is_own(here / name)]
            yield from (here / name for name in sorted(names) if Path(name).suffix in _SUFFIXES)

    def _is_own(self, folder: Path) -> bool:
        name = folder.name
        return not (name.startswith(".") or name in _FOREIGN or folder.resolve() == self._without)


def watching(core: Core, changed: Callable[[], None]) -> Duty:
    """Start to watch the folder of the agents file, or of the module that is one."""
    file = Path(core.settings.agents)
    folder = file.parent.resolve() if file.suffix else Path.cwd()
    watch = FileWatch(folder, core.settings.data_dir, changed)
    duty = Duty(
        "watch_files",
        watch.compare,
        every=LOOK_SECONDS,
        sleep=core.clock.sleep,
        failures=core.metrics.failures,
    )
    duty.start()
    return duty
