"""Search of memory stores by words, by meaning and by both: what it finds, and how long it takes.

With the local embedding model, which is downloaded once into `.demo/data`.
"""

import asyncio
import random
import sqlite3
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import numpy as np
import psycopg

from bench.client import Connection, ask_once, get, post
from bench.figures.memory import write
from bench.lab import Lab
from bench.notes import NOTES
from bench.process import Child
from bench.requests import KEY
from bench.state import SQLITE, State
from bench.table import Row, median
from outlast.agents.embeddings import files
from outlast.store.memory.words import indexed

NAME: Final = "all-minilm-l6-v2"
DATA: Final = Path(__file__).parents[2] / ".demo" / "data"
MODES: Final = ("text", "semantic", "hybrid")
DIMENSIONS: Final = 384
_ITEM: Final = ("id", "store_id", "key", "content", "metadata", "sha256", "bytes", "version")
_ITEMS: Final = (*_ITEM, "created_at", "updated_at", "writer", "words")
_VECTORS: Final = ("store_id", "item_id", "version", "due_at", "vector")
_BATCH: Final = 1000
_PATIENCE: Final = 300.0
_WARM_UP: Final = 5


async def measure(lab: Lab) -> list[Row]:
    """On each database."""
    await asyncio.to_thread(files.pull, NAME, DATA, lambda text: print(text, file=sys.stderr))
    return [row for kind in lab.kinds for row in await _measure(lab, kind)]


async def _measure(lab: Lab, kind: str) -> list[Row]:
    state = lab.states.empty(kind, "memory-search")
    (state.folder / "models").symlink_to(DATA / "models")
    rows: list[Row] = []
    async with lab.ours(state) as child:
        rows += await _recall(state, child.port)
        paths = [await _store(child.port, f"of {count}") for count in lab.scale.vectors]
    for path, count in zip(paths, lab.scale.vectors, strict=True):
        await asyncio.to_thread(_fill, state, path.rpartition("/")[2], count)
    async with lab.ours(state) as child:
        for path, count in zip(paths, lab.scale.vectors, strict=True):
            rows += await _times(lab, state, child, path, count)
    lab.states.drop(state)
    return rows


async def _store(port: int, name: str) -> str:
    body = {"name": name, "embedding": f"local:{NAME}"}
    answer = await ask_once(port, post("/v1/memory-stores", body, KEY))
    return f"/v1/memory-stores/{answer.json()['id']}"


async def _recall(state: State, port: int) -> list[Row]:
    """Write the notes, and look for each by its question and by words of it."""
    path = await _store(port, "notes")
    begun = time.perf_counter()
    await write(port, path, [(note.key, note.content) for note in NOTES])
    written = time.perf_counter()
    async with asyncio.timeout(_PATIENCE):
        await _embedded(port, path)
    embedded = time.perf_counter()
    connection = await Connection.open(port)
    rows = [
        Row(
            f"{len(NOTES)} notes written, until all are embedded",
            f"{embedded - begun:.1f} s",
            baseline=f"written: {written - begun:.1f} s",
            database=state.label,
        )
    ]
    for name, queries in (
        ("paraphrased questions", [note.question for note in NOTES]),
        ("words of the notes", [note.words for note in NOTES]),
    ):
        for mode in MODES:
            first, found, times = 0, 0, []
            for note, query in zip(NOTES, queries, strict=True):
                keys, seconds = await _search(connection, path, query, mode, 5)
                first += note.key in keys[:1]
                found += note.key in keys
                times.append(seconds)
            rows.append(
                Row(
                    f"recall@5, {len(NOTES)} {name}, {mode}",
                    f"{found / len(NOTES):.2f}, p50 {median(times) * 1000:.1f} ms",
                    baseline=f"recall@1: {first / len(NOTES):.2f}",
                    database=state.label,
                )
            )
    connection.close()
    return rows


async def _embedded(port: int, path: str) -> None:
    """Return once no item waits for its vector."""
    while True:
        state = (await ask_once(port, get(path, KEY))).json()["embedding"]
        if not state["pending"]:
            return
        await asyncio.sleep(0.05)


async def _search(
    connection: Connection, path: str, query: str, mode: str, limit: int
) -> tuple[list[str], float]:
    """Return the keys that are found, and the seconds that it took."""
    request = post(f"{path}/search", {"query": query, "mode": mode, "limit": limit}, KEY)
    start = time.perf_counter()
    answer = await connection.ask(request)
    seconds = time.perf_counter() - start
    found = answer.json()
    if answer.status != 200 or found["warning"]:
        raise RuntimeError(f"A search has failed: {found}")
    return [item["key"] for item in found["data"]], seconds


async def _times(lab: Lab, state: State, child: Child, path: str, count: int) -> list[Row]:
    """Search by each mode; CPU is the server's, without its model's process and the database.

    The first search by meaning reads all vectors, which later ones find in memory.
    """
    connection = await Connection.open(child.port)
    chance = random.Random(2)
    rows: list[Row] = []
    for mode in MODES:
        times, begun = list[float](), 0.0
        for number in range(_WARM_UP + lab.scale.searches):
            if number == _WARM_UP:
                begun = child.cpu_seconds()
            query = f"w{chance.randrange(1000)}"
            times.append((await _search(connection, path, query, mode, 10))[1])
        middle = median(times[_WARM_UP:])
        cpu = (child.cpu_seconds() - begun) / lab.scale.searches
        rows.append(
            Row(
                f"{mode} search of {count:,} items",
                f"{middle * 1000:.1f} ms",
                baseline=f"CPU {cpu * 1000:.1f} ms; the first: {times[0] * 1000:.0f} ms",
                database=state.label,
            )
        )
    connection.close()
    return rows


def _fill(state: State, store_id: str, count: int) -> None:
    """Write items with vectors of random directions beside the server, past its limit of items."""
    chance = np.random.default_rng(3)
    for begin in range(0, count, _BATCH):
        size = min(_BATCH, count - begin)
        rows = chance.standard_normal((size, DIMENSIONS))
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        names = [f"item_{store_id[-12:]}{number:014d}" for number in range(begin, begin + size)]
        items = [_item(store_id, name, number) for number, name in enumerate(names, begin)]
        vectors = [
            (store_id, name, 1, None, row.astype("<f4").tobytes())
            for name, row in zip(names, rows, strict=True)
        ]
        _insert(state, {"memory_items": (_ITEMS, items), "memory_vectors": (_VECTORS, vectors)})
    if state.kind != SQLITE:
        state.rows("ANALYZE")


def _item(store_id: str, name: str, number: int) -> tuple[Any, ...]:
    key, content = f"k{number}", f"note of w{number % 1000} and others"
    words = indexed(store_id, key, content)
    return (name, store_id, key, content, "{}", "", len(content), 1, number, number, "{}", words)


def _insert(state: State, tables: dict[str, tuple[Sequence[str], list[tuple[Any, ...]]]]) -> None:
    if state.kind == SQLITE:
        with closing(sqlite3.connect(state.file)) as file, file:
            for statement, rows in _statements(tables, "?"):
                file.executemany(statement, rows)
        return
    with psycopg.connect(state.url) as connection, connection.cursor() as cursor:
        for statement, rows in _statements(tables, "%s"):
            cursor.executemany(statement, rows)


def _statements(
    tables: dict[str, tuple[Sequence[str], list[tuple[Any, ...]]]], mark: str
) -> Iterator[tuple[Any, list[tuple[Any, ...]]]]:
    for table, (names, rows) in tables.items():
        marks = ", ".join(mark for _ in names)
        yield f"INSERT INTO {table} ({', '.join(names)}) VALUES ({marks})", rows
