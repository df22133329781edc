"""Cases that `make hostile` alone runs: they take many seconds beside one that always runs."""

import os
from collections.abc import Sequence
from typing import Final, TypeVar

T = TypeVar("T")

WHOLE: Final = os.environ.get("OUTLAST_HOSTILE") == "whole"


def first_of(cases: Sequence[T]) -> Sequence[T]:
    """Return the first case alone, except where everything is to run."""
    return cases if WHOLE else cases[:1]
