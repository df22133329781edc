"""Retention over several processes that delete at once, of which some die: all of it, once."""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Final

import httpx2
import pytest

from tests.many.test_trees import asks, decide, ended
from tests.support.fleet import Fleet
from tests.support.long_cases import WHOLE
from tests.support.python_process import PythonProcess
from tests.support.waiting import between_looks, until_found

pytestmark = pytest.mark.anyio

COPIES: Final = 400 if WHOLE else 60
"""Of each of eight conversations with sixteen executions."""
APART: Final = 50
"""Looks between two executions that run meanwhile."""
_TABLES: Final = ("conversations", "executions", "steps", "events", "checkpoints", "charges")
_COPY: Final = """
INSERT INTO {table} SELECT made.*
FROM {table} AS one, generate_series(1, {copies}) AS copy, LATERAL (
    SELECT jsonb_object_agg(name, to_jsonb(one) ->> name || '_' || copy) AS ids
    FROM unnest(ARRAY['id', 'conversation_id', 'execution_id', 'parent_id', 'root_id']) AS name
    WHERE to_jsonb(one) ->> name IS NOT NULL
) AS own, LATERAL jsonb_populate_record(one, own.ids) AS made WHERE {where}
"""
_OF: Final = {
    "conversations": "one.id = ANY(%s)",
    "executions": "one.id = ANY(%s) OR one.root_id = ANY(%s)",
}
_WATCH: Final = """
CREATE TABLE purged_again (execution_id text);
CREATE FUNCTION note_purged_again() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN INSERT INTO purged_again VALUES (OLD.id); RETURN NULL; END $$;
CREATE TRIGGER purged_again AFTER UPDATE ON executions FOR EACH ROW
    WHEN (OLD.is_purged AND NOT (OLD.purging AND NOT NEW.purging))
    EXECUTE FUNCTION note_purged_again();
"""
"""Notes each change of a purged execution that is not the end of its purge."""
_UNWATCH: Final = """
DROP TRIGGER purged_again ON executions; DROP FUNCTION note_purged_again; DROP TABLE purged_again;
"""
_AGE: Final = """
WITH aged AS (
    UPDATE conversations SET last_active_at = last_active_at - 8640000000
    WHERE created_at >= (SELECT min(created_at) FROM conversations WHERE id = ANY(%s))
    RETURNING last_active_at
) SELECT max(last_active_at) + 1 FROM aged
"""
DUE: Final = """
SELECT count(*) FROM conversations AS c WHERE c.last_active_at < %s AND NOT EXISTS (
    SELECT FROM executions AS root
    JOIN executions AS one ON one.id = root.id OR one.root_id = root.id
    WHERE root.conversation_id = c.id AND one.completed_at IS NULL)
"""
CONTENT: Final = """
SELECT count(*) FROM executions AS e JOIN {table} AS one ON one.execution_id = e.id WHERE is_purged
"""
SPENT: Final = "SELECT count(*), sum(credits) FROM charges WHERE at < %s"


@asynccontextmanager
async def starter_plan(fleet: Fleet) -> AsyncIterator[None]:
    """Meanwhile conversations are kept for 90 days, and what is purged twice is noted."""
    await fleet.rows(_WATCH)
    await fleet.rows("UPDATE workspaces SET plan = 'starter'")
    try:
        yield
    finally:
        await fleet.rows("UPDATE workspaces SET plan = 'enterprise'")
        await fleet.rows(_UNWATCH)


@asynccontextmanager
async def purging(fleet: Fleet) -> AsyncIterator[Callable[[], PythonProcess]]:
    """Each call starts a process that deletes what is due without a pause; all end in the end."""
    place = {"OUTLAST_DATABASE_URL": fleet.url, "OUTLAST_DATA_DIR": str(fleet.folder / "purge")}
    made: list[PythonProcess] = []

    def start() -> PythonProcess:
        command = [sys.executable, "-m", "outlast", "purge", "--fast"]
        made.append(PythonProcess(command, env=os.environ | place, stdin=subprocess.DEVNULL))
        return made[-1]

    try:
        yield start
        assert 0 in [await asyncio.to_thread(one.wait) for one in made]
    finally:
        for one in made:
            one.kill()


async def conversations_of(fleet: Fleet, ids: list[str]) -> list[str]:
    found = await fleet.rows("SELECT id, conversation_id FROM executions WHERE id = ANY(%s)", ids)
    return [dict(found)[one] for one in ids]


async def age(fleet: Fleet, conversations: list[str]) -> int:
    """Let these and all later ones be a hundred days older; return when the last was active.

    What tests before this one have made stays as it is, for it would be purged too.
    """
    ((aged,),) = await fleet.rows(_AGE, conversations)
    return int(aged)


