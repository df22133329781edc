"""What waits for a person outlasts every process, and runs once as the person says."""

import asyncio
from typing import Any, Final

import pytest

from tests.support.deployment import Deployment, Listener, loads

pytestmark = pytest.mark.anyio

AMOUNT: Final = "{type: object, properties: {amount: {type: integer, default: 3}}}"
PAY: Final = f"""
      - name: pay
        description: Pay
        parameters: {AMOUNT}
        http: {{url: "TOOLS", timeout: 100}}
"""
PAYER: Final = f"""
  - name: payer
    model: openai-chat:tool
    instructions: You are the first.
    tools: {PAY}        approval: true
"""
REST: Final = f"""
  - name: repeater
    model: openai-chat:tool
    tools: {PAY}        approval: true
        effect: idempotent
  - name: cashier
    model: openai-chat:tool
    tools: [{{python: "till:pay", approval: true}}]
"""
FIRST: Final = f"agents: {PAYER}{REST}"
SECOND: Final = f"""
agents:
  - name: payer
    model: openai-chat:tool
    instructions: You are the second.
    tools: {PAY}
      - {{builtin: datetime}}
{REST}"""
TILL: Final = '''
from pathlib import Path


def pay(amount: int = 3) -> str:
    """Pay."""
    with Path(__file__).with_name("receipts").open("a") as receipts:
        receipts.write(f"WHO {amount}\\n")
    return "by the WHO"
'''


@pytest.fixture(scope="module")
async def running(deployment: Deployment) -> Deployment:
    _till(deployment, "first")
    deployment.deploy(FIRST)
    await deployment.start()
    return deployment


def _till(deployment: Deployment, who: str) -> None:
    (deployment.folder / "till.py").write_text(TILL.replace("WHO", who))


async def test_what_waits_is_listed_after_every_process_died_and_runs_once_as_decided(
    running: Deployment,
) -> None:
    deployment, amounts, formats = running, (3, 7, 3), ("openai", None, "ui")
    names = [(await deployment.suspended("payer"))["id"] for _ in amounts]
    listeners = [
        Listener(deployment, name, number % 2, spoken)
        for number, (name, spoken) in enumerate(zip(names, formats, strict=True))
    ]
    for listener in listeners:
        await listener.until_suspended()

    await deployment.again()

    await _are_listed(deployment, names)
    coming_back = [asyncio.create_task(listener.whole()) for listener in listeners]
    calls = [(await deployment.pending(name))["toolCallId"] for name in names]
    run = f"/run/api/executions/{names[0]}/approvals/{calls[0]}"
    assert (await deployment.post(run, approved=True)).json() == {"success": True}
    decided = await deployment.decide(names[1], calls[1], True, client=1, parameters={"amount": 7})
    assert decided.json()["effectiveParameters"] == {"amount": 7}
    assert "is approved" in await deployment.command("approve", names[2], "--reason", "fine")

    heard = await asyncio.gather(*coming_back)
    for name, call, amount, spoken, whole in zip(
        names, calls, amounts, formats, heard, strict=True
    ):
        await deployment.ended(name)
        assert whole == await deployment.frames(name, format=spoken)
        log = await deployment.log(name)
        assert [start["parameters"] for start in log.of("tool_call_start")] == [{"amount": amount}]
        assert len(log.of("approval_resolved")) == len(log.of("tool_call_end")) == 1
        assert not log.of("retry")
        assert deployment.tools.arguments[call] == [{"amount": amount}]


async def _are_listed(deployment: Deployment, names: list[str]) -> None:
    """Every list of every API process shows that these wait."""
    for client in range(2):
        page = await deployment.get("/v1/approvals", client, limit=100)
        assert {row["executionId"] for row in page["data"]} >= set(names)
    shown = loads(await deployment.command("approvals", "--limit", "100", "--json"))
    assert {row["executionId"] for row in shown["data"]} >= set(names)
    events = await deployment.get("/v1/events", limit=200)
    details = {event["requestId"]: event["detail"] for event in events["data"]}
    for name in names:
        [approval] = (await deployment.execution(name))["pendingApprovals"]
        assert (approval["name"], approval["kind"]) == ("pay", "approval")
        assert (await deployment.get(f"/run/api/executions/{name}", 1))["status"] == "suspended"
        assert (await deployment.get(f"/v1/execution/{name}"))["data"]["status"] == "paused"
        assert details[name] == "suspended"


