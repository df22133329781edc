"""Agents and their immutable versions."""

from dataclasses import replace
from functools import cache
from typing import Any, Final

import orjson
from sqlalchemy import (
    Column,
    Index,
    Integer,
    Table,
    Text,
    UniqueConstraint,
    and_,
    bindparam,
    insert,
    null,
    select,
    update,
)
from sqlalchemy.sql.expression import ColumnElement

from outlast.model.agent import MADE_OVER_HTTP, Agent, AgentsFile, AgentSpec
from outlast.model.error import AgentNotFound, InvalidId, Misconfigured
from outlast.model.ids import AGENT, parse
from outlast.model.spec_json import spec_from_dict, spec_to_dict
from outlast.store.driver import Driver, Query, Row, Statement, Transaction, TransactionResult
from outlast.store.page import Page
from outlast.store.tables import flag, identifier, json, metadata, time, to_json
from outlast.store.workspaces import workspaces

agents: Final = Table(
    "agents",
    metadata,
    identifier("id", primary_key=True),
    identifier("workspace_id"),
    Column("name", Text, nullable=False),
    Column("version", Integer, nullable=False),
    flag("paused"),
    time("created_at"),
    time("updated_at"),
    # Since 0007:
    time("retired_at", nullable=True),
    Column("source", Text, nullable=False, server_default="file"),
    UniqueConstraint("workspace_id", "name"),
    Index(None, "workspace_id", "id"),
)

