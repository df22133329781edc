"""After a deletion no word of what was said is left, in no table, file or line of the log."""

from pathlib import Path
from typing import Any

import pytest

from outlast import agent_tool
from outlast.agents.port import ModelRequest
from outlast.engine.maintenance.retention import PURGE
from outlast.model.agent import Effect
from outlast.model.execution import Status
from outlast.model.retention import Plans
from outlast.model.wait import Decision
from outlast.model.workspace import Plan
from outlast.services.executions import Idempotency
from outlast.testing import FakeClock
from tests.support.databases import SQLITE, Database
from tests.support.images import Drawing, png
from tests.support.models import Reply, by_turn
from tests.support.tools import call, tool
from tests.support.trees import CHILD, Team, agent, team_on

pytestmark = pytest.mark.anyio

WORD = "pearl"
LEAD = agent(
    "lead",
    agent_tool("worker"),
    tool("pay", Effect.DESTRUCTIVE, approval=True),
    tool("look"),
    tool("draw"),
)
PLAIN = agent("plain")


def lead(request: ModelRequest) -> Reply:
    play = by_turn(
        ["Oh, pearl. ", call(1, "look", pearl="pearl"), call(2, "worker", input="pearl")],
        ["More pearl. ", call(3, "pay", pearl="pearl"), call(4, "draw")],
        ["No more pearl."],
    )
    return play(request)


def tables(database: Database) -> list[str]:
    sqlite = "SELECT name FROM sqlite_master WHERE type = 'table'"
    postgres = "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
    return [name for (name,) in database.rows(sqlite if database.kind == SQLITE else postgres)]


def found_in(database: Database) -> list[str]:
    """The tables, and files of SQLite, that hold the word."""
    found = [
        name for name in tables(database) if WORD in str(database.rows(f'SELECT * FROM "{name}"'))
    ]
    if database.kind == SQLITE:
        path = Path(database.url.removeprefix("sqlite:///"))
        files = (path, path.with_name(path.name + "-wal"))
        found += [one.name for one in files if one.exists() and WORD.encode() in one.read_bytes()]
    return found


async def talk(team: Team, **more: Any) -> str:
    """A turn with the word in all that a caller, a model, a tool and a person can say."""
    given: dict[str, Any] = {
        "metadata": {"source": WORD},
        "session": {WORD: WORD},
        "user": WORD,
        "forwarded_headers": {"X-Word": WORD},
        "instructions": WORD,
        "idempotency": Idempotency(team.caller.key_id, "key", "digest"),
        "chat_id": f"chat of {WORD}",
        "message_id": f"message of {WORD}",
    }
    root = await team.start("lead", WORD, **(given | more))
    await team.until(root, Status.SUSPENDED)
    while (await team.get(root)).awaiting is None or not (
        await team.core.store.waits.of(team.caller.workspace_id, root)
    )[-1].is_approval:
        await team.until(root, Status.SUSPENDED)
    await team.executions.keep_answer(Idempotency(team.caller.key_id, "key", "digest"), WORD)
    await team.executions.pause(team.caller, root, now=True, reason=WORD)
    decision = Decision(approved=True, reason=WORD, parameters={WORD: WORD})
    await team.executions.resume(team.caller, root)
    await team.core.services.approvals.decide(team.caller, root, call(3, "pay").id, decision)
    await team.until(root)
    return root


@pytest.mark.parametrize("how", ["conversation", "retention", "execution"])
async def test_nothing_of_what_was_said_is_left(
    database: Database, how: str, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = FakeClock()
    image = png(text=WORD.encode())
    calls: Any = {"look": lambda _: WORD, "pay": lambda _: {WORD: WORD}, "worker": CHILD}
    tools = Drawing(lambda _: image, **calls)
    plays: Any = {"lead": lead, "worker": lambda _: [WORD], "plain": lambda _: ["Fine."]}
    async with team_on(
        database,
        plays,
        *(LEAD, agent("worker"), PLAIN),
        clock=clock,
        tools=tools,
        plans=Plans(default=Plan.STARTER),
        indexed_metadata="source",
    ) as team:
        await team.core.maintenance.hold(PURGE)
        root = await talk(team)
        conversation = (await team.get(root)).conversation_id
        assert {"executions", "steps", "events", "idempotency", "blobs"} <= {*found_in(database)}
        if how == "conversation":
            await team.core.services.conversations.delete(team.caller, conversation)
        elif how == "execution":
            await team.executions.delete(team.caller, root)
        else:
            clock.advance(90 * 24 * 60 * 60)
            await team.core.maintenance.run(PURGE)
        assert found_in(database) == []
        spent = database.rows("SELECT count(*), sum(credits) FROM charges")
        assert spent[0][0] > 3
    assert found_in(database) == [], "also once the server has ended"
    written = capsys.readouterr()
    assert WORD not in written.out + written.err
    assert "execution.ended" in written.out + written.err
