"""The log's vocabulary is written and read without loss, and cut anywhere."""

import dataclasses
from collections.abc import Sequence

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from outlast.model.error import InvalidCursor
from outlast.model.event import (
    KINDS,
    START,
    Cursor,
    Entry,
    Event,
    ExecutionCompleted,
    ExecutionCreated,
    ExecutionPaused,
    ExecutionStarted,
    ModelFinished,
    StepRetried,
    TextAdded,
    ThinkingAdded,
    ToolFinished,
    expand,
)
from outlast.model.event_codec import decode, encode
from outlast.model.image import Image

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
objects = st.dictionaries(st.text(), json_values, max_size=3)
texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=5)


def events() -> st.SearchStrategy[Event]:
    """Any event of any kind."""
    of_type = {
        "pieces": st.lists(texts, min_size=1, max_size=5).map(tuple),
        "metadata": objects,
        "parameters": objects,
        "result": json_values,
        "images": st.lists(st.builds(Image, texts, texts, st.integers(0, 2**40))).map(tuple),
    }
    plain = {
        "int": st.integers(0, 2**40),
        "str": texts,
        "bool": st.booleans(),
        "str | None": st.none() | texts,
        "dict[str, Any] | None": st.none() | objects,
    }

    def built(kind: type[Event]) -> st.SearchStrategy[Event]:
        fields = {
            field.name: of_type.get(field.name)
            if field.name in of_type and "None" not in str(field.type)
            else plain.get(_written(field.type), json_values)
            for field in dataclasses.fields(kind)
        }
        return st.builds(kind, **{name: s for name, s in fields.items() if s is not None})

    return st.one_of([built(kind) for kind in KINDS.values()])


def _written(annotation: object) -> str:
    name = getattr(annotation, "__name__", None)
    return name if isinstance(annotation, type) and name else str(annotation).replace("typing.", "")


@given(events())
def test_every_event_is_read_as_it_was_written(event: Event) -> None:
    assert decode(event.kind, encode(event)) == event


def test_every_kind_has_a_name_of_its_own() -> None:
    assert len(KINDS) == len(Event.__args__)
    assert set(KINDS.values()) == set(Event.__args__)


def log_of(runs: Sequence[Sequence[str]]) -> list[Entry]:
    """A log with a text entry for every run of pieces."""
    entries = [
        Entry(0, 1, 1, ExecutionCreated("agt_1", 1, "conv_1")),
        Entry(1, 2, 1, ExecutionStarted()),
    ]
    seq = 2
    for part, pieces in enumerate(runs):
        seq += len(pieces)
        kind = TextAdded if part % 2 else ThinkingAdded
        entries.append(Entry(1, seq, 1, kind(1, part, tuple(pieces))))
    entries.append(Entry(1, seq + 1, 1, ExecutionCompleted()))
    return entries


@given(st.lists(st.lists(texts, min_size=1, max_size=6), max_size=4), st.data())
def test_a_log_cut_at_any_cursor_goes_on_where_it_was_cut(
    runs: list[list[str]], data: st.DataObject
) -> None:
    log = log_of(runs)
    whole = list(expand(log))
    assert [entry.seq for entry in whole] == list(range(1, len(whole) + 1))
    cut = data.draw(st.integers(0, len(whole)))
    after = whole[cut - 1].cursor if cut else START
    assert list(expand(log, after)) == whole[cut:]


@given(st.integers(0, 10**15 - 1), st.integers(0, 10**15 - 1))
def test_a_cursor_is_read_as_it_was_written(segment: int, seq: int) -> None:
    assert Cursor.parse(str(Cursor(segment, seq))) == Cursor(segment, seq)


@pytest.mark.parametrize("text", ["", "-", "1", "1-", "-1", "a-b", "1-2-3", "١-٢", "1-" + "9" * 19])
def test_a_cursor_that_was_never_given_out_is_refused(text: str) -> None:
    with pytest.raises(InvalidCursor):
        Cursor.parse(text)


def test_a_completion_without_an_output_is_written_as_code_reads_it_that_knows_none() -> None:
    assert encode(ExecutionCompleted()) == b"{}"
    completed = ExecutionCompleted("done")
    assert decode(completed.kind, encode(completed)) == completed


def test_events_from_before_there_were_prices_cost_a_credit_for_a_thousand_tokens() -> None:
    used = {"input_tokens": 30, "output_tokens": 12}
    answer = {"step": 1, "model": "m", "finish_reason": "stop"} | used
    finished = decode("model.finished", orjson.dumps(answer))
    paused = decode("execution.paused", orjson.dumps({"reason": None} | used))
    called = {"tool_call_id": "tc_1", "name": "t", "result": 1, "is_error": False}
    ran = decode("tool.finished", orjson.dumps({"step": 2, "duration_ms": 1} | called))
    assert isinstance(finished, ModelFinished)
    assert isinstance(paused, ExecutionPaused)
    assert isinstance(ran, ToolFinished)
    assert (finished.charged, paused.charged, ran.credits) == (42_000_000, 42_000_000, 0)
    assert dataclasses.replace(finished, credits=0).charged == 0
    assert ExecutionPaused(credits=7).charged == 7


def test_what_a_newer_version_adds_to_an_event_is_not_read() -> None:
    newer = orjson.dumps({"step": 1, "reason": "crash", "mood": "calm"})
    assert decode("step.retried", newer) == StepRetried(1, "crash")
    with pytest.raises(TypeError, match="reason"):
        decode("step.retried", b'{"step": 1, "mood": "calm"}')
