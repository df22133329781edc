"""A repaired history is one that every provider accepts."""

from hypothesis import given
from hypothesis import strategies as st

from outlast.model.message import (
    AssistantMessage,
    Message,
    Text,
    ToolCall,
    ToolMessage,
    UserMessage,
    repair,
)

names = st.sampled_from(["tc_1", "tc_2", "tc_3", "tc_4"])
calls = st.lists(names, unique=True, max_size=3)
messages: st.SearchStrategy[Message] = st.one_of(
    st.builds(UserMessage, st.just("hi")),
    st.builds(
        lambda text, ids: AssistantMessage(
            (*((Text("x"),) if text else ()), *(ToolCall(i, "f", {}, provider_id="p") for i in ids))
        ),
        st.booleans(),
        calls,
    ),
    st.builds(ToolMessage, names, st.just("f"), st.just(1)),
)


@given(st.lists(messages, max_size=8))
def test_every_call_is_followed_by_its_answer_and_nothing_else_is_lost(
    said: list[Message],
) -> None:
    repaired = repair(tuple(said))
    waiting: list[str] = []
    for message in repaired:
        match message:
            case ToolMessage():
                assert waiting.pop(0) == message.tool_call_id
                assert message.provider_id == "p"
            case AssistantMessage():
                assert not waiting
                assert message.parts
                waiting = [call.id for call in message.tool_calls]
            case UserMessage():
                assert not waiting
    assert not waiting
    kept = [m for m in said if not isinstance(m, ToolMessage) and (m != AssistantMessage(()))]
    assert [m for m in repaired if not isinstance(m, ToolMessage)] == kept


@given(st.lists(messages, max_size=8))
def test_repairing_twice_changes_nothing_more(said: list[Message]) -> None:
    once = repair(tuple(said))
    assert repair(once) == once
