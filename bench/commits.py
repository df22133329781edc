"""Baseline (c): bare group commits on SQLite, nothing around them.

A run is so many commits, one after the other, each waited for. One writer thread takes whatever
waits into one transaction (WAL, synchronous=FULL): the disk's own ceiling for a durable server.
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

COMMITS = 3
"""A run's: accepted, its text, its end."""
ROWS = 2
"""Rows a commit writes."""
PAYLOAD = "x" * 300

Waiter = asyncio.Future[None]


class Writer:
    """One thread that commits for all who wait."""

    def __init__(self, path: Path, loop: asyncio.AbstractEventLoop) -> None:
        self._path = path
        self._loop = loop
        self._queue: SimpleQueue[Waiter | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._write)
        self._thread.start()

    async def commit(self) -> None:
        """Write a commit's rows; return when they are on the disk."""
        waiter: Waiter = self._loop.create_future()
        self._queue.put(waiter)
        await waiter

    def close(self) -> None:
        """End the thread."""
        self._queue.put(None)
        self._thread.join()

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


async def measure(path: Path, runs: int, concurrency: int) -> dict[str, float]:
    """So many runs, so many at a time."""
    writer = Writer(path, asyncio.get_running_loop())
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
    writer.close()
    return {"runs_per_second": runs / seconds, "cpu_ms": cpu * 1000 / runs}


def main() -> None:
    """Measure once and print it."""
    parser = argparse.ArgumentParser(description="Bare group commits on SQLite.")
    parser.add_argument("path", type=Path)
    parser.add_argument("--runs", type=int, default=2000)
    parser.add_argument("--concurrency", type=int, default=16)
    options = parser.parse_args()
    import uvloop

    print(json.dumps(uvloop.run(measure(options.path, options.runs, options.concurrency))))


if __name__ == "__main__":
    main()
