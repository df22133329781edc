"""Statements on agents and their versions."""

from functools import cache
from typing import Final

from sqlalchemy import and_, bindparam, insert, null, select, update
from sqlalchemy.sql.expression import ColumnElement

from outlast.store.driver import Statement
from outlast.store.keys import workspaces
from outlast.store.schema import agent_versions, agents, agents_files

_agent: Final = select(
    agents.c.id,
    agents.c.workspace_id,
    agent_versions.c.version,
    agent_versions.c.spec,
    agents.c.created_at,
    agents.c.updated_at,
    agents.c.paused,
    agents.c.retired_at,
    agents.c.source,
    agent_versions.c.digest,
)

_newest: Final = and_(
    agent_versions.c.agent_id == agents.c.id, agent_versions.c.version == agents.c.version
)

AGENT_BY_NAME: Final = Statement(
    _agent.join(agent_versions, _newest).where(
        agents.c.workspace_id == bindparam("workspace"), agents.c.name == bindparam("name")
    )
)

LOCK_AGENT: Final = Statement(
    select(agents.c.id)
    .where(agents.c.workspace_id == bindparam("workspace"), agents.c.name == bindparam("name"))
    .with_for_update()
)
"""No other process makes a version of this agent until this transaction ends."""

AGENT_BY_ID: Final = Statement(
    _agent.join(agent_versions, _newest).where(
        agents.c.workspace_id == bindparam("workspace"), agents.c.id == bindparam("id")
    )
)

AGENT_NAME: Final = Statement(
    select(agents.c.name).where(
        agents.c.workspace_id == bindparam("workspace"), agents.c.id == bindparam("id")
    )
)

AGENT_VERSION: Final = Statement(
    _agent.join(agent_versions, agent_versions.c.agent_id == agents.c.id).where(
        agents.c.workspace_id == bindparam("workspace"),
        agents.c.id == bindparam("id"),
        agent_versions.c.version == bindparam("version"),
    )
)

INSERT_AGENT: Final = Statement(insert(agents))

INSERT_AGENT_VERSION: Final = Statement(insert(agent_versions))

NEXT_AGENT_VERSION: Final = Statement(
    update(agents)
    .where(agents.c.id == bindparam("agent"), agents.c.workspace_id == bindparam("workspace"))
    .values(version=agents.c.version + 1, updated_at=bindparam("at"))
    .returning(agents.c.version)
)


USE_AGENT: Final = Statement(
    update(agents)
    .where(agents.c.id == bindparam("agent"), agents.c.workspace_id == bindparam("workspace"))
    .values(retired_at=null(), source=bindparam("new_source"))
)
"""A file names it: it is in use."""

RETIRE_AGENT: Final = Statement(
    update(agents)
    .where(agents.c.id == bindparam("agent"), agents.c.workspace_id == bindparam("workspace"))
    .values(retired_at=bindparam("at"))
)

AGENTS_IN_USE: Final = Statement(
    select(agents.c.id, agents.c.name, agents.c.source)
    .where(agents.c.workspace_id == bindparam("workspace"), agents.c.retired_at.is_(None))
    .order_by(agents.c.id)
    .with_for_update()
)
"""Locked in the order of their ids, so that two servers that start at once wait for each other."""

INSERT_AGENTS_FILE: Final = Statement(insert(agents_files))

AGENTS_FILE: Final = Statement(
    select(agents_files.c.created_at).where(
        agents_files.c.workspace_id == bindparam("workspace"),
        agents_files.c.source == bindparam("source"),
        agents_files.c.digest == bindparam("digest"),
    )
)

LOCK_WORKSPACE: Final = Statement(
    select(workspaces.c.id).where(workspaces.c.id == bindparam("workspace")).with_for_update()
)
"""Starts that settle the agents of a workspace wait for each other."""


@cache
def list_agents(filters: frozenset[str], *, backwards: bool) -> Statement:
    """One page by keyset."""
    conditions: dict[str, ColumnElement[bool]] = {
        "after": agents.c.id < bindparam("after"),
        "before": agents.c.id > bindparam("before"),
        "in_use": agents.c.retired_at.is_(None),
    }
    return Statement(
        _agent.join(agent_versions, _newest)
        .where(
            agents.c.workspace_id == bindparam("workspace"),
            *(conditions[name] for name in sorted(filters)),
        )
        .order_by(agents.c.id.asc() if backwards else agents.c.id.desc())
        .limit(bindparam("limit"))
    )
