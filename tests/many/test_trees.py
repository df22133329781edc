"""Trees of executions whose workers die: nothing is lost, and nothing runs twice that may not."""

from functools import partial
from typing import Any, Final

import pytest

from tests.support.fleet import Fleet
from tests.support.waiting import until_found

pytestmark = pytest.mark.anyio

TREES: Final = 12
LEVELS: Final = 3


async def below(fleet: Fleet, root: str) -> list[dict[str, Any]]:
    """All executions below a root."""
    answer = await fleet.clients["b"].get("/v1/executions", params={"rootId": root})
    found: list[dict[str, Any]] = answer.json()["data"]
    return found


async def ended(fleet: Fleet, root: str) -> list[dict[str, Any]]:
    """The executions of a tree once its root has ended: all are completed."""
    assert (await fleet.log("a", root)).of("done")
    tree = [await fleet.execution("a", root), *await below(fleet, root)]
    assert [one["status"] for one in tree] == ["completed"] * LEVELS, tree
    return tree


async def asks(fleet: Fleet, root: str, kind: str) -> dict[str, Any] | None:
    """What a root shows to a person, once it is this kind of approval, of one below."""
    for pending in (await fleet.execution("a", root))["pendingApprovals"]:
        if pending["kind"] == kind:
            assert pending["executionId"] != root
            found: dict[str, Any] = pending
            return found
    return None


async def decide(fleet: Fleet, root: str, call: str, **decision: Any) -> None:
    path = f"/v1/executions/{root}/approvals/{call}"
    answer = await fleet.clients["b"].post(path, json=decision)
    assert answer.status_code == 200, answer.text


async def test_trees_whose_workers_die_on_every_level_end_and_call_each_agent_once(
    fleet: Fleet,
) -> None:
    tools = fleet.tools
    known = set(tools.calls)
    tools.answering.clear()
    roots = await fleet.many("upper", TREES)
    await tools.until(lambda: len(set(tools.calls) - known) == TREES * LEVELS)
    keys = set(tools.calls) - known
    await fleet.kill("w1", "w2")
    held = {key for key in keys if tools.callers[key] != ["w3"]}
    of_root = {key for key in held if tools.executions[key] <= set(roots)}
    assert of_root
    assert held - of_root, "workers of parents and of children have died"
    await fleet.start("w1")
    await tools.until(lambda: all(tools.calls[key] == 2 for key in held))
    tools.answering.set()
    for root in roots:
        tree = await ended(fleet, root)
        for one in tree:
            calls = [call["name"] for call in one["toolCalls"]]
            assert sorted(calls) in (["count"], ["count", "middle"], ["count", "idempotent"])
    assert set(tools.calls) - known == keys, "no call was made anew"
    assert not await fleet.orphans()


async def test_a_tree_that_waits_for_a_person_outlasts_all_workers_and_pays_once(
    fleet: Fleet,
) -> None:
    tools, workers = fleet.tools, ("w1", "w2", "w3")
    known = set(tools.calls)
    roots = await fleet.many("chief", 6)
    for root in roots:
        await until_found(partial(asks, fleet, root, "approval"))
    await fleet.kill(*workers)
    tools.answering.clear()
    for root in roots:
        pending = await asks(fleet, root, "approval")
        assert pending is not None
        await decide(fleet, root, pending["toolCallId"], approved=True)
    assert {one["status"] for root in roots for one in await below(fleet, root)} == {
        "queued",
        "running",
    }
    await fleet.start("w1")
    await tools.until(lambda: len(set(tools.calls) - known) == len(roots))
    await fleet.kill("w1")
    tools.answering.set()
    await fleet.start(*workers)
    for root in roots:
        pending = await until_found(partial(asks, fleet, root, "unknown_outcome"))
        assert tools.calls[pending["toolCallId"]] == 1
        await decide(fleet, root, pending["toolCallId"], approved=True, result={"count": 1})
        tree = await ended(fleet, root)
        results = [call["result"] for one in tree for call in one["toolCalls"]]
        assert {"count": 1} in results
    assert all(tools.calls[key] == 1 for key in set(tools.calls) - known), "paid once"
    assert not await fleet.orphans()
