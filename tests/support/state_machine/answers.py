"""What every room and every list answers about one execution."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

import orjson

from outlast.model.execution import Execution
from tests.support.api import Api


@dataclass(frozen=True, slots=True)
class Answers:
    """What every room answers."""

    id: str
    execution: dict[str, Any]
    run: dict[str, Any]
    event: dict[str, Any]
    task: dict[str, Any]
    checkpoints: list[dict[str, Any]]
    conversation: dict[str, Any] | None
    """None for a child's, which no room shows."""
    pending: list[dict[str, Any]]
    """Its open approvals, and those of all below it."""
    record: dict[str, Any]
    """With its children."""
    below: list[dict[str, Any]]
    """All that it has called, and what that has called, as a list shows them."""
    records: dict[str, dict[str, Any]]
    """The records of its children, by id, each found by itself."""
    whole: bool = True
    """Whether nothing below it was deleted, whose credits would count."""

    @property
    def children(self) -> list[dict[str, Any]]:
        """What it has called itself."""
        return [one for one in self.below if one["parentId"] == self.id]

    @property
    def client(self) -> list[dict[str, Any]]:
        """The calls that the client is to run, or to collect input for, here and below."""
        return _client_calls(self.execution)

    @property
    def client_below(self) -> dict[str, str]:
        """Those of all below it, as each shows its own: the execution of each call."""
        return {
            call["toolCallId"]: one["id"]
            for one in self.below
            for call in _client_calls(one)
            if "executionId" not in call
        }


@dataclass(frozen=True, slots=True)
class Lists:
    """What lists of the whole workspace show."""

    events: dict[str, dict[str, Any]]
    """By execution."""
    pending: list[dict[str, Any]]
    whole: frozenset[str] = frozenset()
    """Roots of the trees of which nothing was deleted."""


async def lists_of(api: Api, rows: Iterable[Execution] = ()) -> Lists:
    """Read the lists of the whole workspace, whose executions are these."""
    missing: Counter[str] = Counter()
    for row in rows:
        missing[row.tree] += row.children - (row.parent_id is not None)
    whole = frozenset(tree for tree, number in missing.items() if not number)
    events = await _said(api, "/v1/events", limit=200)
    pending = await _said(api, "/v1/approvals", limit=100)
    assert not events.get("has_more")
    return Lists({event["id"]: event for event in events["data"]}, pending["data"], whole)


def _client_calls(execution: dict[str, Any]) -> list[dict[str, Any]]:
    return [*execution.get("pendingClientCalls", ()), *execution.get("pendingInputs", ())]


async def _said(api: Api, path: str, **params: Any) -> Any:
    answer = await api.get(path, **params)
    assert answer.status_code == 200, (path, answer.text)
    return answer.json()


async def read_answers(api: Api, row: Execution, lists: Lists) -> Answers:
    execution_id, said = row.id, partial(_said, api)
    execution = await said(f"/v1/executions/{execution_id}")
    of_conversation = f"/v1/conversations/{execution['conversationId']}"
    if row.parent_id is not None:
        assert (await api.get(of_conversation)).status_code == 404
    below = await _below(api, row)
    family = {execution_id, *(one["id"] for one in below)}
    records = [
        await said("/api/v1/executions/nestings", executionId=one["id"])
        for one in below
        if one["parentId"] == execution_id
    ]
    return Answers(
        execution_id,
        execution,
        await said(f"/run/api/executions/{execution_id}"),
        lists.events[execution_id],
        (await said(f"/v1/execution/{execution_id}"))["data"],
        (await said(f"/v1/executions/{execution_id}/checkpoints"))["data"],
        await said(of_conversation) if row.parent_id is None else None,
        [one for one in lists.pending if one["executionId"] in family],
        await said("/api/v1/executions/nestings", executionId=execution_id),
        below,
        {one["id"]: one for one in records},
        row.tree in lists.whole or not row.children,
    )


async def _below(api: Api, row: Execution) -> list[dict[str, Any]]:
    """All below an execution, by the lists of children; those of a root by its own list too."""

    async def listed(**wanted: Any) -> list[dict[str, Any]]:
        answer = await api.get("/v1/executions", limit=100, **wanted)
        found: list[dict[str, Any]] = answer.json()["data"]
        return found

    found = await listed(parentId=row.id) if row.children else []
    for one in found:  # grows
        found.extend(await listed(parentId=one["id"]))
    if row.root_id is None:
        of_root = await listed(rootId=row.id)
        assert sorted(map(plain, of_root)) == sorted(map(plain, found))
    return found


def plain(value: Any) -> str:
    """JSON in one order of keys: Postgres keeps none."""
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()
