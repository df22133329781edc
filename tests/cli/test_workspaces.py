"""`outlast workspaces`: plans, and how long they keep conversations."""

import sqlite3
import time
from contextlib import closing

import orjson
import pytest

from outlast.model.retention import DAY_MILLIS
from tests.cli.test_commands import Outlast
from tests.support.command_line import CommandLine
from tests.support.databases import SQLITE

pytestmark = pytest.mark.only(SQLITE)

INSERT = (
    "INSERT INTO conversations (id, workspace_id, agent_id, turns, session, created_at, "
    "last_active_at) VALUES ('conv_1', '{}', 'agt_1', 1, '{{}}', 1, {})"
)


def listed(outlast: Outlast) -> dict[str, tuple[str, int | None]]:
    rows = orjson.loads(outlast("workspaces", "list", "--json")[1])
    return {row["name"]: (row["plan"], row["retentionDays"]) for row in rows}


def test_a_workspace_is_made_with_a_plan_and_keeps_all_without_one(outlast: Outlast) -> None:
    assert outlast("workspaces", "create", "acme")[0] == 0
    assert outlast("workspaces", "create", "shop", "--plan", "professional")[0] == 0
    assert listed(outlast) == {"acme": ("enterprise", None), "shop": ("professional", 180)}
    _, _, noted = outlast("workspaces", "create", "shop", "--plan", "starter")
    assert "outlast workspaces set-plan shop" in noted
    assert listed(outlast)["shop"] == ("professional", 180)


def test_a_plan_is_changed_and_its_days_can_only_be_shortened(outlast: Outlast) -> None:
    outlast("workspaces", "create", "acme")
    code, out, _ = outlast("workspaces", "set-plan", "acme", "starter", "--retention-days", "30")
    assert (code, out.split("\t")[2:]) == (0, ["starter", "30 days\n"])
    assert outlast("workspaces", "set-plan", "acme", "starter")[0] == 0
    assert listed(outlast) == {"acme": ("starter", 90)}
    code, _, err = outlast("workspaces", "set-plan", "acme", "starter", "--retention-days", "91")
    assert (code, "can only shorten" in err) == (2, True)
    assert outlast("workspaces", "set-plan", "acme", "gold")[0] == 2
    assert outlast("workspaces", "set-plan", "other", "starter")[0] == 1


def test_a_plan_by_which_conversations_would_be_deleted_at_once_needs_a_yes(
    outlast: Outlast, command_line: CommandLine
) -> None:
    outlast("workspaces", "create", "acme")
    now = int(time.time() * 1000)
    with closing(sqlite3.connect(command_line.data / "outlast.db")) as file, file:
        ((workspace_id,),) = file.execute("SELECT id FROM workspaces").fetchall()
        file.execute(INSERT.format(workspace_id, now - 91 * DAY_MILLIS))
    code, _, err = outlast("workspaces", "set-plan", "acme", "starter")
    assert (code, "1 conversation of acme" in err, "--yes" in err) == (1, True, True)
    assert listed(outlast) == {"acme": ("enterprise", None)}
    assert outlast("workspaces", "set-plan", "acme", "professional")[0] == 0
    assert outlast("workspaces", "set-plan", "acme", "starter", "--yes")[0] == 0
    assert listed(outlast) == {"acme": ("starter", 90)}
