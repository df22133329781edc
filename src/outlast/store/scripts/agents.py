"""Transactions on agents and their versions."""

from dataclasses import replace
from typing import Any

import orjson

from outlast.model.agent import Agent, AgentSpec
from outlast.model.error import AgentNotFound, Misconfigured
from outlast.model.spec_json import spec_from_dict, spec_to_dict
from outlast.store.agent_port import AgentsFile
from outlast.store.driver import Query, Row, Transaction, TransactionResult
from outlast.store.page import Page
from outlast.store.statements import agents as sql
from outlast.store.tables import to_json


def put_agent(
    workspace_id: str, new_id: str, spec: AgentSpec, digest: str, at: int, source: str
) -> Transaction[Agent]:
    """Insert version 1, or the next version where the digest differs from the newest.

    A retired agent is in use again.
    """
    named = {"workspace": workspace_id, "name": spec.name}
    yield Query(sql.LOCK_AGENT, named)
    rows = yield Query(sql.AGENT_BY_NAME, named)
    if not rows:
        yield Query(sql.INSERT_AGENT, _agent_columns(workspace_id, new_id, spec, at, source))
        yield Query(sql.INSERT_AGENT_VERSION, _version_columns(new_id, 1, spec, digest, at))
        return TransactionResult(Agent(new_id, workspace_id, 1, spec, at, at, source=source))
    known, known_digest = agent_from(rows[0]), rows[0][-1]
    if known.retired_at is not None or known.source != source:
        of = {"agent": known.id, "workspace": workspace_id}
        yield Query(sql.USE_AGENT, of | {"new_source": source})
        known = replace(known, retired_at=None, source=source)
    if known_digest == digest:
        return TransactionResult(known)
    rows = yield Query(
        sql.NEXT_AGENT_VERSION, {"agent": known.id, "workspace": workspace_id, "at": at}
    )
    version = rows[0][0]
    yield Query(sql.INSERT_AGENT_VERSION, _version_columns(known.id, version, spec, digest, at))
    return TransactionResult(replace(known, version=version, spec=spec, updated_at=at))


def retire_unnamed(request: AgentsFile) -> Transaction[list[str]]:
    """Retire the agents that the file no longer names; return their names."""
    of = {"workspace": request.workspace_id}
    yield Query(sql.LOCK_WORKSPACE, of)
    content = of | {"source": request.source, "digest": request.digest}
    known = yield Query(sql.AGENTS_FILE, content)
    if not known:
        row = {"workspace_id": request.workspace_id, "created_at": request.at}
        yield Query(
            sql.INSERT_AGENTS_FILE, row | {"source": request.source, "digest": request.digest}
        )
    elif not request.alone:
        return TransactionResult([])
    retired: list[str] = []
    for agent_id, name, source in (yield Query(sql.AGENTS_IN_USE, of)):
        if name not in request.names and (request.alone or source == request.source):
            yield Query(sql.RETIRE_AGENT, of | {"agent": agent_id, "at": request.at})
            retired.append(name)
    return TransactionResult(retired)


def retire_agent(workspace_id: str, agent_id: str, at: int | None) -> Transaction[None]:
    """Retire an agent, or with None take it back into use."""
    yield Query(sql.RETIRE_AGENT, {"workspace": workspace_id, "agent": agent_id, "at": at})
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


def agent_from(row: Row) -> Agent:
    """Read the columns of the agent statements."""
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


def agent(workspace_id: str, agent_id: str | None, name: str) -> Transaction[Agent]:
    """The newest version, by name and then by id."""
    rows = yield Query(sql.AGENT_BY_NAME, {"workspace": workspace_id, "name": name})
    if not rows and agent_id is not None:
        rows = yield Query(sql.AGENT_BY_ID, {"workspace": workspace_id, "id": agent_id})
    if not rows:
        raise AgentNotFound(f"There is no agent {name[:80]!r}.")
    return TransactionResult(agent_from(rows[0]))


def agent_name(workspace_id: str, agent_id: str) -> Transaction[str]:
    """The name, which stays the same over all versions."""
    rows = yield Query(sql.AGENT_NAME, {"workspace": workspace_id, "id": agent_id})
    if not rows:
        raise AgentNotFound(f"There is no agent {agent_id}.")
    return TransactionResult(str(rows[0][0]))


def agent_version(workspace_id: str, agent_id: str, version: int) -> Transaction[Agent]:
    """One immutable version."""
    rows = yield Query(
        sql.AGENT_VERSION, {"workspace": workspace_id, "id": agent_id, "version": version}
    )
    if not rows:
        raise AgentNotFound(f"Agent {agent_id} has no version {version}.")
    return TransactionResult(agent_from(rows[0]))


def agents(workspace_id: str, page: Page, *, retired: bool) -> Transaction[list[Agent]]:
    """A page by keyset, and one row more to tell whether there are more."""
    given = {
        name: value
        for name, value in (("after", page.after), ("before", page.before))
        if value is not None
    }
    filters = frozenset(given) if retired else frozenset({*given, "in_use"})
    rows = yield Query(
        sql.list_agents(filters, backwards=page.backwards),
        given | {"workspace": workspace_id, "limit": page.limit + 1},
    )
    found = [agent_from(row) for row in rows]
    return TransactionResult(found[::-1] if page.backwards else found)
