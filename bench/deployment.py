"""Several processes of Outlast on one Postgres: some answer requests, others run executions."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from bench.lab import API, WORKER, Lab
from bench.process import Child
from bench.state import POSTGRESQL, State

BY_NAME = """
SELECT application_name, count(*) FROM pg_stat_activity WHERE datname = current_database()
GROUP BY application_name
"""
"""How many connections each process has: `server`, `api-N` or `worker-N`."""


@dataclass(frozen=True, slots=True)
class Deployment:
    """API processes that run nothing themselves, and workers; the first gets the requests."""

    lab: Lab
    state: State
    provider_url: str = ""
    apis: list[Child] = field(default_factory=list)
    workers: list[Child] = field(default_factory=list)

    @property
    def port(self) -> int:
        """Where the first API process answers."""
        return self.apis[0].port

    def cpu_seconds(self) -> float:
        """Processor time of all processes so far."""
        return sum(child.cpu_seconds() for child in self._all)

    def memory(self) -> int:
        """Bytes of all processes."""
        return sum(child.memory() for child in self._all)

    async def add(self, *, apis: int = 0, workers: int = 0) -> None:
        """Start more processes at the same time; return once all are ready."""
        new = [(API, self.apis, "api")] * apis + [(WORKER, self.workers, "worker")] * workers
        started = []
        for command, children, word in new:
            name = f"{word}-{len(children) + 1}"
            child = self.lab.start(self.state, command, name, provider_url=self.provider_url)
            children.append(child)
            started.append(child)
        for child in started:
            await child.ready("/readyz")

    async def stop(self) -> None:
        """Stop all at the same time."""
        await asyncio.gather(*(child.stop() for child in self._all))

    @property
    def _all(self) -> list[Child]:
        return [*self.apis, *self.workers]


@asynccontextmanager
async def open_deployment(
    lab: Lab, name: str, *, apis: int = 1, workers: int = 1, provider_url: str = ""
) -> AsyncGenerator[Deployment, None]:
    """On an empty database, ready for work; all processes are stopped at the end."""
    deployment = Deployment(lab, lab.states.empty(POSTGRESQL, name), provider_url)
    try:
        await deployment.add(apis=apis, workers=workers)
        yield deployment
    finally:
        await deployment.stop()
    lab.states.drop(deployment.state)
