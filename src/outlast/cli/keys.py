"""`outlast keys`: on the database, with or without a running server."""

import asyncio
from datetime import UTC, date, datetime, time
from typing import Annotated, Final

from typer import Argument, Option, Typer, echo

from outlast.cli.options import AsJson, DatabaseUrl, DataDir, Workspace, settings
from outlast.cli.output import note, write_json, write_table
from outlast.model.clock import iso, iso_or_none
from outlast.model.error import InvalidRequest
from outlast.model.workspace import ApiKey, Scope
from outlast.settings import Settings

DEFAULT: Final = "default"

keys = Typer(
    help="API keys in the database: list, create, revoke.",
    no_args_is_help=True,
)


@keys.command("create")
def create_key(
    workspace: Workspace = DEFAULT,
    name: Annotated[str, Option(help="What the key is for.")] = "key",
    scope: Annotated[list[str] | None, Option(help="Repeatable; default: all scopes.")] = None,
    agent: Annotated[
        str | None, Option(help="The agent of requests that name none, by name or id.")
    ] = None,
    expires: Annotated[
        str | None, Option(help="Last valid day (a date, UTC), or an ISO 8601 time.")
    ] = None,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
    json: AsJson = False,
) -> None:
    """Create an API key and show it, once only."""
    chosen = settings(data_dir=data_dir, database_url=database_url)
    key, secret = asyncio.run(
        _create_key(chosen, workspace, name, _scopes(scope), agent, _moment(expires))
    )
    if json:
        write_json({**_key(key, key.created_at), "key": secret})
    else:
        echo(secret)
        note(f"{key.id}: keep it now, it is not shown again.")


@keys.command("list")
def list_keys(
    workspace: Workspace = DEFAULT,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
    json: AsJson = False,
) -> None:
    """List a workspace's keys, without their secrets."""
    chosen = settings(data_dir=data_dir, database_url=database_url)
    found, now = asyncio.run(_keys(chosen, workspace))
    if json:
        write_json([_key(key, now) for key in found])
        return
    write_table(
        ["id", "name", "state", "scopes", "expires", "last used"],
        [
            (
                row.id,
                row.name,
                _state(row, now),
                " ".join(sorted(row.scopes)),
                iso_or_none(row.expires_at),
                iso_or_none(row.last_used_at),
            )
            for row in found
        ],
    )


@keys.command("revoke")
def revoke_key(
    key_id: Annotated[str, Argument(help="The key's id: key_…, as `keys list` shows it.")],
    workspace: Workspace = DEFAULT,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Revoke a key; a running server refuses it within a second."""
    chosen = settings(data_dir=data_dir, database_url=database_url)
    asyncio.run(_revoke(chosen, workspace, key_id))
    echo(f"{key_id} is revoked.")


async def _create_key(
    chosen: Settings,
    workspace: str,
    name: str,
    scopes: frozenset[Scope],
    agent: str | None,
    expires_at: int | None,
) -> tuple[ApiKey, str]:
    from outlast.cli.state import opened

    async with opened(chosen) as state:
        if expires_at is not None and expires_at <= state.clock.now():
            raise InvalidRequest("--expires is in the past.")
        if workspace == DEFAULT:
            owner = await state.workspaces.put(DEFAULT)
        else:
            owner = await state.workspaces.named(workspace)
        agent_id = None if agent is None else (await state.store.agents.get(owner.id, agent)).id
        made = await state.keys.create(
            owner.id, name, scopes, agent_id=agent_id, expires_at=expires_at
        )
        return made.key, made.secret


async def _keys(chosen: Settings, workspace: str) -> tuple[list[ApiKey], int]:
    """Return a workspace's keys, and the time."""
    from outlast.cli.state import opened

    async with opened(chosen, make=False) as state:
        owner = await state.workspaces.named(workspace)
        return await state.keys.of_workspace(owner.id), state.clock.now()


async def _revoke(chosen: Settings, workspace: str, key_id: str) -> None:
    from outlast.cli.state import opened

    async with opened(chosen, make=False) as state:
        owner = await state.workspaces.named(workspace)
        await state.keys.revoke(owner.id, key_id)


def _scopes(names: list[str] | None) -> frozenset[Scope]:
    if not names:
        return frozenset(Scope)
    try:
        return frozenset(Scope(name) for name in names)
    except ValueError as error:
        known = ", ".join(Scope)
        raise InvalidRequest(f"--scope: {error}. There are: {known}.") from error


def _moment(text: str | None) -> int | None:
    """Return milliseconds since the epoch; a date means its end."""
    if text is None:
        return None
    try:
        if len(text) == len("2026-03-15"):
            moment = datetime.combine(date.fromisoformat(text), time.max, UTC)
        else:
            moment = datetime.fromisoformat(text)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        return int(moment.astimezone(UTC).timestamp() * 1000)
    except (ValueError, OverflowError) as error:
        raise InvalidRequest(f"--expires: {text!r} is not a date or an ISO 8601 moment.") from error


def _state(key: ApiKey, now: int) -> str:
    if key.revoked_at is not None:
        return "revoked"
    return "expired" if key.expires_at is not None and key.expires_at <= now else "open"


def _key(key: ApiKey, now: int) -> dict[str, object]:
    return {
        "id": key.id,
        "name": key.name,
        "state": _state(key, now),
        "scopes": sorted(key.scopes),
        "agentId": key.agent_id,
        "createdAt": iso(key.created_at),
        "expiresAt": iso_or_none(key.expires_at),
        "revokedAt": iso_or_none(key.revoked_at),
        "lastUsedAt": iso_or_none(key.last_used_at),
    }