async def test_what_waits_keeps_its_version_over_a_deploy_and_what_comes_has_the_new_one(
    running: Deployment,
) -> None:
    deployment = running
    waiting = await deployment.suspended("payer", "the old one")
    till = await deployment.suspended("cashier")
    receipts = deployment.folder / "receipts"
    _till(deployment, "one who came after")

    await deployment.again(SECOND)

    for execution in (waiting, till):
        call = (await deployment.pending(execution["id"]))["toolCallId"]
        assert (await deployment.decide(execution["id"], call, True)).status_code == 200
        ended = await deployment.ended(execution["id"])
        [made] = ended["toolCalls"]
        assert made["id"] == call
        by = {"count": 1} if execution is waiting else "by the one who came after"
        assert made["result"] == by
    assert len(deployment.tools.arguments[waiting["pendingApprovals"][0]["toolCallId"]]) == 1
    assert receipts.read_text() == "one who came after 3\n"
    assert _requests_about(deployment, "the old one") == [("You are the first.", ["pay"])] * 2

    answer = await deployment.post("/v1/agents/payer/execute", input="the new one")
    assert answer.json()["status"] == "completed", answer.text
    assert (
        _requests_about(deployment, "the new one")
        == [("You are the second.", ["pay", "datetime"])] * 2
    )
    assert len(deployment.tools.arguments[answer.json()["toolCalls"][0]["id"]]) == 1


def _requests_about(deployment: Deployment, text: str) -> list[tuple[str, list[str]]]:
    """(instructions, names of the tools) of every model request about this."""
    return [
        (
            approval["messages"][0]["content"],
            [tool["function"]["name"] for tool in approval["tools"]],
        )
        for approval in deployment.provider.requests
        if any(message.get("content") == text for message in approval["messages"])
    ]


async def test_an_approved_call_that_died_needs_a_decision_and_every_answer_ends_it(
    running: Deployment,
) -> None:
    deployment, edited = running, {"amount": 5}
    deployment.deploy(FIRST)
    await deployment.again()
    names = [
        (await deployment.suspended(agent))["id"]
        for agent in ("payer", "payer", "payer", "repeater")
    ]
    calls = [(await deployment.pending(name))["toolCallId"] for name in names]
    deployment.tools.answering.clear()
    for name, call in zip(names, calls, strict=True):
        assert (await deployment.decide(name, call, True, parameters=edited)).status_code == 200
    await deployment.tools.until(lambda: all(deployment.tools.calls[call] == 1 for call in calls))

    await deployment.again()

    await deployment.tools.until(lambda: deployment.tools.calls[calls[3]] == 2)
    for name, call in zip(names[:3], calls, strict=False):
        approval = await deployment.pending(name)
        assert (approval["kind"], approval["toolCallId"]) == ("unknown_outcome", call)
        assert approval["parameters"] == edited
    assert [deployment.tools.calls[call] for call in calls] == [1, 1, 1, 2]
    deployment.tools.answering.set()
    said: list[dict[str, Any]] = [
        {"approved": True, "result": {"paid": 5}},
        {"approved": True},
        {"approved": False, "reason": "Too late."},
    ]
    for name, call, words in zip(names, calls, said, strict=False):
        assert (await deployment.decide(name, call, **words)).status_code == 200
    ended = [await deployment.ended(name) for name in names]
    results = [execution["toolCalls"][0]["result"] for execution in ended]
    assert results[:2] == [{"paid": 5}, {"count": 2}]
    assert "given up" in results[2]
    assert results[2].endswith("Reason: Too late.")
    assert results[3] == {"count": 2}
    assert [deployment.tools.arguments[call] for call in calls] == [
        [edited],
        [edited, edited],
        [edited],
        [edited, edited],
    ]
    assert [len((await deployment.log(name)).of("approval_resolved")) for name in names] == [
        2,
        2,
        2,
        1,
    ]
