"""Databases that several tests have one after another: emptied between two, a tenth of a new one.

Only one that is then as it was made is given out again: with the same schema and the same rows, no
statistics of the planner, and tables of a few pages, for rows that are gone leave their places.
"""

import time
from collections.abc import Callable
from typing import Any, Final, cast

import psycopg
from psycopg import Connection

from tests.support import kept_connections

Migrate = Callable[[str], None]
"""Makes the schema of the empty database at a URL."""
_USES: Final = 25
"""After so many, places of rows that are gone might count for the planner."""
_PAGES: Final = 8
"""More than a table of a few rows has."""
_OURS: Final = 16384
"""The first number of what users make in a Postgres."""
_LOOK_SECONDS: Final = 0.003
_BOUND: Final = 10.0
_CATALOGS: Final = (
    *("attrdef", "attribute", "cast", "collation", "constraint", "conversion", "db_role_setting"),
    *("default_acl", "enum", "event_trigger", "extension", "index", "inherits", "language"),
    *("namespace", "operator", "policy", "proc", "publication", "range", "rewrite", "sequence"),
    *("statistic_ext", "trigger", "type"),
)
"""Those in which a row that is written means another schema, or another setting."""
_WRITTEN: Final = [
    f"(SELECT (count(*), count(*) FILTER (WHERE age(xmin) < now.age))::text FROM pg_{catalog})"
    for catalog in _CATALOGS
]
_SCHEMA: Final = f"""
SELECT {", ".join(_WRITTEN)},
    (SELECT (count(*), sum(hashtext((relname, relowner, relacl, reloptions, relpersistence,
        relrowsecurity, relreplident)::text)))::text FROM pg_class WHERE oid >= {_OURS}),
    (SELECT sum(reltuples) FROM pg_class WHERE oid >= {_OURS} AND relkind = 'r'),
    (SELECT count(*) FROM pg_statistic WHERE starelid >= {_OURS}),
    (SELECT datconnlimit FROM pg_database WHERE datname = current_database())
FROM (SELECT age(%s::xid) AS age) AS now
"""
_TABLES: Final = f"""
SELECT oid::regclass::text, pg_relation_size(oid) / current_setting('block_size')::int
FROM pg_class WHERE oid >= {_OURS} AND relkind = 'r' AND relnamespace = 'public'::regnamespace
    AND pg_relation_size(oid) > 0
"""
_OTHERS: Final = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() AND NOT pid = ANY(%s::int[])
"""
_BEGIN: Final = """
SELECT setval(seqrelid::regclass, seqstart, false), pg_stat_reset() FROM pg_sequence
"""


class UsedDatabase:
    """A migrated database that a test has, or has had."""

    def __init__(self, url: str, migrate: Migrate) -> None:
        """It must be as `migrate` has made it."""
        self.migrate = migrate
        self._connection: Connection[Any] = psycopg.connect(url, autocommit=True)
        self._run("SET session_replication_role TO replica")  # without triggers
        self._name = self._connection.info.dbname
        self._uses = 0
        self._filled = [table for table, _ in self._tables()]
        """Tables that have rows from the beginning."""
        self._last = self._run("SELECT pg_current_xact_id()::xid::text")[0][0]
        """The last transaction before it is given out."""
        self._made = self._state()

    def empty(self) -> bool:
        """Delete what the test has written; return whether it is as it was made."""
        self._uses += 1
        if self._uses >= _USES:
            return False
        try:
            return self._empty()
        except psycopg.Error:
            return False

    def close(self) -> None:
        """Leave the database."""
        self._connection.close()

    def _empty(self) -> bool:
        self._end_others()
        tables = self._tables()
        if any(pages > _PAGES for _, pages in tables):
            return False
        written = [table for table, _ in tables if table not in self._filled]
        for table in written:
            self._run(f"DELETE FROM {table}")
        self._run(_BEGIN)
        return self._state() == self._made

    def _end_others(self) -> None:
        """End the sessions of the test, whose processes may still be on their way out."""
        end = time.monotonic() + _BOUND
        kept = kept_connections.sessions(self._name)
        while self._run(_OTHERS, kept):
            if time.monotonic() > end:
                raise psycopg.OperationalError("a session does not end")
            time.sleep(_LOOK_SECONDS)  # nothing says when it has ended

    def _tables(self) -> list[tuple[str, int]]:
        return cast("list[tuple[str, int]]", self._run(_TABLES))

    def _state(self) -> list[Any]:
        rows = [self._run(f"SELECT {table} FROM {table}") for table in self._filled]
        return [self._run(_SCHEMA, self._last), *rows]

    def _run(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        cursor = self._connection.execute(cast("Any", statement), values or None, prepare=True)
        return cursor.fetchall() if cursor.description else []
