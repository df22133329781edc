"""Numbers with their units, in words."""

import pytest

from outlast.model.amount import amount
from outlast.model.error import TooManyTurns


@pytest.mark.parametrize(
    ("number", "said"),
    [(1, "1 step"), (1.0, "1 step"), (0, "0 steps"), (2, "2 steps"), (0.5, "0.5 steps")],
)
def test_one_is_singular(number: float, said: str) -> None:
    assert amount(number, "step") == said


def test_a_full_conversation_of_one_turn_is_reported_in_the_singular() -> None:
    assert "has 1 turn waiting" in str(TooManyTurns(1))
    assert "has 1000 turns waiting" in str(TooManyTurns(1000))
