"""Waits: who or what is to act first, and what is decided when the time is over."""

from itertools import combinations, permutations

import pytest

from outlast.model.wait import (
    AWAITED,
    Awaiting,
    CallResult,
    Decision,
    Wait,
    WaitKind,
    approvals,
    awaited,
    overdue,
)

ORDER = [Awaiting.PERSON, Awaiting.CLIENT, Awaiting.CHILD, Awaiting.TIME]
KIND_OF = {party: kind for kind, party in AWAITED.items()}


def wait(kind: WaitKind, **more: object) -> Wait:
    return Wait("exec_1", f"tc_{kind}", kind, "f", {"a": 1}, 5, **more)  # type: ignore[arg-type]


def test_every_kind_waits_for_one_party() -> None:
    assert set(AWAITED) == set(WaitKind)
    assert set(AWAITED.values()) == set(Awaiting)


@pytest.mark.parametrize("size", range(1, 5))
def test_of_several_a_person_comes_first_then_a_client_then_a_child_then_a_time(size: int) -> None:
    for parties in combinations(ORDER, size):
        for order in permutations(parties):
            assert awaited([wait(KIND_OF[party]) for party in order]) is parties[0]


def test_what_is_decided_or_superseded_awaits_nothing() -> None:
    decided = wait(WaitKind.APPROVAL, decided_at=6, approved=False)
    superseded = wait(WaitKind.CLIENT, superseded=True)
    assert awaited([decided, superseded]) is None
    assert awaited([decided, superseded, wait(WaitKind.TIMER)]) is Awaiting.TIME
    assert awaited([]) is None


@pytest.mark.parametrize("party", [Awaiting.PERSON, Awaiting.CLIENT])
def test_a_child_awaits_whom_it_waits_for_itself(party: Awaiting) -> None:
    asking = wait(WaitKind.CHILD, child_awaits=party)
    assert (asking.awaiting, wait(WaitKind.CHILD).awaiting) == (party, Awaiting.CHILD)
    assert not asking.is_approval


def test_approvals_are_the_waits_for_a_person_and_no_child_s() -> None:
    waits = [wait(kind) for kind in WaitKind]
    found = [one.kind for one in approvals(waits)]
    assert found == [WaitKind.APPROVAL, WaitKind.UNKNOWN_OUTCOME]


@pytest.mark.parametrize("approve", [False, True])
def test_an_approval_that_is_due_is_decided_as_it_says(approve: bool) -> None:
    decision = overdue(wait(WaitKind.APPROVAL, due_at=9, due_approved=approve))
    assert isinstance(decision, Decision)
    assert (decision.approved, bool(decision.reason)) == (approve, True)


def test_a_timer_that_is_due_has_no_result_and_whoever_is_late_gave_none() -> None:
    assert overdue(wait(WaitKind.TIMER, due_at=9)) == CallResult(None)
    for kind in (WaitKind.CLIENT, WaitKind.INPUT, WaitKind.CHILD):
        late = overdue(wait(kind, due_at=9))
        assert isinstance(late, CallResult)
        assert late.is_error
        assert "in time" in late.result
