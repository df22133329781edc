"""Budgets while every process dies: they hold what the ledger holds, and keep their bounds."""

import asyncio
from typing import Any, Final

import pytest

from tests.support.deployment import Deployment
from tests.support.waiting import until_found

pytestmark = pytest.mark.anyio

AGENTS: Final = """
agents:
  - name: lead
    model: openai-chat:tools-3
    settings: {maxTokens: 100}
    tools: [{agent: researcher}]
  - name: researcher
    model: openai-chat:tool
    settings: {maxTokens: 100}
    tools:
      - name: count
        description: Count one more
        parameters: {type: object, properties: {}}
        http: {url: "TOOLS", timeout: 50}
        effect: idempotent
"""
TREES: Final = 8
TREE: Final = {"maxCredits": 1, "maxSteps": 20}
"""A tree takes five steps of the root's own, and three of each of its three children."""
SHARED: Final = {"maxCredits": 5, "maxSteps": 100}
"""Less than eight trees would take."""
NANO: Final = 1_000_000_000


@pytest.fixture(scope="module")
async def running(deployment: Deployment) -> Deployment:
    deployment.deploy(AGENTS)
    deployment.provider.delay_ms = 30
    await deployment.start()
    return deployment


async def _start(deployment: Deployment, number: int) -> str:
    body = {"input": f"tree {number}", "background": True, "budget": TREE}
    answer = await deployment.post("/v1/agents/lead/execute", number % 2, **body)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


async def _ended(deployment: Deployment, root: str) -> dict[str, Any] | None:
    found = await deployment.execution(root)
    return found if found["status"] in ("completed", "failed") else None


def _of_owners(deployment: Deployment) -> dict[str, dict[str, int]]:
    """What is spent and reserved in all shares of each budget, and its bounds."""
    rows = deployment.database.rows(
        "SELECT s.owner, CAST(SUM(spent_credits) AS BIGINT), CAST(SUM(spent_steps) AS BIGINT),"
        " CAST(SUM(spent_tokens) AS BIGINT), CAST(SUM(reserved_credits) AS BIGINT),"
        " CAST(SUM(reserved_tokens) AS BIGINT), CAST(SUM(reserved_steps) AS BIGINT),"
        " MIN(max_credits), MIN(max_steps)"
        " FROM budget_shares s JOIN budgets b ON b.owner = s.owner GROUP BY s.owner"
    )
    names = ("credits", "steps", "tokens", "held", "held_tokens", "held_steps")
    return {
        row[0]: dict(zip((*names, "max_credits", "max_steps"), row[1:], strict=True))
        for row in rows
    }


def _executions(deployment: Deployment) -> list[dict[str, Any]]:
    names = ("id", "tree", "credits", "tokens", "steps", "status", "reserved")
    rows = deployment.database.rows(
        "SELECT id, coalesce(root_id, id), credits,"
        " input_tokens + output_tokens + superseded_tokens, steps, status, reserved FROM executions"
    )
    return [dict(zip(names, row, strict=True)) for row in rows]


async def test_budgets_of_trees_whose_processes_die_hold_what_the_ledger_holds(
    running: Deployment,
) -> None:
    deployment, tools, provider = running, running.tools, running.provider
    for owner in ("workspace", "key"):
        path = "/v1/budgets/workspace" if owner == "workspace" else await _path_of_key(deployment)
        answer = await deployment.clients[0].put(path, json=SHARED)
        assert answer.status_code == 200, answer.text
    await deployment.ended(await _start(deployment, 0))
    roots = await asyncio.gather(*(_start(deployment, number) for number in range(1, TREES)))
    for more in (5, 12):  # requests to the provider, and a death while some are answered
        await provider.wait_requests(provider.request_count + more)
        await deployment.again()
    tools.answering.clear()
    known = len(tools.calls)
    await tools.until(lambda: len(tools.calls) > known)
    await deployment.again()
    tools.answering.set()
    ends = [await until_found(lambda root=root: _ended(deployment, root)) for root in roots]  # type: ignore[misc]

    codes = {one["error"]["code"] for one in ends if one["error"] is not None}
    assert codes == {"budget_exceeded"}
    await until_found(lambda: _rests(deployment))
    _agree(deployment)


async def _path_of_key(deployment: Deployment) -> str:
    ((key,),) = deployment.database.rows("SELECT id FROM keys")
    return f"/v1/budgets/{key}"


async def _rests(deployment: Deployment) -> bool:
    return all(one["status"] not in ("queued", "running") for one in _executions(deployment))


def _agree(deployment: Deployment) -> None:
    """The sum of charges is that of executions, trees, the key and the workspace; none is held."""
    charged: dict[str, int] = dict(
        deployment.database.rows(
            "SELECT execution_id, CAST(SUM(credits) AS BIGINT) FROM charges GROUP BY 1"
        )
    )
    found, owners = _executions(deployment), _of_owners(deployment)
    assert sum(charged.values()) > 0
    for one in found:
        assert charged.get(one["id"], 0) == one["credits"]
        assert one["reserved"] is None
    trees = {one["tree"] for one in found}
    shared = [owner for owner in owners if owner not in trees]
    assert len(shared) == 2
    assert set(owners) >= {one["tree"] for one in found if one["id"] != one["tree"]}
    for owner, budget in owners.items():
        of = [one for one in found if owner in shared or one["tree"] == owner]
        for what in ("credits", "tokens", "steps"):
            assert budget[what] == sum(one[what] for one in of), (owner, what)
        assert (budget["held"], budget["held_tokens"], budget["held_steps"]) == (0, 0, 0)
        assert budget["credits"] <= budget["max_credits"]
        assert budget["steps"] <= budget["max_steps"]
