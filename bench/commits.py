"""Baseline (c): bare group commits on a database, nothing around them.

A run is so many commits, one after the other, each waited for. On SQLite one writer thread takes
whatever waits into one transaction (WAL, synchronous=FULL); on Postgres each commit is one
statement on one of as many connections as a server has, and Postgres groups them. That is the
database's own ceiling for a durable server.
Run by itself it prints one line of JSON: runs_per_second, cpu_ms.
"""

import argparse
import asyncio
import json
import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, Protocol

import psycopg

COMMITS = 3
"""A run's: accepted, its text, its end."""
ROWS = 2
"""Rows a commit writes."""
PAYLOAD = "x" * 300
CONNECTIONS = 10
"""To Postgres: the setting `database_connections` of a server."""

Waiter = asyncio.Future[None]


class Writer(Protocol):
    """Commits for all who wait."""

    async def commit(self) -> None:
        """Write a commit's rows; return when they are on the disk."""

    async def close(self) -> None:
        """Commit no more."""


class FileWriter:
    """One thread that writes a SQLite file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._loop = asyncio.get_running_loop()
        self._queue: SimpleQueue[Waiter | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._write)
        self._thread.start()

    async def commit(self) -> None:
        waiter: Waiter = self._loop.create_future()
        self._queue.put(waiter)
        await waiter

    async def close(self) -> None:
        self._queue.put(None)
        await asyncio.to_thread(self._thread.join)

    def _write(self) -> None:
        database = sqlite3.connect(self._path, isolation_level=None)
        database.execute("PRAGMA journal_mode=WAL")
        database.execute("PRAGMA synchronous=FULL")
        database.execute("CREATE TABLE log (id INTEGER PRIMARY KEY, data TEXT)")
        while (first := self._queue.get()) is not None:
            batch = [first, *self._waiting()]
            database.execute("BEGIN IMMEDIATE")
            rows = [(PAYLOAD,)] * (ROWS * len(batch))
            database.executemany("INSERT INTO log (data) VALUES (?)", rows)
            database.execute("COMMIT")
            self._loop.call_soon_threadsafe(_release, batch)
        database.close()

    def _waiting(self) -> Iterator[Waiter]:
        try:
            while (waiter := self._queue.get_nowait()) is not None:
                yield waiter
            self._queue.put(None)
        except Empty:
            return


def _release(batch: list[Waiter]) -> None:
    for waiter in batch:
        waiter.set_result(None)


class PostgresWriter:
    """Some connections to one Postgres database; a commit has one of them for itself."""

    _INSERT = f"INSERT INTO log (data) VALUES {', '.join(['(%s)'] * ROWS)}"

    def __init__(self, connections: list[psycopg.AsyncConnection[Any]]) -> None:
        self._all = connections
        self._free: asyncio.Queue[psycopg.AsyncConnection[Any]] = asyncio.Queue()
        for connection in connections:
            self._free.put_nowait(connection)

    @classmethod
    async def open(cls, url: str) -> "PostgresWriter":
        """Connect, and make the table."""
        made = [await psycopg.AsyncConnection.connect(url, autocommit=True)]
        await made[0].execute("CREATE TABLE log (id bigserial PRIMARY KEY, data text)")
        while len(made) < CONNECTIONS:
            made.append(await psycopg.AsyncConnection.connect(url, autocommit=True))
        return cls(made)

    async def commit(self) -> None:
        connection = await self._free.get()
        await connection.execute(self._INSERT, [PAYLOAD] * ROWS)
        self._free.put_nowait(connection)

    async def close(self) -> None:
        for connection in self._all:
            await connection.close()


async def measure(target: str, runs: int, concurrency: int) -> dict[str, float]:
    """So many runs, so many at a time; the target is a file's path or Postgres' URL."""
    writer = await _open(target)
    left = iter(range(runs))

    async def work() -> None:
        for _ in left:
            for _ in range(COMMITS):
                await writer.commit()

    await writer.commit()
    start, cpu = time.perf_counter(), time.process_time()
    async with asyncio.TaskGroup() as tasks:
        for _ in range(concurrency):
            tasks.create_task(work())
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    await writer.close()
    return {"runs_per_second": runs / seconds, "cpu_ms": cpu * 1000 / runs}


async def _open(target: str) -> Writer:
    if "://" in target:
        return await PostgresWriter.open(target)
    return FileWriter(Path(target))


def main() -> None:
    """Measure once and print it."""
    parser = argparse.ArgumentParser(description="Bare group commits on a database.")
    parser.add_argument("target", help="a path, or Postgres' URL")
    parser.add_argument("--runs", type=int, default=2000)
    parser.add_argument("--concurrency", type=int, default=16)
    options = parser.parse_args()
    import uvloop

    print(json.dumps(uvloop.run(measure(options.target, options.runs, options.concurrency))))


if __name__ == "__main__":
    main()
