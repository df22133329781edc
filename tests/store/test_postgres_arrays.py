"""Many rows at once on Postgres: an array for each column."""

import psycopg
import pytest

from outlast.store.conversations.rows import INSERT_CONVERSATION, conversations
from outlast.store.driver import Query
from outlast.store.postgres.jobs import END_JOB
from outlast.store.postgres.texts import Texts, array
from outlast.store.waits.rows import RECORD_WAIT, waits
from tests.support.postgres import Databases


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("text", ["", "NULL", 'a "b" \\ c', "{1,2}", "two\nlines, a tab\t", "Grüße 字 🙂", None]),
        ("text", [None, None]),
        ("text", []),
        ("bigint", [1, -(2**62), None]),
        ("boolean", [True, False]),
        ("jsonb", [None]),
    ],
)
def test_values_come_back_from_an_array_as_they_were(
    postgres: Databases, kind: str, values: list[str | int | None]
) -> None:
    with psycopg.connect(postgres.empty(), autocommit=True) as connection:
        row = connection.execute(f"SELECT CAST(%s AS {kind}[])", (array(values),)).fetchone()
    assert row == (values,)


def test_rows_of_one_table_are_inserted_by_one_statement_of_arrays() -> None:
    texts = Texts()
    empty = {column.name: None for column in conversations.c}
    many = [Query(INSERT_CONVERSATION, empty | {"id": f"c{n}"}) for n in range(9)]
    (first, _), (second, parameters) = texts.of(many[:5]), texts.of(many)
    assert first == second
    assert "unnest" in second
    assert parameters[0] == '{"c0","c1","c2","c3","c4","c5","c6","c7","c8"}'
    assert "unnest" not in texts.of(many[:3])[0]
    ended = Query(END_JOB, {"worker": 1, "execution": "e"})
    assert texts.of([*many, ended])[0].startswith("WITH i0 AS (INSERT INTO conversations")


def test_an_upsert_of_many_rows_is_one_statement_of_arrays_too() -> None:
    empty = {column.name: None for column in waits.c}
    many = [Query(RECORD_WAIT, empty | {"tool_call_id": f"c{n}"}) for n in range(9)]
    text, parameters = Texts().of(many)
    assert "unnest" in text
    assert " ON CONFLICT (execution_id, tool_call_id) DO UPDATE SET workspace_id = " in text
    assert parameters[1] == '{"c0","c1","c2","c3","c4","c5","c6","c7","c8"}'
