"""`outlast purge` and `outlast vacuum`: delete what is due, and give its space back."""

import asyncio
import sys
from collections.abc import Sequence
from typing import Annotated, Any

from typer import Option, echo

from outlast.cli.options import AsJson, with_settings
from outlast.cli.output import note, write_json, write_table
from outlast.model.clock import iso
from outlast.model.error import Misconfigured
from outlast.settings import Settings

_BATCH = 20
"""Conversations that are deleted before their content is."""
_MEBIBYTE = 1024 * 1024
_POSTGRES = "VACUUM (ANALYZE);"


@with_settings("data_dir", "database_url", "database_direct_url")
def purge(
    chosen: Settings,
    *,
    dry_run: Annotated[
        bool, Option("--dry-run", help="Only show what would be deleted, by workspace and plan.")
    ] = False,
    fast: Annotated[
        bool, Option("--fast", help="Do not pause between transactions: for a quiet database.")
    ] = False,
    json: AsJson = False,
) -> None:
    """Delete conversations past their retention, as servers do.

    It may be stopped at any time, with or without a running server; the next run, or a server,
    goes on.
    """
    if dry_run:
        _show_due(asyncio.run(_due(chosen)), json=json)
        return
    conversations, executions = asyncio.run(_purge(chosen, fast=fast))
    if json:
        write_json({"conversations": conversations, "executions": executions})
    else:
        echo(f"deleted: conversations {conversations}, executions emptied {executions}")


@with_settings("data_dir", "database_url")
def vacuum(chosen: Settings) -> None:
    """Shrink the SQLite file after deletions.

    No server may be running, and the disk needs room for the file twice. On Postgres it writes the
    statement to run.
    """
    if chosen.on_postgres:
        note("Autovacuum does it on Postgres. To do it now, as the owner of the tables:")
        echo(_POSTGRES)
        note(
            "VACUUM FULL gives the space back to the disk, leaves nothing of deleted rows in the "
            "tables' files, and locks the tables meanwhile."
        )
        return
    from outlast.store.sqlite.vacuum import vacuum

    path = chosen.database_path
    if not path.exists():
        raise Misconfigured(f"There is no database at {path}.")
    note(f"vacuuming {path}, {path.stat().st_size / _MEBIBYTE:.1f} MiB")
    done = vacuum(path)
    echo(f"{done.before / _MEBIBYTE:.1f} MiB before, {done.after / _MEBIBYTE:.1f} MiB after")


async def _due(chosen: Settings) -> Sequence[Any]:
    from outlast.cli.state import opened
    from outlast.store.conversations.retention import Cutoffs

    async with opened(chosen, make=False) as state:
        cutoffs = Cutoffs.of(chosen.plans, state.clock.now())
        return await state.store.conversations.sum_due(cutoffs)


def _show_due(found: Sequence[Any], *, json: bool) -> None:
    rows = [
        {
            "workspace": one.workspace,
            "plan": one.plan.value,
            "conversations": one.conversations,
            "turns": one.turns,
            "oldest": iso(one.oldest),
        }
        for one in found
    ]
    if json:
        write_json(rows)
        return
    titles = ["workspace", "plan", "conversations", "turns", "oldest activity"]
    write_table(titles, [list(row.values()) for row in rows])
    if not rows:
        note("Nothing is past its retention.")


async def _purge(chosen: Settings, *, fast: bool) -> tuple[int, int]:
    """Delete all that is due; return how many conversations, and executions of them."""
    from outlast.cli.state import opened
    from outlast.engine.maintenance.retention import SHARE, Retention

    done = [0, 0]

    def progress(conversations: int, executions: int) -> None:
        done[0] += conversations
        done[1] += executions
        if sys.stderr.isatty():
            echo(f"\rconversations {done[0]}, executions {done[1]}", nl=False, err=True)

    async with opened(chosen, make=False) as state:
        share = 1.0 if fast else SHARE
        retention = Retention(
            state.store.conversations, chosen.plans, state.clock, share=share, progress=progress
        )
        while await retention.run(_BATCH):
            pass
    if sys.stderr.isatty() and any(done):
        note("")
    return done[0], done[1]
