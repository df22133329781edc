"""Plans: how long conversations are kept, as the operator sets it."""

from typing import Any

import pytest

from outlast.model.error import Misconfigured
from outlast.model.retention import Plans, read_plans
from outlast.model.workspace import MemoryLimits, Plan, Workspace


@pytest.mark.parametrize(
    ("plan", "own", "days"),
    [
        (Plan.STARTER, None, 90),
        (Plan.PROFESSIONAL, None, 180),
        (Plan.ENTERPRISE, None, None),
        (Plan.STARTER, 30, 30),
        (Plan.STARTER, 91, 90),
        (Plan.ENTERPRISE, 7, 7),
    ],
)
def test_a_workspaces_own_days_can_only_shorten_its_plans(
    plan: Plan, own: int | None, days: int | None
) -> None:
    assert Plans().days_of(Workspace("ws_1", "a", 1, plan, own)) == days


def test_the_table_changes_what_it_names() -> None:
    read = read_plans({"default": "starter", "starter": {"retentionDays": "never"}})
    assert read.default is Plan.STARTER
    assert read.days == {Plan.STARTER: None, Plan.PROFESSIONAL: 180, Plan.ENTERPRISE: None}
    assert read_plans({"enterprise": {"retentionDays": 400}}).days[Plan.ENTERPRISE] == 400


def test_the_table_says_what_memory_stores_may_hold() -> None:
    read = read_plans({"starter": {"memoryItems": 100}, "professional": {"memoryBytes": 5}}).memory
    assert read[Plan.STARTER] == MemoryLimits(100, 64 * 1024 * 1024)
    assert read[Plan.PROFESSIONAL] == MemoryLimits(10_000, 5)
    assert read[Plan.ENTERPRISE] == MemoryLimits()


@pytest.mark.parametrize(
    ("table", "complaint"),
    [
        ([], "plans must be a table"),
        ({"gold": {}}, "unknown key 'gold'"),
        ({"default": "gold"}, "plans.default must be one of starter"),
        ({"starter": {"days": 3}}, "unknown key 'days'"),
        ({"starter": {"retentionDays": 0}}, "plans.starter.retentionDays must be a whole number"),
        ({"starter": {"retentionDays": 1.5}}, "must be a whole number"),
        ({"starter": {"retentionDays": True}}, "must be a whole number"),
        ({"starter": {"retentionDays": 10**9}}, "from 1 to 36500"),
        ({"starter": {"retentionDays": "soon"}}, 'or "never"'),
        ({"starter": {"memoryItems": "x"}}, "plans.starter.memoryItems must be a whole number"),
        ({"starter": {"memoryItems": 50_001}}, "from 0 to 50000"),
        ({"starter": {"memoryBytes": True}}, "plans.starter.memoryBytes must be"),
    ],
)
def test_a_table_that_cannot_be_is_refused_and_names_the_entry(table: Any, complaint: str) -> None:
    with pytest.raises(Misconfigured, match=complaint):
        read_plans(table)