agent_versions: Final = Table(
    "agent_versions",
    metadata,
    identifier("agent_id", primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("digest", Text, nullable=False),
    json("spec"),
    time("created_at"),
)

agents_files: Final = Table(
    "agents_files",
    metadata,
    identifier("workspace_id", primary_key=True),
    Column("source", Text, primary_key=True),
    Column("digest", Text, primary_key=True),
    time("created_at"),
)
"""Digests of contents that agents files have had, to tell a server that starts late with an old
file from one with a new file."""

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
"""Locks an agent: no other process adds a version until this transaction ends."""

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
"""Marks an agent as in use: a file names it."""

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
"""Selects agents in use, locked in the order of their ids, so that two servers that start at once
cannot deadlock."""

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
"""Locks a workspace: concurrent starts change its agents one after the other."""


@cache
def list_agents(filters: frozenset[str], *, backwards: bool) -> Statement:
    """Select a page by keyset."""
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


def _put(
    workspace_id: str, new_id: str, spec: AgentSpec, digest: str, at: int, source: str
) -> Transaction[Agent]:
    """Insert version 1, or the next version if the digest differs from the newest.

    A retired agent is in use again.
    """
    named = {"workspace": workspace_id, "name": spec.name}
    yield Query(LOCK_AGENT, named)
    rows = yield Query(AGENT_BY_NAME, named)
    if not rows:
        yield Query(INSERT_AGENT, _agent_columns(workspace_id, new_id, spec, at, source))
        yield Query(INSERT_AGENT_VERSION, _version_columns(new_id, 1, spec, digest, at))
        return TransactionResult(Agent(new_id, workspace_id, 1, spec, at, at, source=source))
    known, known_digest = _agent_from(rows[0]), rows[0][-1]
    if known.retired_at is not None or known.source != source:
        of = {"agent": known.id, "workspace": workspace_id}
        yield Query(USE_AGENT, of | {"new_source": source})
        known = replace(known, retired_at=None, source=source)
    if known_digest == digest:
        return TransactionResult(known)
    rows = yield Query(NEXT_AGENT_VERSION, {"agent": known.id, "workspace": workspace_id, "at": at})
    version = rows[0][0]
    yield Query(INSERT_AGENT_VERSION, _version_columns(known.id, version, spec, digest, at))
    return TransactionResult(replace(known, version=version, spec=spec, updated_at=at))


def _retire_unnamed(request: AgentsFile) -> Transaction[list[str]]:
    """Retire the agents of files that the file no longer names; return their names."""
    of = {"workspace": request.workspace_id}
    yield Query(LOCK_WORKSPACE, of)
    content = of | {"source": request.source, "digest": request.digest}
    known = yield Query(AGENTS_FILE, content)
    if not known:
        row = {"workspace_id": request.workspace_id, "created_at": request.at}
        yield Query(INSERT_AGENTS_FILE, row | {"source": request.source, "digest": request.digest})
    elif not request.alone:
        return TransactionResult([])
    retired: list[str] = []
    for agent_id, name, source in (yield Query(AGENTS_IN_USE, of)):
        of_a_file = source != MADE_OVER_HTTP and (request.alone or source == request.source)
        if name not in request.names and of_a_file:
            yield Query(RETIRE_AGENT, of | {"agent": agent_id, "at": request.at})
            retired.append(name)
    return TransactionResult(retired)


def _retire(workspace_id: str, agent_id: str, at: int | None) -> Transaction[None]:
    """Retire an agent, or with None put it back into use."""
    yield Query(RETIRE_AGENT, {"workspace": workspace_id, "agent": agent_id, "at": at})
    return TransactionResult(None)


def _agent_columns(
    workspace_id: str, new_id: str, spec: AgentSpec, at: int, source: str
) -> dict[str, Any]:
    return {
        "id": new_id,
        "workspace_id": workspace_id,
        "name": spec.name,
        "version": 1,
        "paused": False,
        "created_at": at,
        "updated_at": at,
        "retired_at": None,
        "source": source,
    }


def _version_columns(
    agent_id: str, version: int, spec: AgentSpec, digest: str, at: int
) -> dict[str, Any]:
    return {
        "agent_id": agent_id,
        "version": version,
        "digest": digest,
        "spec": to_json(spec_to_dict(spec)),
        "created_at": at,
    }


def _agent_from(row: Row) -> Agent:
    """Return the agent of the columns of the agent statements."""
    agent_id, workspace_id, version, spec, created_at, updated_at, paused, retired, source, _ = row
    return Agent(
        agent_id,
        workspace_id,
        version,
        _spec_from(agent_id, version, spec),
        created_at,
        updated_at,
        bool(paused),
        retired,
        source,
    )


def _spec_from(agent_id: str, version: int, text: str) -> AgentSpec:
    try:
        return spec_from_dict(orjson.loads(text))
    except (TypeError, KeyError, ValueError) as error:
        raise Misconfigured(
            f"Version {version} of agent {agent_id} was written by a newer Outlast; "
            "this one does not know all of it."
        ) from error


def _get(workspace_id: str, agent_id: str | None, name: str) -> Transaction[Agent]:
    """Read the newest version, by name and then by id."""
    rows = yield Query(AGENT_BY_NAME, {"workspace": workspace_id, "name": name})
    if not rows and agent_id is not None:
        rows = yield Query(AGENT_BY_ID, {"workspace": workspace_id, "id": agent_id})
    if not rows:
        raise AgentNotFound(f"There is no agent {name[:80]!r}.")
    return TransactionResult(_agent_from(rows[0]))


def _name(workspace_id: str, agent_id: str) -> Transaction[str]:
    """Read the name, which is the same in all versions."""
    rows = yield Query(AGENT_NAME, {"workspace": workspace_id, "id": agent_id})
    if not rows:
        raise AgentNotFound(f"There is no agent {agent_id}.")
    return TransactionResult(str(rows[0][0]))


def _version(workspace_id: str, agent_id: str, version: int) -> Transaction[Agent]:
    """Read one immutable version."""
    rows = yield Query(
        AGENT_VERSION, {"workspace": workspace_id, "id": agent_id, "version": version}
    )
    if not rows:
        raise AgentNotFound(f"Agent {agent_id} has no version {version}.")
    return TransactionResult(_agent_from(rows[0]))


def _page(workspace_id: str, page: Page, *, retired: bool) -> Transaction[list[Agent]]:
    """Read a page by keyset, and one more row to tell whether there are more."""
    given = {
        name: value
        for name, value in (("after", page.after), ("before", page.before))
        if value is not None
    }
    filters = frozenset(given) if retired else frozenset({*given, "in_use"})
    rows = yield Query(
        list_agents(filters, backwards=page.backwards),
        given | {"workspace": workspace_id, "limit": page.limit + 1},
    )
    found = [_agent_from(row) for row in rows]
    return TransactionResult(found[::-1] if page.backwards else found)


def _agent_id(text: str) -> str | None:
    try:
        return parse(AGENT, text)
    except InvalidId:
        return None


class AgentStore:
    """Agents and their immutable versions."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver

    async def put(
        self,
        workspace_id: str,
        new_id: str,
        spec: AgentSpec,
        digest: str,
        at: int,
        source: str = "file",
    ) -> Agent:
        """Create the agent of that name, or its next version; the same digest creates none.

        An agent that was retired is in use again.
        """
        return await self._driver.write(
            lambda: _put(workspace_id, new_id, spec, digest, at, source)
        )

    async def retire_unnamed(self, request: AgentsFile) -> list[str]:
        """Retire the agents that a file has named before and no longer names; return their names.

        A content that the file has had before retires no agent, unless the server is `alone`.
        """
        return await self._driver.write(lambda: _retire_unnamed(request))

    async def retire(self, workspace_id: str, agent_id: str, at: int | None) -> None:
        """Retire an agent at this time; None puts it back into use."""
        await self._driver.write(lambda: _retire(workspace_id, agent_id, at))

    async def get(self, workspace_id: str, id_or_name: str) -> Agent:
        """Return the newest version, also of a retired agent. Raises AgentNotFound."""
        return await self._driver.read(
            lambda: _get(workspace_id, _agent_id(id_or_name), id_or_name)
        )

    async def version(self, workspace_id: str, agent_id: str, version: int) -> Agent:
        """Return one version. Raises AgentNotFound."""
        return await self._driver.read(lambda: _version(workspace_id, agent_id, version))

    async def name(self, workspace_id: str, agent_id: str) -> str:
        """Return the agent's name. Raises AgentNotFound."""
        return await self._driver.read(lambda: _name(workspace_id, agent_id))

    async def page(self, workspace_id: str, page: Page, *, retired: bool = False) -> list[Agent]:
        """Return a page, newest first, and one more if there are more. `retired`: those too."""
        return await self._driver.read(lambda: _page(workspace_id, page, retired=retired))
