"""Two people decide at once, each over a process of their own: one of them does."""

import asyncio
from collections import Counter
from typing import Any, Final

import httpx2
import pytest

from tests.support.deployment import Deployment, loads

pytestmark = pytest.mark.anyio

PAIRS: Final = 20
AGENTS: Final = """
agents:
  - name: payer
    model: openai-chat:tool
    tools:
      - name: pay
        description: Pay
        parameters: {type: object, properties: {amount: {type: integer, default: 3}}}
        http: {url: "TOOLS", timeout: 100}
        approval: true
"""
Words = dict[str, Any]
DENY: Final[Words] = {"approved": False, "reason": "No."}
FIVE: Final[Words] = {"approved": True, "parameters": {"amount": 5}}
SIX: Final[Words] = {"approved": True, "parameters": {"amount": 6}}


@pytest.fixture(scope="module")
async def running(deployment: Deployment) -> Deployment:
    deployment.deploy(AGENTS)
    await deployment.start()
    return deployment


@pytest.fixture(scope="module")
async def second(running: Deployment) -> tuple[str, httpx2.AsyncClient]:
    """Another user: the id of a key of their own, and their connection to the other process."""
    made = loads(await running.command("keys", "create", "--name", "second", "--json"))
    return made["id"], await running.client_of(made["key"], 1)


async def _waiting(deployment: Deployment, count: int = PAIRS) -> dict[str, str]:
    """So many executions that wait, and their calls."""
    suspended = await asyncio.gather(
        *(deployment.suspended("payer", f"run {n}") for n in range(count))
    )
    return {one["id"]: one["pendingApprovals"][0]["toolCallId"] for one in suspended}


@pytest.mark.parametrize("pair", [(FIVE, DENY), (FIVE, SIX)], ids=["deny", "edit"])
async def test_of_two_contradicting_decisions_at_once_one_stands_and_the_call_runs_once(
    running: Deployment, second: tuple[str, httpx2.AsyncClient], pair: tuple[Words, Words]
) -> None:
    deployment, (key, other) = running, second
    waiting = await _waiting(deployment)

    async def decided(number: int, name: str, call: str) -> tuple[int, int]:
        """Both at once, in turns the one and the other first; their statuses."""
        path = f"/v1/executions/{name}/approvals/{call}"
        asking = [deployment.clients[0].post(path, json=pair[0]), other.post(path, json=pair[1])]
        order = (0, 1) if number % 2 else (1, 0)
        answers = await asyncio.gather(*(asking[n] for n in order))
        answer_of = dict(zip(order, answers, strict=True))
        return answer_of[0].status_code, answer_of[1].status_code

    found = await asyncio.gather(
        *(decided(number, *item) for number, item in enumerate(waiting.items()))
    )
    winners: Counter[int] = Counter()
    for (name, call), statuses in zip(waiting.items(), found, strict=True):
        assert sorted(statuses) == [200, 409]
        winner = statuses.index(200)
        winners[winner] += 1
        await deployment.ended(name)
        words = pair[winner]
        ran = [words["parameters"]] if words["approved"] else []
        assert deployment.tools.arguments.get(call, []) == ran
        [resolved] = (await deployment.log(name)).of("approval_resolved")
        assert (resolved["approved"], resolved["parameters"]) == (
            words["approved"],
            words.get("parameters"),
        )
        assert (resolved["decidedBy"] == key) is (winner == 1)
    assert winners.total() == PAIRS


async def test_two_who_say_the_same_at_once_get_the_same_answer_and_the_call_runs_once(
    running: Deployment, second: tuple[str, httpx2.AsyncClient]
) -> None:
    deployment, (_, other) = running, second
    waiting = await _waiting(deployment)

    async def decided(name: str, call: str) -> list[httpx2.Response]:
        path = f"/v1/executions/{name}/approvals/{call}"
        clients = (deployment.clients[0], other)
        return list(await asyncio.gather(*(client.post(path, json=FIVE) for client in clients)))

    for answers in await asyncio.gather(*(decided(*item) for item in waiting.items())):
        first, last = answers
        assert (first.status_code, last.status_code) == (200, 200)
        assert first.json() == last.json()
    for name, call in waiting.items():
        await deployment.ended(name)
        assert deployment.tools.arguments[call] == [{"amount": 5}]
        assert len((await deployment.log(name)).of("approval_resolved")) == 1


async def test_decisions_that_the_death_of_every_process_cuts_short_stand_or_are_made_again(
    running: Deployment,
) -> None:
    deployment = running
    waiting = await _waiting(deployment, 2 * PAIRS)
    before = deployment.tools.calls.total()
    deciding = [
        asyncio.create_task(_decided(deployment, number % 2, name, call))
        for number, (name, call) in enumerate(waiting.items())
    ]
    await deployment.tools.counted(before + PAIRS // 2)
    await deployment.again()
    stood = [await task for task in deciding]
    for (name, call), status in zip(waiting.items(), stood, strict=True):
        assert status in (200, None)
        if status is None:
            assert (await deployment.decide(name, call, **FIVE)).status_code == 200
    await asyncio.gather(*(_settled(deployment, *item) for item in waiting.items()))
    for name, call in waiting.items():
        assert deployment.tools.arguments[call] == [{"amount": 5}]
        first, *resolved_again = (await deployment.log(name)).of("approval_resolved")
        assert first["parameters"] == {"amount": 5}
        assert len(resolved_again) <= 1


async def _decided(deployment: Deployment, client: int, name: str, call: str) -> int | None:
    """The status of a decision; None where its server died before it answered."""
    try:
        return (await deployment.decide(name, call, client=client, **FIVE)).status_code
    except httpx2.TransportError:
        return None


async def _settled(deployment: Deployment, name: str, call: str) -> None:
    """Say the truth whenever the outcome of a call is requested, until the execution has ended."""
    async with asyncio.timeout(60):
        async for _, data in deployment.stream(name):
            if b'"unknown_outcome"' in data:
                ran: dict[str, Any] = (
                    {"result": {"count": 1}} if deployment.tools.calls[call] else {}
                )
                answer = await deployment.decide(name, call, True, **ran)
                assert answer.status_code == 200, answer.text
    await deployment.ended(name)
