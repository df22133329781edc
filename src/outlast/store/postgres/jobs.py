"""Statements by which a commit of executions changes the queue's table, procrastinate's.

https://procrastinate.readthedocs.io/en/stable/howto/production/migrations.html
"""

from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Enum,
    Integer,
    Text,
    bindparam,
    column,
    delete,
    insert,
    literal_column,
    table,
)
from sqlalchemy.types import TypeEngine

from outlast.model.execution import Execution
from outlast.store.driver import Query, Statement
from outlast.store.tables import JSON, to_json

QUEUE: Final = "outlast"
TASK: Final = "segment"
BEGUN: Final = 1
"""Priority of executions that have begun: they run before others begin."""

_COLUMNS: Final[dict[str, TypeEngine[Any]]] = {
    "queue_name": Text(),
    "task_name": Text(),
    "priority": Integer(),
    "lock": Text(),
    "args": JSON,
    "status": Enum(name="procrastinate_job_status"),
    "worker_id": BigInteger(),
}
_jobs: Final = table("procrastinate_jobs", *(column(name, kind) for name, kind in _COLUMNS.items()))

INSERT_JOB: Final = Statement(insert(_jobs).values({name: bindparam(name) for name in _COLUMNS}))
"""Adds a waiting job, of which the library's trigger notifies workers, or one that a worker has."""

END_JOB: Final = Statement(
    delete(_jobs).where(
        _jobs.c.lock == bindparam("execution"),
        _jobs.c.worker_id == bindparam("worker"),
        _jobs.c.status == literal_column("'doing'"),
    ),
    independent=True,
)
"""Ends the job that a worker has of an execution; a waiting one stays."""


def arguments_of(workspace_id: str, execution_id: str) -> dict[str, str]:
    """Return a job's arguments."""
    return {"workspace": workspace_id, "execution": execution_id}


def job_added(execution: Execution, worker: int | None) -> Query:
    """Return the query that adds a job, this worker's or a waiting one."""
    return Query(
        INSERT_JOB,
        {
            "queue_name": QUEUE,
            "task_name": TASK,
            "priority": BEGUN if execution.segment else 0,
            "lock": execution.id,
            "args": to_json(arguments_of(execution.workspace_id, execution.id)),
            "status": "todo" if worker is None else "doing",
            "worker_id": worker,
        },
    )


def job_ended(execution_id: str, worker: int) -> Query:
    """Return the query that ends the job that the worker has of an execution."""
    return Query(END_JOB, {"execution": execution_id, "worker": worker})
