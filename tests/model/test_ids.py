"""Ids are read in every spelling and written in one."""

from uuid import UUID

import pytest

from outlast.model.clock import SystemClock
from outlast.model.error import InvalidId
from outlast.model.ids import EXECUTION, from_uuid, parse, to_uuid4
from outlast.testing import FakeClock


def test_every_spelling_of_an_id_is_the_same_id() -> None:
    typeid = SystemClock().new_id(EXECUTION)
    version4 = to_uuid4(typeid)
    version7 = UUID(int=(version4.int & ~(0xF << 76)) | (7 << 76))
    assert version4.version == 4
    spellings = [typeid, typeid.upper(), str(version7), str(version4), version4.hex]
    assert {parse(EXECUTION, spelling) for spelling in spellings} == {typeid}
    assert from_uuid(EXECUTION, version7) == typeid


@pytest.mark.parametrize(
    "text",
    ["", "exec_", "exec_1", "agt_01m82vyvypefp9z2mxzn0a6as6", "x" * 500, "exec_\0", "nonsense"],
)
def test_what_is_not_an_id_is_refused_in_words(text: str) -> None:
    with pytest.raises(InvalidId, match="is not an id of the form exec_"):
        parse(EXECUTION, text)


@pytest.mark.parametrize("clock", [SystemClock(), FakeClock()])
def test_later_ids_sort_behind_earlier_ones(clock: SystemClock | FakeClock) -> None:
    ids = [clock.new_id(EXECUTION) for _ in range(2000)]
    assert ids == sorted(set(ids))
