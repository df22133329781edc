"""Statements of Postgres that replace several of SQLite's: their number is its main cost.

All parts of one see the database as of its begin. If another process has appended to the log
between that and the lock, the number of an event is taken: the insert fails and the transaction is
retried.
"""

from typing import Final

from sqlalchemy import BigInteger, bindparam, insert, select, text

from outlast.store.budgets.applicable import APPLYING
from outlast.store.driver import Statement
from outlast.store.executions.statements import ADVANCED, LAST_SEQ
from outlast.store.executions.tables import events, executions

APPEND_TEXTS: Final = text(
    """
    WITH given AS (
        SELECT * FROM unnest(
            CAST(:id AS text[]), CAST(:workspace AS text[]), CAST(:segment AS bigint[]),
            CAST(:pieces AS bigint[]), CAST(:kind AS text[]), CAST(:data AS text[]),
            CAST(:at AS bigint[])
        ) WITH ORDINALITY AS given (id, workspace, segment, pieces, kind, data, at, number)
    ), running AS (
        SELECT executions.id, executions.workspace_id, executions.segment
        FROM executions
        WHERE executions.id = ANY (CAST(:id AS text[])) AND executions.status = 'running'
        ORDER BY executions.id DESC FOR SHARE
    )
    INSERT INTO events (execution_id, seq, segment, kind, data, at)
    SELECT
        running.id,
        (SELECT coalesce(max(events.seq), 0) FROM events WHERE events.execution_id = running.id)
            + sum(given.pieces) OVER (PARTITION BY running.id ORDER BY given.number),
        running.segment, given.kind, given.data, given.at
    FROM given JOIN running ON running.id = given.id
        AND running.workspace_id = given.workspace AND running.segment = given.segment
    RETURNING events.execution_id, events.segment, events.seq
    """
).columns(events.c.execution_id, events.c.segment, events.c.seq)
"""Appends text of many segments: each parameter is an array with one element per append."""

DELETE_LAST_TEXTS: Final = text(
    """
    DELETE FROM events
    USING unnest(CAST(:id AS text[]), CAST(:pieces AS bigint[])) AS given (id, pieces)
    WHERE events.execution_id = given.id AND events.kind IN ('text.added', 'thinking.added')
        AND events.seq > (
            SELECT log.seq FROM events AS log
            WHERE log.execution_id = given.id AND log.seq = (
                SELECT max(piece.seq) - given.pieces FROM events AS piece
                WHERE piece.execution_id = given.id
            ) AND NOT EXISTS (
                SELECT FROM events AS other WHERE other.execution_id = given.id
                    AND other.seq > log.seq AND other.kind NOT IN ('text.added', 'thinking.added')
            )
        )
    RETURNING events.execution_id, events.seq
    """
).columns(events.c.execution_id, events.c.seq)
"""Deletes the last pieces of several logs: each parameter is an array."""

_moved: Final = ADVANCED.returning(
    executions.c.id,
    executions.c.cancel_requested,
    LAST_SEQ.label("seq"),
    APPLYING.label("applying"),
).cte("moved")

_appended: Final = (
    insert(events)
    .from_select(
        ["execution_id", "seq", "segment", "kind", "data", "at"],
        select(
            _moved.c.id,
            _moved.c.seq + bindparam("pieces", type_=BigInteger()),
            bindparam("segment", type_=BigInteger()),
            bindparam("kind", type_=events.c.kind.type),
            bindparam("data", type_=events.c.data.type),
            bindparam("at", type_=BigInteger()),
        ),
    )
    .returning(events.c.seq)
    .cte("appended")
)

BEGIN_ONE: Final = select(_moved.c.id, _moved.c.seq, _moved.c.applying).add_cte(_appended)

ADVANCE_AND_APPEND: Final = Statement(
    select(_moved.c.cancel_requested, _moved.c.seq, _moved.c.applying).add_cte(_appended)
)
"""`ADVANCE_EXECUTION`, and one event appended to the log if it has changed the row."""
