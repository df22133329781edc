"""From one process to another: where executions are started, and where their clients listen."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from bench.deployment import open_deployment
from bench.lab import Lab
from bench.state import SQLITE, State


@dataclass(frozen=True, slots=True)
class Way:
    """On Postgres two API processes and one worker; on SQLite the one process that does it all."""

    state: State
    here: int
    """The port for starting and cancelling."""
    there: int
    """The port for reading streams."""
    untimed: str = ""
    """Why there is no record of when commits were made."""


@asynccontextmanager
async def open_way(lab: Lab, kind: str) -> AsyncGenerator[Way, None]:
    """The processes, which ask the provider that tells the time."""
    if kind == SQLITE:
        state = lab.states.empty(kind, "across")
        async with lab.ours(state, provider_url=lab.controlled_url) as child:
            yield Way(state, child.port, child.port, "one process hands nothing to another")
        lab.states.drop(state)
        return
    async with open_deployment(
        lab, "across", apis=2, provider_url=lab.controlled_url
    ) as deployment:
        here, there = deployment.apis
        [(timed,)] = deployment.state.rows("SHOW track_commit_timestamp")
        untimed = "" if timed == "on" else "track_commit_timestamp is off on this Postgres"
        yield Way(deployment.state, here.port, there.port, untimed)
