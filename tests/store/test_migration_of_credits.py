"""What was used before there was a ledger is charged by the migration that makes it."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import orjson
import pytest

from outlast.store import migrations
from tests.support.databases import KINDS
from tests.support.old_databases import Writer, database_of

ERROR = orjson.dumps({"type": "t", "code": "c", "message": "what was said"}).decode()


@pytest.fixture(params=KINDS)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A database as the version before has left it, as SQLAlchemy names it."""
    postgres = partial(request.getfixturevalue, "postgres")
    with database_of("0005", request.param, tmp_path, postgres) as url:
        yield url


@pytest.fixture
def writer(url: str) -> Iterator[Writer]:
    made = Writer(url)
    yield made
    made.close()


def usage(used: int, answered: int) -> dict[str, Any]:
    return {"model": "m", "usage": {"input_tokens": used, "output_tokens": answered}}


def test_old_work_is_charged_a_credit_for_a_thousand_tokens_each_step_by_itself(
    url: str, writer: Writer
) -> None:
    writer.execution("exec_a", (10, 5, 12))
    writer.step("exec_a", 1, "model", **usage(4, 1))
    writer.step("exec_a", 2, "model", **usage(10, 5))
    writer.step("exec_a", 3, "tool", result=1)
    writer.step("exec_a", 4, "model", **usage(0, 0))
    writer.execution("exec_b", (0, 0, 0))
    writer.execution("exec_c", (3, 4, 0), is_purged=True, status="failed", error=ERROR)
    writer.execution("exec_d", (0, 0, 0), status="failed", error=ERROR)

    migrations.upgrade(url)

    assert writer.rows("SELECT id, credits FROM executions ORDER BY id") == [
        ("exec_a", 27_000_000),
        ("exec_b", 0),
        ("exec_c", 7_000_000),
        ("exec_d", 0),
    ]
    charged = writer.rows(
        "SELECT execution_id, step, kind, name, input_tokens, output_tokens, credits, at "
        "FROM charges ORDER BY execution_id, step IS NULL, step"
    )
    assert charged == [
        ("exec_a", 1, "model", "m", 4, 1, 5_000_000, 2),
        ("exec_a", 2, "model", "m", 10, 5, 15_000_000, 3),
        ("exec_a", None, "model", "m", 7, 0, 7_000_000, 9),
        ("exec_c", None, "model", "m", 7, 0, 7_000_000, 9),
    ]
    ids = dict(writer.rows("SELECT step, id FROM charges WHERE step IS NOT NULL"))
    assert ids == {1: "step_exec_a_1", 2: "step_exec_a_2"}
    assert all(row[0].startswith("step_0") for row in writer.rows(_OF_NO_STEP))
    assert writer.rows("SELECT DISTINCT workspace_id FROM charges") == [("ws_1",)]


_OF_NO_STEP = "SELECT id FROM charges WHERE step IS NULL"


def test_what_an_error_of_a_purged_execution_said_is_forgotten(url: str, writer: Writer) -> None:
    writer.execution("exec_c", (3, 4, 0), is_purged=True, status="failed", error=ERROR)
    writer.execution("exec_d", (0, 0, 0), status="failed", error=ERROR)

    migrations.upgrade(url)

    errors = dict(writer.rows("SELECT id, CAST(error AS text) FROM executions"))
    assert orjson.loads(errors["exec_c"]) == orjson.loads(ERROR) | {"message": ""}
    assert orjson.loads(errors["exec_d"]) == orjson.loads(ERROR)


def test_an_execution_has_the_credits_that_its_charges_add_up_to_whatever_was_recorded(
    url: str, writer: Writer
) -> None:
    writer.execution("exec_a", (0, 0, 0), status="cancelled")  # its step was recorded all the same
    writer.step("exec_a", 1, "model", **usage(4, 1))
    writer.execution("exec_b", (-990, 5, 0))  # a provider's negative figure was believed
    writer.step("exec_b", 1, "model", **usage(10, 5))
    writer.step("exec_b", 2, "model", **usage(-1000, 0))
    writer.execution("exec_c", (10**18, 10**18, 0))
    writer.step("exec_c", 1, "model", **usage(10**18, 10**18))
    writer.execution("exec_d", (2, 1, 0))
    writer.step("exec_d", 1, "model", model="m", usage={"input_tokens": 2.5, "output_tokens": 1})
    writer.execution("exec_e", (6, 4, 5), is_purged=True, status="cancelled")
    writer.execution("exec_f", (7, 0, 0))
    writer.step("exec_f", 1, "model", usage={"input_tokens": 7})

    migrations.upgrade(url)

    credits_of = dict(writer.rows("SELECT id, credits FROM executions"))
    charged = dict(
        writer.rows("SELECT execution_id, sum(credits) FROM charges GROUP BY execution_id")
    )
    assert credits_of == charged
    assert credits_of == {
        "exec_a": 5_000_000,
        "exec_b": 15_000_000,
        "exec_c": 2 * 10**17,
        "exec_d": 3_000_000,
        "exec_e": 15_000_000,
        "exec_f": 7_000_000,
    }
