"""Baseline (d): what Postgres itself takes to hand a row over from one connection to another.

One connection commits a row with a NOTIFY; another gets it and commits a row of its own. Postgres
notes a commit's time before it waits for the disk, so that wait is within both figures.
"""

import asyncio
import time
from dataclasses import dataclass

import psycopg

_TABLES = """
CREATE TABLE given (number int PRIMARY KEY); CREATE TABLE taken (number int PRIMARY KEY)
"""
_TIMES = """
SELECT extract(epoch FROM pg_xact_commit_timestamp(given.xmin))::float8,
    extract(epoch FROM pg_xact_commit_timestamp(taken.xmin))::float8
FROM given JOIN taken USING (number) ORDER BY number
"""
BOUND = 10.0
WARM_UP = 10
PAUSE = 0.01


@dataclass(frozen=True, slots=True)
class HandOver:
    """Seconds from each commit."""

    received: list[float]
    """To its notification at the other connection."""
    taken: list[float]
    """To the other connection's commit, by the database's clock."""


async def hand_over(url: str, samples: int, *, durable: bool) -> HandOver:
    """So often, one at a time, in an empty database of its own; `durable` waits for the disk."""
    connect = psycopg.AsyncConnection.connect
    async with (
        await connect(url, autocommit=True) as giver,
        await connect(url, autocommit=True) as taker,
    ):
        await giver.execute(_TABLES)
        if not durable:
            await giver.execute("SET synchronous_commit TO OFF")
        await taker.execute("LISTEN given")
        received: list[float] = []
        for number in range(WARM_UP + samples):
            await asyncio.gather(_give(giver, number), _take(taker, received))
            await asyncio.sleep(PAUSE)
        times = await (await giver.execute(_TIMES)).fetchall()
    timed = list(zip(times, received, strict=True))[WARM_UP:]
    return HandOver(
        [at - given for (given, _), at in timed],
        [taken - given for (given, taken), _ in timed],
    )


async def _give(connection: psycopg.AsyncConnection, number: int) -> None:
    async with connection.pipeline(), connection.transaction():
        await connection.execute("INSERT INTO given VALUES (%s)", (number,))
        await connection.execute("SELECT pg_notify('given', %s)", (str(number),))


async def _take(connection: psycopg.AsyncConnection, received: list[float]) -> None:
    [notify] = [found async for found in connection.notifies(stop_after=1, timeout=BOUND)]
    received.append(time.time())
    await connection.execute("INSERT INTO taken VALUES (%s)", (int(notify.payload),))
