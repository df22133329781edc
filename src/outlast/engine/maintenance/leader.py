"""Which process leads maintenance.

On SQLite the single process leads. On Postgres a lease is taken by compare-and-set and renewed; the
others check it when it would expire, so checks are rare, and a killed leader is replaced within one
lease. A leader that stops releases it and notifies the others. Processes that run no executions
lead only while no worker does. Time is the database's and the event loop's, never the Clock's:
processes must agree on it.
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
"""Renewals per lease duration."""
_SPREAD_SECONDS: Final = 0.25
"""Random spread between candidates, so that most of them find a leader."""
_RETRY: Final = (0.5, 1.0, 2.0)
_SHORTEST_SECONDS: Final = 1.0
_LONGEST_SECONDS: Final = 3.0
"""Longest lease: maintenance pauses this long if its leader is killed."""

logger = structlog.get_logger(__name__)


class Leadership(Protocol):
    """Whether this process leads."""

    @property
    def leads(self) -> bool:
        """Whether this process leads now."""
        ...

    @property
    def alone(self) -> bool:
        """Whether no other process ever leads."""
        ...

    async def start(self) -> None:
        """Become a candidate, and the leader at once if there is none."""
        ...

    async def stop(self) -> None:
        """Stop leading."""
        ...

    async def elected(self) -> None:
        """Return once this process leads."""
        ...

    def released(self) -> None:
        """Called when the leader has released its lease."""
        ...


class SoleProcess:
    """Always leads: no other process uses the database."""

    leads = True
    alone = True

    async def start(self) -> None:
        pass

    async def stop(self) -> None:
        pass

    async def elected(self) -> None:
        pass

    def released(self) -> None:
        pass


class LeaseLeader:
    """Leads while it holds the lease."""

    def __init__(self, leases: Leases, failures: Failures, *, works: bool, seconds: float) -> None:
        """`works`: this process runs executions; `seconds`: how long a lease lasts."""
        self._leases = leases
        self._candidate = Candidate(_name(), works)
        self._seconds = seconds
        self._patience = 0.0 if works else self._seconds / _RENEWALS
        """Head start of workers over other processes, in seconds."""
        self._until = 0.0
        """When the lease expires, on the event loop's clock."""
        self._led = self._taking = False
        self._wait = 0.0
        """Seconds from one request of the lease to the next."""
        self._elected = asyncio.Event()
        self._look = asyncio.Event()
        self._duty = Duty(
            "elect_leader",
            self._campaign,
            every=0,
            sleep=_pause,
            failures=failures,
            retry=_RETRY,
            first=0.0,
        )

    @property
    def alone(self) -> bool:
        """False: others wait for its lease to end."""
        return False

    @property
    def leads(self) -> bool:
        """Whether the lease taken last is still valid."""
        return self._until > 0 and asyncio.get_running_loop().time() < self._until

    async def start(self) -> None:
        try:
            self._wait = await self._run_for_it()
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
        """Check the lease at once."""
        self._look.set()

    async def _campaign(self) -> None:
        """Wait until it is time to renew the lease or to try to take it, then do so."""
        try:
            async with asyncio.timeout(self._wait):
                await self._look.wait()
            await _pause(_spread())
        except TimeoutError:
            pass
        self._wait = 0.0
        self._look.clear()
        self._wait = await self._renew() if self._led else await self._run_for_it()

    async def _renew(self) -> float:
        """Renew the lease; return the seconds until the next renewal."""
        if not await self._take(0):
            logger.warning("leader.replaced", leader=self._candidate.id)
            self._follow()
            return await self._run_for_it()
        return self._seconds / _RENEWALS

    async def _run_for_it(self) -> float:
        """Take the lease if it is free; return the seconds until the next check."""
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
    """Return the duration of a lease, at most half of a worker's permitted silence.

    So a new leader exists before the executions of a dead one are due for takeover.
    """
    return min(max(takeover_seconds / 2, _SHORTEST_SECONDS), _LONGEST_SECONDS)


def _name() -> str:
    """Return a name of this process: host, process id, and a random part."""
    return f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"


def _spread() -> float:
    return random.uniform(0, _SPREAD_SECONDS)  # noqa: S311 - no secret


async def _pause(seconds: float) -> None:
    await asyncio.sleep(seconds)  # noqa: TID251 - see above: time of the database and the loop
