"""Which process leads maintenance.

On SQLite the one process leads. On Postgres a lease is taken by compare-and-set and renewed; the
others look when it would expire, so a look is rare, and what a killed leader leaves is taken within
one lease. A leader that stops releases it and notifies the others. Processes that run no executions
lead only while no worker does. Time is the database's and the event loop's, never the Clock's:
processes must agree.
"""

import asyncio
import os
import random
import secrets
import socket
from typing import Final, Protocol

import structlog

from outlast.duty import Duty, Failures
from outlast.model.error import OutlastError
from outlast.store.leases import LONGEST_MILLIS, Candidate, Leases

_RENEWALS: Final = 2
"""Renewals within the time of a lease."""
_SPREAD_SECONDS: Final = 0.25
"""Candidates look this much apart, so that most of them find a leader."""
_RETRY: Final = (0.5, 1.0, 2.0)
_SHORTEST_SECONDS: Final = 1.0
_LONGEST_SECONDS: Final = 3.0
"""What is due waits so long where its leader was killed."""

logger = structlog.get_logger(__name__)


class Leadership(Protocol):
    """Whether this process leads."""

    @property
    def leads(self) -> bool:
        """Whether it does now."""
        ...

    async def start(self) -> None:
        """Become a candidate, and leader at once if there is none."""
        ...

    async def stop(self) -> None:
        """Lead no more."""
        ...

    async def elected(self) -> None:
        """Return once this process leads."""
        ...

    def released(self) -> None:
        """Learn that the leader has left."""
        ...


class SoleProcess:
    """Leads: no other process has the database."""

    leads = True

    async def start(self) -> None:
        pass

    async def stop(self) -> None:
        pass

    async def elected(self) -> None:
        pass

    def released(self) -> None:
        pass


class LeaseLeader:
    """Leads while it has the lease."""

    def __init__(self, leases: Leases, failures: Failures, *, works: bool, seconds: float) -> None:
        """`works`: this process runs executions; `seconds`: how long a lease lasts."""
        self._leases = leases
        self._candidate = Candidate(_name(), works)
        self._seconds = seconds
        self._patience = 0.0 if works else self._seconds / _RENEWALS
        """How long workers have the choice first."""
        self._until = 0.0
        """On the event loop's clock."""
        self._led = self._taking = False
        self._elected = asyncio.Event()
        self._look = asyncio.Event()
        self._duty = Duty(
            "elect_leader",
            self._campaign,
            every=0,
            sleep=_pause,
            failures=failures,
            retry=_RETRY,
            at_once=True,
        )

    @property
    def leads(self) -> bool:
        """Whether the lease that was taken last is still good."""
        return self._until > 0 and asyncio.get_running_loop().time() < self._until

    async def start(self) -> None:
        try:
            await self._run_for_it()
        except OutlastError as error:
            logger.warning("leader.not_elected", reason=error.message)
        self._duty.start()

    async def stop(self) -> None:
        await self._duty.stop()
        if self._led or self._taking:  # a request that was cut off may have taken it
            self._follow()
            try:
                await self._leases.release(self._candidate)
            except OutlastError as error:
                logger.warning("leader.not_released", reason=error.message)

    async def elected(self) -> None:
        while not self.leads:
            self._elected.clear()
            await self._elected.wait()

    def released(self) -> None:
        """The leader has left: look at once."""
        self._look.set()

    async def _campaign(self) -> None:
        """Renew the lease, or look for it; then wait until there is something to do."""
        self._look.clear()
        seconds = await self._renew() if self._led else await self._run_for_it()
        try:
            async with asyncio.timeout(seconds):
                await self._look.wait()
        except TimeoutError:
            return
        await _pause(_spread())

    async def _renew(self) -> float:
        """Keep the lease; return in how many seconds to come back."""
        if not await self._take(0):
            logger.warning("leader.replaced", leader=self._candidate.id)
            self._follow()
            return await self._run_for_it()
        return self._seconds / _RENEWALS

    async def _run_for_it(self) -> float:
        """Take the lease if it is free; return in how many seconds to come back."""
        lease = await self._leases.held()
        if lease is not None:
            replaced = self._candidate.works and not lease.works
            left = lease.left / 1000 + self._patience
            if left > 0 and lease.left <= LONGEST_MILLIS and not replaced:
                return min(left, self._seconds + self._patience) + _spread()
        if await self._take(self._patience):
            self._led = True
            logger.info("leader.elected", leader=self._candidate.id)
            return self._seconds / _RENEWALS
        return self._seconds / _RENEWALS + _spread()  # another was quicker

    async def _take(self, patience: float) -> bool:
        began = asyncio.get_running_loop().time()
        millis, patient = round(self._seconds * 1000), round(patience * 1000)
        self._taking = True
        taken = await self._leases.take(self._candidate, millis, patient)
        self._taking = False
        if taken:
            self._until = began + self._seconds
            self._elected.set()
        return taken

    def _follow(self) -> None:
        self._led = self._taking = False
        self._until = 0.0


def lease_seconds(takeover_seconds: float) -> float:
    """Return how long a lease lasts, at most half as long as a worker may be silent.

    So there is a leader again before the executions of one that died are due to be taken over.
    """
    return min(max(takeover_seconds / 2, _SHORTEST_SECONDS), _LONGEST_SECONDS)


def _name() -> str:
    """Name this process: host, process id, and what tells it from an earlier one."""
    return f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"


def _spread() -> float:
    return random.uniform(0, _SPREAD_SECONDS)  # noqa: S311 - no secret


async def _pause(seconds: float) -> None:
    await asyncio.sleep(seconds)  # noqa: TID251 - see above: time of the database and the loop
