"""Thinking that a model writes into its text is thinking, however its text is cut."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outlast.agents.models.assemble import Spoken
from outlast.agents.models.thought_tags import ThoughtTags, collect
from outlast.model.message import Part, Text, Thinking

CASES: dict[str, tuple[Part, ...]] = {
    "<think>Let me think.</think>Hello": (Thinking("Let me think."), Text("Hello")),
    "\n<think>\nLet me.\n</think>\n\nHello ": (Thinking("\nLet me.\n"), Text("Hello ")),
    "<think></think>\n\nHello": (Text("Hello"),),
    "<think>a < b </thin </think>c</think>": (Thinking("a < b </thin "), Text("c</think>")),
    "<think>cut off </thi": (Thinking("cut off </thi"),),
    "<think>done</think>\n": (Thinking("done"),),
    "<think>one</think><think>two</think>": (Thinking("one"), Text("<think>two</think>")),
    "Tags are <think>x</think>.": (Text("Tags are <think>x</think>."),),
    " <thinking>": (Text(" <thinking>"),),
    " <thi": (Text(" <thi"),),
    "  ": (Text("  "),),
    "no opening tag</think>Hello": (Text("no opening tag</think>Hello"),),
}


def split(pieces: list[str]) -> tuple[Part, ...]:
    spoken, tags = Spoken(), ThoughtTags()
    for piece in pieces:
        collect(spoken, tags.feed(piece))
    collect(spoken, tags.finish())
    return tuple(spoken.parts())


@pytest.mark.parametrize("written", CASES)
def test_tags_at_the_beginning_are_thinking(written: str) -> None:
    assert split([written]) == CASES[written]
    assert split(list(written)) == CASES[written]


@given(st.sampled_from(list(CASES)), st.lists(st.integers(0, 40), max_size=4).map(sorted))
def test_it_does_not_matter_where_the_text_is_cut(written: str, cuts: list[int]) -> None:
    ends = [*cuts, len(written)]
    starts = [0, *cuts]
    assert split([written[a:b] for a, b in zip(starts, ends, strict=True)]) == CASES[written]


def test_text_without_tags_is_not_held_back() -> None:
    tags = ThoughtTags()
    assert [piece.text for piece in tags.feed("<b>")] == ["<b>"]
    assert tags.over
