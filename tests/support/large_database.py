"""A Postgres with a hundred thousand executions, as years of use would leave it."""

from typing import Final

import psycopg

from tests.support.large_memory import MEMORY

EXECUTIONS: Final = 100_000
_ENDED: Final = EXECUTIONS - 3_000
"""The later ones are queued, running and suspended, a third each."""
_WAITS: Final = 10_000
"""Of the last executions; those of suspended ones are open. Half are approvals."""

_EXECUTION = "'exec_' || lpad(n::text, 26, '0')"
_CONVERSATION = "'conv_' || lpad((n / 4)::text, 26, '0')"
_TOOL_CALL = "'tc_' || lpad(n::text, 26, '0')"
_OF_MANY = "'{}_' || lpad((n % {})::text, 26, '0')"
_WORKSPACE = "CASE WHEN n / 4 % 5 < 2 THEN 'ws_big' ELSE 'ws_' || n / 20 % 60 END"
"""One workspace has two of five rows, sixty have the rest; a conversation is in one workspace."""
_FIFTH = "'exec_' || lpad((n * 5)::text, 26, '0')"
_OF_FIFTH = _WORKSPACE.replace("n /", "n * 5 /")
_IMAGE = "'img_' || lpad(n::text, 26, '0')"
_STATUS = f"""
CASE WHEN n > {_ENDED} THEN (ARRAY['queued', 'running', 'suspended'])[1 + n % 3]
    WHEN n % 50 = 0 THEN 'failed' WHEN n % 70 = 0 THEN 'cancelled' ELSE 'completed' END
"""
_OPEN = f"n > {_ENDED - EXECUTIONS + _WAITS} AND (n + {EXECUTIONS - _WAITS}) % 3 = 2"
_KIND = "(ARRAY['approval', 'client', 'approval', 'child', 'approval', 'timer'])[1 + n / 3 % 6]"
_TABLES: Final = {
    "workspaces": (
        1_000,
        {"id": "'ws_' || n", "name": "'w' || n", "plan": "'starter'", "created_at": "n"},
    ),
    "keys": (
        5_000,
        {
            "id": "'key_' || lpad(n::text, 26, '0')",
            "workspace_id": "CASE WHEN n % 1000 = 0 THEN 'ws_big' ELSE 'ws_' || n % 1000 END",
            "name": "'k'",
            "hash": "md5(n::text)",
            "scopes": "'[]'",
            "created_at": "n",
        },
    ),
    "agents": (
        5_000,
        {
            "id": "'agt_' || lpad(n::text, 26, '0')",
            "workspace_id": _WORKSPACE,
            "name": "'a' || n",
            "version": "2",
            "paused": "false",
            "created_at": "n",
            "updated_at": "n",
        },
    ),
    "agent_versions": (
        10_000,
        {
            "agent_id": "'agt_' || lpad((n / 2)::text, 26, '0')",
            "version": "1 + n % 2",
            "digest": "md5(n::text)",
            "spec": "'{}'",
            "created_at": "n",
        },
    ),
    "agents_files": (
        5_000,
        {
            "workspace_id": _WORKSPACE,
            "source": "'agents.yaml'",
            "digest": "md5(n::text)",
            "created_at": "n",
        },
    ),
    "conversations": (
        EXECUTIONS // 4,
        {
            "id": "'conv_' || lpad(n::text, 26, '0')",
            "workspace_id": _WORKSPACE.replace("n /", "n * 4 /"),
            "agent_id": _OF_MANY.format("agt", 100),
            "turns": "4",
            "session": "'{}'",
            "created_at": "n",
            "last_active_at": "n",
            "end_user": "CASE WHEN n % 5 < 3 THEN 'user' || n / 20 END",
        },
    ),
    "executions": (
        EXECUTIONS,
        {
            "id": _EXECUTION,
            "workspace_id": _WORKSPACE,
            "agent_id": _OF_MANY.format("agt", 100),
            "agent_version": "1",
            "conversation_id": _CONVERSATION,
            "turn": "1 + n % 4",
            "parent_id": "CASE WHEN n % 20 = 0 THEN 'exec_' || lpad((n - 1)::text, 26, '0') END",
            "key_id": _OF_MANY.format("key", 100),
            "input": "repeat('said ', 20)",
            "metadata": "'{}'",
            "session": "'{}'",
            "budget": "'{}'",
            "created_at": "n * 1000",
            "status": _STATUS,
            "awaiting": f"CASE WHEN ({_STATUS}) = 'suspended' THEN "
            "(ARRAY['person', 'client', 'child', 'time'])[1 + n / 3 % 4] END",
            "segment": "1",
            "waiting": "false",
            "updated_at": "n * 1000",
            "started_at": "n * 1000",
            "completed_at": f"CASE WHEN n <= {_ENDED} THEN n * 1000 END",
            "error": f"CASE WHEN n % 50 = 0 AND n <= {_ENDED} THEN '{{}}'::jsonb END",
            "input_tokens": "1",
            "output_tokens": "1",
            "cache_read_tokens": "0",
            "cache_write_tokens": "0",
            "usage_estimated": "false",
            "steps": "2",
            "tool_ms": "0",
            "active_ms": "0",
            "cancel_requested": "n % 100 = 0",
            "is_purged": "false",
            "pause_requested": "CASE WHEN n % 100 = 1 THEN '{}'::jsonb END",
            "chat_id": "CASE WHEN n % 5 = 0 THEN 'chat' || n / 20 END",
            "end_user": "CASE WHEN n % 5 < 3 THEN 'user' || n / 20 END",
        },
    ),
    "execution_metadata": (
        EXECUTIONS // 2,
        {
            "workspace_id": _WORKSPACE.replace("n /", "n * 2 /"),
            "name": "'source'",
            "value": "'v' || n % 1000",
            "execution_id": "'exec_' || lpad((n * 2)::text, 26, '0')",
        },
    ),
    "browsers": (
        EXECUTIONS // 5,
        {"execution_id": _FIFTH, "sealed": "'sealed'", "at": "n"},
    ),
    "blobs": (
        EXECUTIONS // 5,
        {
            "workspace_id": _OF_FIFTH,
            "id": _IMAGE,
            "media_type": "'image/png'",
            "size": "4",
            "content": "'\\x00'::bytea",
            "at": "n",
        },
    ),
    "blob_refs": (
        EXECUTIONS // 5,
        {"execution_id": _FIFTH, "blob_id": _IMAGE, "workspace_id": _OF_FIFTH},
    ),
    "tasks": (
        EXECUTIONS // 5,
        {
            "execution_id": _FIFTH,
            "workspace_id": _OF_FIFTH,
            "name": "'t'",
            "description": "''",
            "task_type": "''",
            "config": "'{}'",
            "first_state": "'{}'",
            "attempts": "0",
            "changed": "false",
            "saved_at": "n",
            "due_at": "CASE WHEN n % 1000 = 0 THEN n END",
        },
    ),
    "steps": (
        EXECUTIONS,
        {
            "execution_id": "'exec_' || lpad((n / 2)::text, 26, '0')",
            "number": "1 + n % 2",
            "id": "'step_' || n",
            "kind": "'model'",
            "data": "'{}'",
            "started_at": "n",
            "ended_at": "n",
            "superseded": "false",
        },
    ),
    "charges": (
        EXECUTIONS,
        {
            "execution_id": "'exec_' || lpad((n / 2)::text, 26, '0')",
            "id": "'step_' || n",
            "workspace_id": _WORKSPACE.replace("n /", "n / 2 /"),
            "step": "CASE WHEN n % 1000 > 0 THEN 1 + n % 2 END",
            "kind": "'model'",
            "name": "'m'",
            "input_tokens": "1",
            "output_tokens": "1",
            "credits": "1",
            "at": "n",
        },
    ),
    "budgets": (
        20_000,
        {
            "owner": "CASE WHEN n % 4 = 0 THEN 'conv_' ELSE 'exec_' END "
            "|| lpad((n * 4)::text, 26, '0')",
            "workspace_id": _WORKSPACE.replace("n /", "n * 4 /"),
            "period": "'none'",
            "zone": "'UTC'",
            "max_tokens": "1000",
            "starts_at": "0",
            "shares": "1",
            "is_tree": "n % 4 > 0",
            "created_at": "n",
        },
    ),
    "budget_shares": (
        20_000,
        {
            "owner": "CASE WHEN n % 4 = 0 THEN 'conv_' ELSE 'exec_' END "
            "|| lpad((n * 4)::text, 26, '0')",
            "share": "0",
            **dict.fromkeys(("spent_tokens", "spent_credits", "spent_steps"), "0"),
            **dict.fromkeys(("reserved_tokens", "reserved_credits", "reserved_steps"), "0"),
            "spent_millis": "0",
        },
    ),
    "usage_hours": (
        20_000,
        {
            "workspace_id": "CASE WHEN n % 2 = 0 THEN 'ws_big' ELSE 'ws_' || n / 2 % 1000 END",
            "hour": "n * 3600000::bigint",
            "agent_id": _OF_MANY.format("agt", 9),
            "key_id": "''",
            "kind": "'model'",
            "name": "'m'",
            "input_tokens": "1",
            "output_tokens": "1",
            "credits": "1",
            "charges": "1",
        },
    ),
    "schedules": (
        20_000,
        {
            "id": "'sch_' || lpad(n::text, 26, '0')",
            "workspace_id": _WORKSPACE,
            "agent_id": "'agt_' || lpad((n / 4)::text, 26, '0')",
            "source": "CASE WHEN n % 4 = 0 THEN 'agents.yaml' ELSE 'api:' END",
            "definition": "'{}'",
            "next_at": "n * 1000",
            "last_scheduled": "n",
            "failures": "0",
            "missed": "0",
            "created_at": "n",
            "updated_at": "n",
        },
    ),
    "schedule_runs": (
        20_000,
        {
            "id": "'run_' || lpad(n::text, 26, '0')",
            "workspace_id": _WORKSPACE,
            "schedule_id": "'sch_' || lpad((n / 4)::text, 26, '0')",
            "kind": "'schedule'",
            "at": "n",
            "scheduled_at": "n",
            "execution_id": _EXECUTION,
            "late": "false",
            "missed": "0",
        },
    ),
    "events": (
        EXECUTIONS,
        {
            "execution_id": "'exec_' || lpad((n / 4)::text, 26, '0')",
            "seq": "1 + n % 4",
            "segment": "1",
            "kind": "CASE WHEN n % 2 = 0 THEN 'text.added' ELSE 'model.finished' END",
            "data": "'{}'",
            "at": "n",
        },
    ),
    "checkpoints": (
        EXECUTIONS // 4,
        {
            "execution_id": _EXECUTION,
            "id": "'cp_' || n",
            "step": "2",
            "at": "n",
            "superseded": "false",
        },
    ),
    "waits": (
        _WAITS,
        {
            "execution_id": _EXECUTION.replace("n:", f"(n + {EXECUTIONS - _WAITS}):"),
            "tool_call_id": _TOOL_CALL,
            "workspace_id": _WORKSPACE,
            "kind": _KIND,
            "awaiting": f"CASE ({_KIND}) WHEN 'approval' THEN 'person' WHEN 'timer' THEN 'time' "
            f"ELSE ({_KIND}) END",
            "name": "'pay'",
            "parameters": "'{}'",
            "step": "1",
            "requested_at": "n",
            "due_at": f"CASE WHEN n % 2 = 0 OR ({_KIND}) = 'timer' THEN n * 1000 END",
            "due_approved": "false",
            "decided_at": f"CASE WHEN NOT ({_OPEN}) THEN n END",
            "approved": f"CASE WHEN NOT ({_OPEN}) THEN true END",
            "superseded": "false",
        },
    ),
    **MEMORY,
    "saved_views": (
        20_000,
        {
            "workspace_id": "'ws_' || n % 1000",
            "name": "'view ' || n",
            "filter": "'status:failed'",
            "updated_at": "n",
        },
    ),
    "idempotency": (
        EXECUTIONS // 5,
        {
            "key_id": _OF_MANY.format("key", 100),
            "key": "'i' || n",
            "digest": "md5(n::text)",
            "execution_id": _EXECUTION,
            "created_at": "n * 1000",
        },
    ),
}

_ALL_ROWS: Final = f"""
ALTER TABLE executions ALTER COLUMN workspace_id SET STATISTICS {EXECUTIONS // 300 + 1}
"""
"""Lets ANALYZE read all executions, 300 rows for each unit: a plan must not depend on the sample.

https://www.postgresql.org/docs/current/planner-stats.html; the factor is in Postgres' analyze.c.
"""


def fill(connection: psycopg.Connection[tuple[object, ...]]) -> None:
    """Write all of it into a migrated database, and let the planner see it."""
    for table, (rows, columns) in _TABLES.items():
        names, values = ", ".join(columns), ", ".join(columns.values())
        connection.execute(
            f"INSERT INTO {table} ({names}) SELECT {values} FROM generate_series(1, {rows}) AS n"
        )
    connection.execute(_ALL_ROWS)
    connection.execute("ANALYZE")
