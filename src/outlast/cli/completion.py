"""What a shell completes: names of agents, ids of executions.

They are those of the running server; without its answer, agents are those of the agents file, if
reading it runs no code. A completion never writes an error: it offers nothing instead.
"""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from outlast.settings import Settings, load

if TYPE_CHECKING:
    from outlast.client import Client

_SECONDS: Final = 2.0
_MOST: Final = 100
_DATA: Final = frozenset({".yaml", ".yml", ".json"})


def agent_names(incomplete: str) -> list[str]:
    """Return the names of agents that begin like this."""
    return _beginning(incomplete, _agents)


def execution_ids(incomplete: str) -> list[str]:
    """Return the ids of the newest executions that begin like this."""
    return _beginning(incomplete, _executions)


def _beginning(incomplete: str, words: Callable[[Settings], list[str]]) -> list[str]:
    try:
        return [word for word in words(load()) if word.startswith(incomplete)]
    except Exception:  # noqa: BLE001 - the shell's line is no place for an error
        return []


def _agents(settings: Settings) -> list[str]:
    from outlast.client import Unreachable
    from outlast.model.error import Misconfigured

    try:
        page = _read(settings, lambda client: client.agents(limit=_MOST))
        return [str(one["name"]) for one in page["data"]]
    except (Unreachable, Misconfigured, TimeoutError):  # no server, or one that does not answer
        if Path(settings.agents).suffix not in _DATA:
            return []
        from outlast.cli.composition import read_agents

        return [spec.name for spec in read_agents(settings).specs]


def _executions(settings: Settings) -> list[str]:
    page = _read(settings, lambda client: client.list(limit=_MOST))
    return [str(one["id"]) for one in page["data"]]


def _read(settings: Settings, read: "Callable[[Client], Awaitable[Any]]") -> Any:
    from outlast.cli.remote import client_of

    async def answer() -> Any:
        async with asyncio.timeout(_SECONDS), client_of(settings, patience=0) as client:
            return await read(client)

    return asyncio.run(answer())
