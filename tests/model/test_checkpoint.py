"""Which memory was written behind which checkpoint."""

from outlast.model.checkpoint import Checkpoint, with_memory
from outlast.model.memory import WrittenMemory


def checkpoint(step: int, *missing: int) -> Checkpoint:
    return Checkpoint(f"cp_{step}_{len(missing)}", "exec_1", step, 1, missing=missing)


def written(step: int) -> WrittenMemory:
    return WrittenMemory(step, "mem_1", "item_1", "k", step, deleted=False)


def test_a_write_stands_at_the_last_checkpoint_before_it() -> None:
    places = [checkpoint(1), checkpoint(2), checkpoint(4)]
    shown = with_memory(places, [written(5), written(2), written(4), written(3)])
    assert [[one.step for one in each.memory] for each in shown] == [[2], [3, 4], [5]]


def test_a_call_that_ended_behind_a_later_one_stands_where_it_was_missing() -> None:
    places = [checkpoint(1), checkpoint(3, 2), checkpoint(3)]
    shown = with_memory(places, [written(2), written(3)])
    assert [[one.step for one in each.memory] for each in shown] == [[3], [2], []]


def test_without_a_write_the_checkpoints_are_as_they_were() -> None:
    places = (checkpoint(1), checkpoint(2))
    assert with_memory(places, []) == places
    assert with_memory([], [written(1)]) == ()
