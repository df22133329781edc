"""What `outlast demo` does: serve, begin a run or find the one that goes on, show it."""

import os
import shlex
import socket
from contextlib import suppress
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Final

from typer import echo

from outlast.app import Core
from outlast.cli.browser_window import open_link, signed_in_link
from outlast.cli.server import serve
from outlast.cli.state import FirstKey
from outlast.model.error import Misconfigured, StoreLocked
from outlast.model.execution import TERMINAL, Execution
from outlast.model.workspace import Principal
from outlast.services.executions import StartExecution
from outlast.settings import Settings, load
from outlast.store.executions.lists import ExecutionFilter
from outlast.store.page import Page

_LOOPBACK: Final = "127.0.0.1"
_AGENT: Final = "support"
_INPUT: Final = "My order A-1042 arrived broken. Please refund it."
_DRAIN_SECONDS: Final = 0.2
"""Ctrl-C is to interrupt the run, not to wait for its step."""
_WELCOME: Final = """\
{what} Watch it in the console, signed in by this link, which works once:

  {link}

1. While it writes, press Ctrl-C here (or elsewhere: kill -9 {pid}), and run the same command again.
   It goes on where it was; the page connects again by itself.
2. It then waits for your approval: approve the refund on the page, or in another terminal:
   outlast approvals --data-dir {folder}

Then write your own agent:   outlast init
Use a real model:            name it in the agents.yaml that this writes, and set its key
"""
_BYE: Final = "Stopped. Go on where it was, with the same command: outlast demo"


@dataclass(frozen=True, slots=True)
class _Demo:
    """One start of the demo."""

    settings: Settings
    port_file: Path
    opens: bool

    async def begin(self, core: Core, key: FirstKey, url: str) -> None:
        """Start a run, or find the one that an earlier start has left; say where it is."""
        principal = key.principal
        assert principal is not None
        self.port_file.write_text(url.rpartition(":")[2])
        newest = await _newest(core, principal)
        goes_on = newest is not None and newest.status not in TERMINAL
        if newest is None or not goes_on:
            start = StartExecution(_INPUT)
            newest = (await core.services.executions.start(principal, _AGENT, start)).execution
        page = f"/console/executions/{newest.id}"
        link = signed_in_link(core, principal, url, page)
        what = "The run from before goes on." if goes_on else "An agent works."
        folder = shlex.quote(str(self.settings.data_dir))
        echo(_WELCOME.format(what=what, link=link, pid=os.getpid(), folder=folder))
        if self.opens and not goes_on:
            await open_link(link)


def demo(data_dir: Path, port: int, *, opens: bool) -> None:
    """Serve the demo until a signal. Raises Misconfigured, StoreLocked."""
    folder = data_dir / "demo"
    port_file = folder / "port"
    flags = {
        "agents": str(files("outlast.cli.demo") / "agents.yaml"),
        "data_dir": folder,
        "host": _LOOPBACK,
        "port": _port(port_file, port),
        "drain_seconds": _DRAIN_SECONDS,
        "log_level": "error",
    }
    chosen = load(flags, {}, folder)
    try:
        serve(chosen, _say_nothing, then=_Demo(chosen, port_file, opens).begin)
    except StoreLocked as error:
        raise Misconfigured(
            f"The demo runs already, at {_LOOPBACK}:{_kept(port_file)}: stop it by Ctrl-C, or "
            "choose another --data-dir."
        ) from error
    echo(_BYE)


async def _newest(core: Core, principal: Principal) -> Execution | None:
    found, _ = await core.services.lists.page(principal, ExecutionFilter(), Page(1))
    return found[0].execution if found else None


def _port(file: Path, wanted: int) -> int:
    """Return the port of the start before, so that open pages find this one; else a free one."""
    for port in (_kept(file), wanted):
        if port:
            with suppress(OSError), socket.create_server((_LOOPBACK, port)):
                return port
    return 0


def _kept(file: Path) -> int:
    with suppress(OSError, ValueError):
        return int(file.read_text())
    return 0


def _say_nothing(_line: str) -> None:
    """The demo has words of its own."""
