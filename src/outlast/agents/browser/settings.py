"""What the operator sets for the browser, and where Chrome or Chromium is found."""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from outlast.agents.dial import PrivateNetwork

COMMANDS: Final = (
    "chromium",
    "chromium-browser",
    "google-chrome-stable",
    "google-chrome",
    "chrome",
    "chromium-headless-shell",
)
"""Looked for in the search path, in this order.

The shell is last: half the memory, but it shows no PDF, and lacks what sites expect of a browser.
"""
_PLACES: Final = (
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
)


@dataclass(frozen=True, slots=True)
class BrowserSettings:
    """Settings of the browser."""

    path: str = ""
    """The executable; empty: the first that is found."""
    contexts: int = 4
    """Executions that may have a browser at the same time."""
    idle_seconds: float = 60.0
    """How long Chromium is kept without one."""
    sandbox: bool = True
    """Whether Chromium's own sandbox is used; never as root, where it does not work."""
    private_network: PrivateNetwork = PrivateNetwork.OPERATOR


DEFAULTS: Final = BrowserSettings()


def find_browser(path: str) -> str | None:
    """Return the executable that is set, or the first that is found; None if there is none."""
    if path:
        return path if os.access(path, os.X_OK) and Path(path).is_file() else None
    for command in COMMANDS:
        if (found := shutil.which(command)) is not None:
            return found
    return next((place for place in _PLACES if Path(place).is_file()), None)
