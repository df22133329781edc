"""Databases as older versions have left them, and rows in them."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson
from alembic import command
from alembic.config import Config
from sqlalchemy import create_engine, text

from outlast.store import migrations
from outlast.store.postgres.migrate import sqlalchemy_url
from tests.support.databases import SQLITE
from tests.support.postgres import Databases

EXECUTION = {
    "workspace_id": "ws_1",
    "agent_id": "agt_1",
    "agent_version": 1,
    "conversation_id": "conv_1",
    "turn": 1,
    "input": "",
    "metadata": "{}",
    "session": "{}",
    "budget": "{}",
    "created_at": 1,
    "updated_at": 9,
    "started_at": 1,
    "completed_at": 9,
    "segment": 1,
    "waiting": False,
    "cache_read_tokens": 0,
    "cache_write_tokens": 0,
    "usage_estimated": False,
    "steps": 1,
    "tool_ms": 0,
    "active_ms": 0,
    "cancel_requested": False,
}


@contextmanager
def database_of(
    version: str, kind: str, folder: Path, postgres: Callable[[], Databases]
) -> Iterator[str]:
    """A database of this schema, as SQLAlchemy names it."""
    if kind == SQLITE:
        url = f"sqlite:///{folder / 'outlast.db'}"
        _upgrade(url, version)
        yield url
        return
    databases = postgres()
    empty = databases.empty()
    _upgrade(sqlalchemy_url(empty), version)
    yield sqlalchemy_url(empty)
    databases.drop(empty)


def _upgrade(url: str, version: str) -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    config.set_main_option("sqlalchemy.url", url)
    command.upgrade(config, version)


class Writer:
    """Writes rows, and reads what has become of them."""

    def __init__(self, url: str) -> None:
        self._engine = create_engine(url)

    def add(self, table: str, **row: Any) -> None:
        names, values = ", ".join(row), ", ".join(f":{name}" for name in row)
        with self._engine.begin() as connection:
            connection.execute(text(f"INSERT INTO {table} ({names}) VALUES ({values})"), row)

    def execution(self, name: str, tokens: tuple[int, int, int], **more: Any) -> None:
        used, answered, superseded = tokens
        row: dict[str, Any] = {
            "id": name,
            "status": "completed",
            "is_purged": False,
            "final_model": "m",
            "input_tokens": used,
            "output_tokens": answered,
            "superseded_tokens": superseded,
        }
        self.add("executions", **(EXECUTION | row | more))

    def step(self, execution: str, number: int, kind: str, **data: Any) -> None:
        self.add(
            "steps",
            execution_id=execution,
            number=number,
            id=f"step_{execution}_{number}",
            kind=kind,
            data=orjson.dumps(data).decode(),
            started_at=number,
            ended_at=number + 1,
            superseded=number == 1,
        )

    def rows(self, statement: str) -> list[tuple[Any, ...]]:
        with self._engine.begin() as connection:
            return [tuple(row) for row in connection.execute(text(statement)).fetchall()]

    def close(self) -> None:
        self._engine.dispose()
