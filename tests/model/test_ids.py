"""Ids are read in every spelling and written in one."""

import os
from uuid import RFC_4122, UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outlast.model.clock import SystemClock
from outlast.model.error import InvalidId
from outlast.model.ids import EXECUTION, Ids, earliest, from_uuid, parse, to_uuid4
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
    [
        "",
        "exec_",
        "exec_1",
        "agt_01m82vyvypefp9z2mxzn0a6as6",
        "exec_81m82vyvypefp9z2mxzn0a6as6",
        "exec_01m82vyvypefp9z2mxzn0a6asu",
        "exec_01m82vyvypefp9z2mxzn0a6as6\n",
        "a_exec_01m82vyvypefp9z2mxzn0a6as6",
        "_01m82vyvypefp9z2mxzn0a6as6",
        "x" * 500,
        "exec_\0",
        "nonsense",
    ],
)
def test_what_is_not_an_id_is_refused_in_words(text: str) -> None:
    with pytest.raises(InvalidId, match="is not an id of the form exec_"):
        parse(EXECUTION, text)


@pytest.mark.parametrize("clock", [SystemClock(), FakeClock()])
def test_later_ids_sort_behind_earlier_ones(clock: SystemClock | FakeClock) -> None:
    ids = [clock.new_id(EXECUTION) for _ in range(2000)]
    assert ids == sorted(set(ids))


@pytest.mark.parametrize(
    ("uuid", "suffix"),
    [
        ("00000000-0000-0000-0000-000000000000", "00000000000000000000000000"),
        ("00000000-0000-0000-0000-000000000020", "00000000000000000000000010"),
        ("ffffffff-ffff-ffff-ffff-ffffffffffff", "7zzzzzzzzzzzzzzzzzzzzzzzzz"),
        ("0110c853-1d09-52d8-d73e-1194e95b5f19", "0123456789abcdefghjkmnpqrs"),
        ("01890a5d-ac96-774b-bcce-b302099a8057", "01h455vb4pex5vsknk084sn02q"),
    ],
)
def test_a_uuid_is_written_as_the_specification_of_typeids_has_it(uuid: str, suffix: str) -> None:
    assert from_uuid("prefix", UUID(uuid)) == f"prefix_{suffix}"
    assert parse("prefix", f"prefix_{suffix}") == f"prefix_{suffix}"
    assert to_uuid4(f"prefix_{suffix}") == UUID(uuid[:14] + "4" + uuid[15:])


@given(st.integers(0, 2**48 - 2), st.lists(st.integers(0, 3), min_size=1, max_size=30))
def test_an_id_is_a_uuid_of_version_7_of_its_time(millis: int, later: list[int]) -> None:
    ids, before = Ids(), ""
    for more in later:
        millis = min(millis + more, 2**48 - 2)
        made = ids.new(EXECUTION, millis)
        assert earliest(EXECUTION, millis) < made < earliest(EXECUTION, millis + 1)
        assert made > before
        uuid = UUID(int=(to_uuid4(made).int & ~(0xF << 76)) | (7 << 76))
        assert uuid.variant == RFC_4122
        assert from_uuid(EXECUTION, uuid) == made
        before = made


def test_ids_of_one_millisecond_and_of_a_clock_set_back_sort_as_they_were_made() -> None:
    ids = Ids()
    made = [ids.new(EXECUTION, 1_772_000_000_000 - n // 2000) for n in range(5000)]
    assert made == sorted(set(made))
    assert made[-1] < earliest(EXECUTION, 1_772_000_000_010)


def test_what_ids_of_one_millisecond_share_is_their_time_alone() -> None:
    made = [Ids().new("x", 1_772_000_000_000) for _ in range(2000)]
    for place in range(16, 28):
        assert len({one[place] for one in made}) == 32


def test_a_forked_process_makes_other_ids_of_the_same_millisecond() -> None:
    ids = Ids()
    ids.new("x", 1_772_000_000_000)
    reading, writing = os.pipe()
    if (child := os.fork()) == 0:
        os.write(writing, ids.new("x", 1_772_000_000_000).encode())
        os._exit(0)
    os.close(writing)
    of_child = os.read(reading, 100).decode()
    os.close(reading)
    os.waitpid(child, 0)
    assert len(of_child) == len("x_01m82vyvypefp9z2mxzn0a6as6")
    assert of_child != ids.new("x", 1_772_000_000_000)