async def copy(fleet: Fleet, roots: list[str], copies: int = COPIES) -> None:
    """Copy the conversations of these roots with all that is in them, so many times each."""
    conversations = await conversations_of(fleet, roots)
    tree = "SELECT id FROM executions WHERE id = ANY(%s) OR root_id = ANY(%s)"
    for table in _TABLES:
        where = _OF.get(table, f"one.execution_id IN ({tree})")
        given = [conversations] if table == "conversations" else [roots] * where.count("%s")
        await fleet.rows(_COPY.format(table=table, where=where, copies=copies), *given)


@asynccontextmanager
async def talks(fleet: Fleet, started: list[str]) -> AsyncIterator[None]:
    """Meanwhile executions run that are started at both API processes, one after the other.

    Not as fast as they can: the purge would take as long as the machine is slow, and all are read
    in the end.
    """

    async def talk(api: str) -> None:
        while True:
            with suppress(httpx2.TransportError):  # it may be the one that leads, and is killed
                started.append(await fleet.background(api, "brief"))
                assert (await fleet.log(api, started[-1])).over
            for _ in range(APART):
                await between_looks()

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(talk(api)) for api in ("a", "b")]
        yield
        for task in tasks:
            task.cancel()


async def said_again(fleet: Fleet, conversation: str) -> str | None:
    """A further message; the execution of it, None where the conversation is gone."""
    body = {"input": "Again", "conversationId": conversation, "background": True}
    answer = await fleet.clients["a"].post("/v1/agents/brief/execute", json=body)
    assert answer.status_code in (202, 404), answer.text
    return str(answer.json()["id"]) if answer.status_code == 202 else None


async def end(fleet: Fleet, started: list[str], held: list[str]) -> None:
    """What is not due has lost nothing: it ends, and what waits for a person once it is decided."""
    for one in started:
        assert (await fleet.log("b", one)).of("done")
        assert (await fleet.execution("a", one))["output"]
    for one in held:
        pending = await asks(fleet, one, "approval")
        assert pending is not None
        await decide(fleet, one, pending["toolCallId"], approved=True)
        await ended(fleet, one)
    assert not await fleet.orphans()


async def test_many_processes_that_purge_at_once_delete_all_that_is_due_once_and_no_more(
    fleet: Fleet,
) -> None:
    spoken, trees, held = [
        await fleet.many(agent, count)
        for agent, count in (("brief", 4), ("upper", 4), ("chief", 2))
    ]
    for one in (*spoken, *trees):
        assert (await fleet.log("a", one)).of("done")
    for one in held:
        await until_found(partial(asks, fleet, one, "approval"))
    await copy(fleet, spoken + trees)
    conversations = await conversations_of(fleet, spoken)
    aged = await age(fleet, [*conversations, *await conversations_of(fleet, trees + held)])
    started = await fleet.many("brief", 4)
    ((total,),) = await fleet.rows(DUE, aged)
    assert total >= (COPIES + 1) * 8
    ((now,),) = await fleet.rows(
        "SELECT min(created_at) FROM executions WHERE id = ANY(%s)", started
    )
    spent = await fleet.rows(SPENT, now)

    async def left(share: float) -> bool:
        return bool((await fleet.rows(DUE, aged))[0][0] <= share * total)

    async def emptied() -> bool:
        return not await fleet.rows("SELECT id FROM executions WHERE purging LIMIT 1")

    async with starter_plan(fleet), purging(fleet) as purge, talks(fleet, started):
        first = await fleet.leader()
        await fleet.kill(first)  # its heir looks at once
        heir = await fleet.leader()
        await until_found(partial(left, 1 - 1 / total), steady=True)
        again = [(one, await said_again(fleet, one)) for one in conversations]
        fleet.freeze(heir)
        other = await fleet.leader()
        fleet.thaw(heir)  # in the middle of its own
        victims = [purge(), purge()]
        await until_found(partial(left, 0.7), steady=True)
        victims[0].kill()
        await fleet.kill(heir)
        purge()
        await until_found(partial(left, 0.3), steady=True)
        victims[1].kill()
        await fleet.kill(other)
        await fleet.start(first, heir, other)
        while not await left(0):
            await asyncio.to_thread(purge().wait)
        await until_found(emptied)
        assert await fleet.rows("SELECT execution_id FROM purged_again") == []

    for table in ("events", "checkpoints", "waits"):
        assert await fleet.rows(CONTENT.format(table=table)) == [(0,)], table
    assert await fleet.rows(SPENT, now) == spent
    for turn, (conversation, execution) in zip(spoken, again, strict=True):
        found = await fleet.clients["b"].get(f"/v1/conversations/{conversation}")
        assert found.status_code == (404 if execution is None else 200)
        started += [] if execution is None else [turn, execution]
    await end(fleet, started, held)
