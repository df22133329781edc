"""Runs per second with workers in processes of their own, and the connections of each process.

One API process gets the requests of so many callers that wait; all share the machine's processors
with the database, the provider and the load. The baseline is one process that answers and works.
"""

import asyncio
from collections import Counter

import psycopg

from bench.deployment import BY_NAME, Deployment, open_deployment
from bench.lab import Lab
from bench.load import Rate, Served, middle, run_many
from bench.requests import execute, is_completed
from bench.state import LABELS, POSTGRESQL, SQLITE, State
from bench.table import Row, absent, with_database

CONCURRENCY = 64
BOUND = 120.0
LOOK_SECONDS = 0.1
ALONE = "server"


async def measure(lab: Lab) -> list[Row]:
    """With each number of workers, beside none."""
    rows = []
    if SQLITE in lab.kinds:
        why = "SQLite takes one process"
        rows += [absent(_name(count), LABELS[SQLITE], why) for count in lab.scale.workers]
    if POSTGRESQL in lab.kinds:
        rows += await _measure(lab)
    return rows


async def _measure(lab: Lab) -> list[Row]:
    census = _Census()
    state = lab.states.empty(POSTGRESQL, "alone")
    async with lab.ours(state) as child:
        await census.idle(lab, state)
        alone = await _rate(lab, child, state, census)
    lab.states.drop(state)
    rows = []
    async with open_deployment(lab, "workers", workers=0) as deployment:
        for count in lab.scale.workers:
            await deployment.add(workers=count - len(deployment.workers))
            if count == lab.scale.workers[0]:
                await census.idle(lab, deployment.state)
            rows += _rows(count, await _rate(lab, deployment, deployment.state, census), alone)
    return [*rows, *census.rows()]


async def _rate(lab: Lab, served: Deployment | Served, state: State, census: "_Census") -> Rate:
    rates = []
    for round_ in range(lab.scale.rounds + 1):
        watching = None if round_ else asyncio.create_task(census.watch(state))
        rate = await run_many(
            served,
            execute("answer"),
            is_completed,
            runs=lab.scale.runs,
            concurrency=CONCURRENCY,
            bound=BOUND,
            database=lab.database_cpu(state.kind),
        )
        if watching is None:
            rates.append(rate)
        else:  # round 0 warms up, and is looked at
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
    return middle(rates)


class _Census:
    """How many connections each process was seen to have: after its start, and at most."""

    def __init__(self) -> None:
        self._fresh: Counter[str] = Counter()
        self._most: Counter[str] = Counter()

    async def idle(self, lab: Lab, state: State) -> None:
        """Look once at processes that have just started and do nothing."""
        await asyncio.sleep(lab.scale.settle)
        self._fresh |= Counter({str(name): int(count) for name, count in state.rows(BY_NAME)})
        self._most |= self._fresh

    async def watch(self, state: State) -> None:
        """Look again and again, until cancelled."""
        connection = await psycopg.AsyncConnection.connect(
            state.url, autocommit=True, application_name="bench"
        )
        async with connection:
            while True:
                found = await (await connection.execute(BY_NAME)).fetchall()
                self._most |= Counter({str(name): int(count) for name, count in found})
                await asyncio.sleep(LOOK_SECONDS)

    def rows(self) -> list[Row]:
        """One for each kind of process."""
        words = {
            "api-": "an API process",
            "worker-": "a worker",
            ALONE: "a process that answers and works",
        }
        return [
            Row(
                f"connections of {words[kind]}, idle (at most, under load)",
                f"{_of(self._fresh, kind)} ({_of(self._most, kind)})",
                database=LABELS[POSTGRESQL],
            )
            for kind in words
        ]


def _of(counts: Counter[str], kind: str) -> int:
    return max(count for name, count in counts.items() if name.startswith(kind))


def _name(workers: int) -> str:
    word = "worker" if workers == 1 else "workers"
    return f"runs/s, one model call, concurrency {CONCURRENCY}, {workers} {word}"


def _rows(workers: int, ours: Rate, alone: Rate) -> list[Row]:
    return [
        Row(
            _name(workers),
            f"{ours.per_second:.0f}",
            f"one process {alone.per_second:.0f}",
            f"{ours.per_second / alone.per_second:.2f}×",
            database=LABELS[POSTGRESQL],
        ),
        Row(
            _name(workers).replace("runs/s", "CPU per run"),
            with_database(f"{ours.cpu_ms:.1f} ms", ours.database_ms, "ms"),
            "one process " + with_database(f"{alone.cpu_ms:.1f} ms", alone.database_ms, "ms"),
            f"{ours.cpu_ms / alone.cpu_ms:.2f}×",
            database=LABELS[POSTGRESQL],
        ),
    ]
