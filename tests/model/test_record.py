"""Records as a tree: whatever is put together adds up, in the order in which it began."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outlast.model.charge import Charge
from outlast.model.error import InvalidId
from outlast.model.execution import Execution, ModelStep, Status, ToolStep
from outlast.model.message import AssistantMessage, Text, ToolCall
from outlast.model.record import ClosedRecord, Part, RecordId, StepRecord, Tree, tree_of
from outlast.model.usage import NO_USAGE

TYPEID = "01k6zj3t7hf2a9q1x5m8r4c0vb"
moments = st.integers(0, 99)
costs = st.integers(0, 2**53)


@st.composite
def families(draw: Any) -> tuple[list[Execution], list[Part]]:
    """Executions, each but the first below an earlier one, and what each has done."""
    executions: list[Execution] = []
    parts: list[Part] = []
    for number in range(draw(st.integers(1, 6))):
        parent = executions and draw(st.sampled_from(executions)).id
        own = draw(st.lists(st.tuples(moments, costs, st.booleans()), max_size=4))
        at = draw(moments)
        execution = Execution(
            f"exec_{number}", "ws", "agt", 1, "conv", 1, Status.COMPLETED, 1, "", at, at,
            parent_id=parent or None, credits=sum(cost for _, cost, _ in own),
        )  # fmt: skip
        executions.append(execution)
        parts += [_part(execution, step, *one) for step, one in enumerate(own)]
    return draw(st.permutations(executions)), parts


def _part(execution: Execution, number: int, at: int, cost: int, closed: bool) -> Part:
    name = f"step_{execution.id}_{number}"
    if closed:
        return ClosedRecord(execution, Charge(name, None, "model", "m", cost, at))
    step = ToolStep(name, number, ToolCall("tc", "t", {}), None, False, at, at)
    return StepRecord(execution, step, cost, superseded=False)


@given(families())
def test_every_node_adds_up_and_its_children_come_as_they_began(
    family: tuple[list[Execution], list[Part]],
) -> None:
    executions, parts = family
    tree = tree_of("exec_0", executions, parts)
    assert _nodes(tree) == len(executions) + len(parts)
    assert tree.record.credits == sum(execution.credits for execution in executions)


def _nodes(tree: Tree) -> int:
    began = [child.record.began for child in tree.children]
    assert began == sorted(began)
    if tree.children:
        assert tree.record.credits == sum(child.record.credits for child in tree.children)
    return 1 + sum(map(_nodes, tree.children))


def test_a_typeid_names_one_thing_and_a_bare_uuid_one_of_two() -> None:
    assert RecordId.parse(f"exec_{TYPEID}") == RecordId(f"exec_{TYPEID}", None)
    assert RecordId.parse(f"STEP_{TYPEID}") == RecordId(None, f"step_{TYPEID}")
    both = RecordId(f"exec_{TYPEID}", f"step_{TYPEID}")
    assert RecordId.parse("0199bf21-e8f1-4894-9b87-a5a23046036b") == both
    assert RecordId.of_message(f"msg_{TYPEID}") == both
    for wrong in ("", "x", "exec_", "step_x", f"agt_{TYPEID}", f"msg_{TYPEID}"):
        with pytest.raises(InvalidId):
            RecordId.parse(wrong)
    with pytest.raises(InvalidId):
        RecordId.of_message(f"exec_{TYPEID}")


def test_a_function_s_decision_to_call_a_tool_is_no_node_beside_the_call() -> None:
    execution = Execution("exec_0", "ws", "agt", 1, "conv", 1, Status.COMPLETED, 1, "", 1, 1)
    call = ToolCall("tc", "t", {})
    decided = ModelStep("step_1", 1, AssistantMessage((call,)), "", NO_USAGE, "tool_calls", 1, 1)
    called = ToolStep("step_2", 2, call, None, False, 1, 2)
    said = ModelStep("step_3", 3, AssistantMessage((Text("So."),)), "", NO_USAGE, "stop", 3, 3)
    parts = [StepRecord(execution, step, 0, False) for step in (decided, called, said)]
    tree = tree_of(execution.id, [execution], parts)
    assert [child.record for child in tree.children] == parts[1:]
