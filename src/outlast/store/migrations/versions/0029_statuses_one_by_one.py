"""The checks of an execution's status in SQLite, which compare one status after the other.

For `status IN (…)` SQLite makes a temporary table of the list each time that it checks a row: two
thirds of an update's cost. The rule is the same, so no row is read or written: the schema's text
alone changes, as in the last part of https://sqlite.org/lang_altertable.html#otheralter. A SQLite
that protects its schema (SQLITE_DBCONFIG_DEFENSIVE, as on macOS) keeps the list. Postgres checks a
list without a table, and keeps it too.
"""

from alembic import op
from sqlalchemy.exc import DatabaseError

revision = "0029"
down_revision = "0028"

_ALL = ("queued", "running", "suspended", "paused", "completed", "failed", "cancelled")
_ENDED = ("completed", "failed", "cancelled")


def upgrade() -> None:
    if op.get_bind().dialect.name != "sqlite":
        return
    op.execute("PRAGMA writable_schema = ON")
    try:
        for statuses in (_ALL, _ENDED):
            op.execute(
                "UPDATE sqlite_master SET sql = replace(sql, "
                f"'{_quoted(_listed(statuses))}', '{_quoted(_compared(statuses))}') "
                "WHERE type = 'table' AND name = 'executions'"
            )
    except DatabaseError:  # the schema is protected; its rule is the same
        return
    op.execute("PRAGMA writable_schema = RESET")


def _listed(statuses: tuple[str, ...]) -> str:
    quoted = ",".join(f"'{status}'" for status in statuses)
    return f"status IN ({quoted})"


def _compared(statuses: tuple[str, ...]) -> str:
    return " OR ".join(f"status = '{status}'" for status in statuses)


def _quoted(text: str) -> str:
    return text.replace("'", "''")
