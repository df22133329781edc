"""What waits for a person outlasts every process, and runs once as the person says."""

import asyncio
from typing import Any, Final

import pytest

from tests.kills.world import Listener, Site, loads

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
async def running(site: Site) -> Site:
    _till(site, "first")
    site.deploy(FIRST)
    await site.start()
    return site


def _till(site: Site, who: str) -> None:
    (site.folder / "till.py").write_text(TILL.replace("WHO", who))


async def test_what_waits_is_listed_after_every_process_died_and_runs_once_as_decided(
    running: Site,
) -> None:
    site, amounts, formats = running, (3, 7, 3), ("openai", None, "ui")
    names = [(await site.asked("payer"))["id"] for _ in amounts]
    listeners = [
        Listener(site, name, number % 2, spoken)
        for number, (name, spoken) in enumerate(zip(names, formats, strict=True))
    ]
    for listener in listeners:
        await listener.until_asked()

    await site.again()

    await _are_listed(site, names)
    coming_back = [asyncio.create_task(listener.whole()) for listener in listeners]
    calls = [(await site.pending(name))["toolCallId"] for name in names]
    run = f"/run/api/executions/{names[0]}/approvals/{calls[0]}"
    assert (await site.post(run, approved=True)).json() == {"success": True}
    decided = await site.decide(names[1], calls[1], True, door=1, parameters={"amount": 7})
    assert decided.json()["effectiveParameters"] == {"amount": 7}
    assert "is approved" in await site.command("approve", names[2], "--reason", "fine")

    heard = await asyncio.gather(*coming_back)
    for name, call, amount, spoken, whole in zip(
        names, calls, amounts, formats, heard, strict=True
    ):
        await site.ended(name)
        assert whole == await site.frames(name, format=spoken)
        log = await site.log(name)
        assert [start["parameters"] for start in log.of("tool_call_start")] == [{"amount": amount}]
        assert len(log.of("approval_resolved")) == len(log.of("tool_call_end")) == 1
        assert not log.of("retry")
        assert site.tools.arguments[call] == [{"amount": amount}]


async def _are_listed(site: Site, names: list[str]) -> None:
    """Every list of every door tells that these wait."""
    for door in range(2):
        page = await site.get("/v1/approvals", door, limit=100)
        assert {row["executionId"] for row in page["data"]} >= set(names)
    told = loads(await site.command("approvals", "--limit", "100", "--json"))
    assert {row["executionId"] for row in told["data"]} >= set(names)
    events = await site.get("/v1/events", limit=200)
    details = {event["requestId"]: event["detail"] for event in events["data"]}
    for name in names:
        [asked] = (await site.execution(name))["pendingApprovals"]
        assert (asked["name"], asked["kind"]) == ("pay", "approval")
        assert (await site.get(f"/run/api/executions/{name}", 1))["status"] == "suspended"
        assert (await site.get(f"/v1/execution/{name}"))["data"]["status"] == "paused"
        assert details[name] == "suspended"


async def test_what_waits_keeps_its_version_over_a_deploy_and_what_comes_has_the_new_one(
    running: Site,
) -> None:
    site = running
    waiting = await site.asked("payer", "the old one")
    till = await site.asked("cashier")
    receipts = site.folder / "receipts"
    _till(site, "one who came after")

    await site.again(SECOND)

    for execution in (waiting, till):
        call = (await site.pending(execution["id"]))["toolCallId"]
        assert (await site.decide(execution["id"], call, True)).status_code == 200
        ended = await site.ended(execution["id"])
        [made] = ended["toolCalls"]
        assert made["id"] == call
        by = {"count": 1} if execution is waiting else "by the one who came after"
        assert made["result"] == by
    assert len(site.tools.arguments[waiting["pendingApprovals"][0]["toolCallId"]]) == 1
    assert receipts.read_text() == "one who came after 3\n"
    assert _told(site, "the old one") == [("You are the first.", ["pay"])] * 2

    answer = await site.post("/v1/agents/payer/execute", input="the new one")
    assert answer.json()["status"] == "completed", answer.text
    assert _told(site, "the new one") == [("You are the second.", ["pay", "datetime"])] * 2
    assert len(site.tools.arguments[answer.json()["toolCalls"][0]["id"]]) == 1


def _told(site: Site, text: str) -> list[tuple[str, list[str]]]:
    """(instructions, names of the tools) of every model request about this."""
    return [
        (asked["messages"][0]["content"], [tool["function"]["name"] for tool in asked["tools"]])
        for asked in site.provider.requests
        if any(message.get("content") == text for message in asked["messages"])
    ]


async def test_an_approved_call_that_died_is_asked_about_and_every_answer_ends_it(
    running: Site,
) -> None:
    site, edited = running, {"amount": 5}
    site.deploy(FIRST)
    await site.again()
    names = [(await site.asked(agent))["id"] for agent in ("payer", "payer", "payer", "repeater")]
    calls = [(await site.pending(name))["toolCallId"] for name in names]
    site.tools.answering.clear()
    for name, call in zip(names, calls, strict=True):
        assert (await site.decide(name, call, True, parameters=edited)).status_code == 200
    await site.tools.until(lambda: all(site.tools.calls[call] == 1 for call in calls))

    await site.again()

    await site.tools.until(lambda: site.tools.calls[calls[3]] == 2)
    for name, call in zip(names[:3], calls, strict=False):
        asked = await site.pending(name)
        assert (asked["kind"], asked["toolCallId"]) == ("unknown_outcome", call)
        assert asked["parameters"] == edited
    assert [site.tools.calls[call] for call in calls] == [1, 1, 1, 2]
    site.tools.answering.set()
    said: list[dict[str, Any]] = [
        {"approved": True, "result": {"paid": 5}},
        {"approved": True},
        {"approved": False, "reason": "Too late."},
    ]
    for name, call, words in zip(names, calls, said, strict=False):
        assert (await site.decide(name, call, **words)).status_code == 200
    ended = [await site.ended(name) for name in names]
    results = [execution["toolCalls"][0]["result"] for execution in ended]
    assert results[:2] == [{"paid": 5}, {"count": 2}]
    assert "given up" in results[2]
    assert results[2].endswith("Reason: Too late.")
    assert results[3] == {"count": 2}
    assert [site.tools.arguments[call] for call in calls] == [
        [edited],
        [edited, edited],
        [edited],
        [edited, edited],
    ]
    assert [len((await site.log(name)).of("approval_resolved")) for name in names] == [2, 2, 2, 1]
