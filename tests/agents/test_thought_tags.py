"""Thinking that a model writes into its text is thinking, however its text is cut."""

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from outlast.agents.models.assemble import Spoken
from outlast.agents.models.openai_chat import OpenAIEndpoint
from outlast.agents.models.thought_tags import ThoughtTags, collect
from outlast.agents.port import TextPiece, ThinkingPiece
from outlast.model.message import Part, Text, Thinking
from tests.support.chat_endpoint import ask, chunk, heard
from tests.support.provider import FakeProvider, Reply

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


def test_an_answer_of_blanks_is_not_held_back_as_a_whole() -> None:
    tags = ThoughtTags()
    shown = [piece.text for _ in range(1_000) for piece in tags.feed("\n")]
    assert "".join(shown) == "\n" * 1_000
    assert len(shown) > 900


@pytest.mark.anyio
async def test_thinking_in_tags_is_thinking_too(
    provider: FakeProvider, endpoint: OpenAIEndpoint
) -> None:
    written = ["<thi", "nk>Let me", " think.</think>\n\n", "Hel", "lo"]
    provider.replies["m"] = Reply(
        (*(chunk({"content": text}) for text in written), chunk({}, "stop"))
    )
    pieces, answer = await heard(endpoint.model("m"), ask())
    assert pieces == [*map(ThinkingPiece, ["Let me", " think."]), *map(TextPiece, ["Hel", "lo"])]
    assert answer.message.parts == (Thinking("Let me think."), Text("Hello"))
    message = {"role": "assistant", "content": "".join(written)}
    body = {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}
    provider.replies["m"] = Reply((orjson.dumps(body),))
    pieces, whole = await heard(endpoint.model("m"), ask())
    assert whole.message == answer.message
    provider.replies["m"] = Reply((chunk({"content": "I <3"}), chunk({"content": " <"}, "stop")))
    pieces, answer = await heard(endpoint.model("m"), ask())
    assert (len(pieces), answer.message.parts) == (2, (Text("I <3 <"),))


@pytest.mark.anyio
async def test_what_is_held_back_as_a_tag_is_said_in_the_end(
    provider: FakeProvider, endpoint: OpenAIEndpoint
) -> None:
    provider.replies["m"] = Reply((chunk({"content": " <th"}), chunk({}, "stop")))
    pieces, answer = await heard(endpoint.model("m"), ask())
    assert (pieces, answer.message.text) == ([TextPiece(" <th")], " <th")
