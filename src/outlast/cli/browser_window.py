"""Links that sign a browser in to the console once, and opening them where there is a browser."""

import asyncio
import os
import sys
from typing import Final
from urllib.parse import urlencode

from typer import echo

from outlast.app import Core
from outlast.cli.state import FirstKey
from outlast.model.workspace import Principal

_CONSOLE: Final = "/console"


def signed_in_link(core: Core, principal: Principal, url: str, page: str = _CONSOLE) -> str:
    """Return a link to a page of the console of this server; it signs in once, as this key."""
    query = {"ticket": core.services.sessions.link(principal).secret, "next": page}
    return f"{url}{core.settings.root_path.rstrip('/')}{_CONSOLE}/enter?{urlencode(query)}"


async def open_console(core: Core, key: FirstKey, url: str) -> None:
    """Write a link to the console of a server that has started, and open it."""
    if key.principal is None or not core.settings.console:
        return
    link = signed_in_link(core, key.principal, url)
    echo(f"The console, by a link that works once: {link}")
    await open_link(link)


async def open_link(link: str) -> None:
    """Open a link in the user's browser; without one do nothing."""
    if has_browser():
        await asyncio.to_thread(show, link)


def show(link: str) -> bool:
    """Open a link in a browser, and return whether there was one."""
    import webbrowser

    return webbrowser.open(link)


def has_browser() -> bool:
    """Whether a browser opened here is one that the user sees."""
    if os.environ.get("SSH_CONNECTION") or not sys.stdout.isatty():
        return False
    on_unix = sys.platform not in ("darwin", "win32")
    return not on_unix or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
