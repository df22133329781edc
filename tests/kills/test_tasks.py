"""Tasks, whoever moves them, go on over the death of every process.

Time is moved by hand: between death and start the rows are made an hour older.
"""

import asyncio
from typing import Any, Final

import httpx2
import pytest

from tests.support.deployment import Deployment
from tests.support.waiting import BOUND, until_found

pytestmark = pytest.mark.anyio

HOUR: Final = 3600
DELETED: Final = 20
_OLDER: Final = (
    "UPDATE executions SET active_since = active_since - 3600000 WHERE id = '{task}'",
    "UPDATE tasks SET due_at = due_at - 3600000 WHERE execution_id = '{task}'",
    "UPDATE tasks SET saved_at = saved_at - 3600000 WHERE execution_id = '{task}'",
)
AGENTS: Final = """
agents:
  - name: counter
    model: openai-chat:tool
    tools:
      - name: count
        description: Count one more
        parameters: {type: object, properties: {}}
        http: {url: "TOOLS", timeout: 100}
        effect: idempotent
  - name: speaker
    model: openai-chat:words-30-delay-50
  - name: silent
    model: openai-chat:hang
  - name: refused
    model: openai-chat:status-400
"""


@pytest.fixture(scope="module")
async def running(deployment: Deployment) -> Deployment:
    deployment.deploy(AGENTS)
    await deployment.start()
    return deployment


class Task:
    """A task and its client."""

    def __init__(self, deployment: Deployment, task_id: str) -> None:
        self._deployment, self.id = deployment, task_id

    async def now(self) -> dict[str, Any]:
        found: dict[str, Any] = (await self._deployment.get(f"/v1/execution/{self.id}"))["data"]
        return found

    async def ask(self, method: str, path: str = "", **body: Any) -> int:
        answer = await self._deployment.clients[1].request(
            method, f"/v1/execution/{self.id}{path}", json=body
        )
        return answer.status_code

    async def until(self, status: str) -> dict[str, Any]:
        """The task, once it is that."""

        async def found() -> dict[str, Any] | None:
            now = await self.now()
            return now if now["status"] == status else None

        task: dict[str, Any] = await until_found(found, BOUND)
        return task

    async def shown(self, words: int = 1) -> None:
        """Return once its model has said so many pieces."""
        async for _, data in self._deployment.stream(self.id):
            words -= b'"text_delta"' in data
            if not words:
                return


async def _made(deployment: Deployment, **body: Any) -> Task:
    answer = await deployment.post("/v1/execution", name="Import", **body)
    assert answer.status_code == 201, answer.text
    return Task(deployment, answer.json()["data"]["id"])


async def _an_hour_later(deployment: Deployment, *tasks: Task) -> None:
    """Kill everything, and start it an hour later, as far as these tasks can tell."""
    await deployment.kill()
    for task in tasks:
        for statement in _OLDER:
            deployment.database.rows(statement.format(task=task.id))
    await deployment.start()


async def test_what_a_client_moves_is_as_it_was_and_its_time_has_gone_on(
    running: Deployment,
) -> None:
    deployment = running
    task = await _made(deployment, state={"page": 0}, config={"checkpoint_interval_seconds": HOUR})
    paused = await _made(deployment, state={"page": 0})
    await task.ask("PUT", "/checkpoint", label="one", state={"page": 1})
    await task.ask("PATCH", state={"page": 2})
    await paused.ask("POST", "/pause")
    before, stopped = await task.now(), await paused.now()

    await _an_hour_later(deployment, task, paused)

    after = await until_found(lambda: _saved(task, 2), BOUND)
    automatic = after["checkpoints"].pop()
    assert (automatic["label"], automatic["state"]) == ("automatic", {"page": 2})
    assert HOUR <= after.pop("elapsed_seconds") < HOUR + BOUND
    assert after == {key: value for key, value in before.items() if key != "elapsed_seconds"} | {
        "updated_at": after["updated_at"]
    }
    assert await paused.now() == stopped
    first = after["checkpoints"][0]["id"]
    assert await task.ask("POST", "/pause") == 200
    assert await task.ask("POST", "/resume", checkpoint_id=first) == 200
    assert (await task.now())["state"] == {"page": 1}
    assert await task.ask("POST", "/complete", result="done") == 200
    assert (await task.now())["status"] == "completed"


async def _saved(task: Task, count: int) -> dict[str, Any] | None:
    now = await task.now()
    return now if len(now["checkpoints"]) == count else None


async def test_what_was_due_while_everything_was_down_is_done_by_the_next_start(
    running: Deployment,
) -> None:
    deployment, retry = running, {"max_attempts": 2, "backoff_seconds": HOUR}
    late = await _made(deployment, config={"max_duration_seconds": HOUR / 2})
    again = await _made(deployment, state={"page": 1}, config={"retry": retry})
    waits = await _made(
        deployment, state={"page": 1}, config={"retry": {**retry, "max_attempts": 3}}
    )
    for task in (again, waits):
        assert await task.ask("POST", "/fail", error="lost", state={"page": 9}) == 200

    await _an_hour_later(deployment, late, again)

    assert (await late.until("failed"))["elapsed_seconds"] >= HOUR
    assert (await again.until("running"))["state"] == {"page": 1}
    assert (await waits.now())["status"] == "failed"
    assert (await deployment.execution(late.id))["error"]["code"] == "budget_exceeded"


async def test_what_the_server_moves_repeats_no_step_and_counts_no_time_that_no_worker_had_it(
    running: Deployment,
) -> None:
    deployment = running
    deployment.tools.answering.clear()
    known, requests = set(deployment.tools.calls), deployment.provider.request_count
    counter = await _made(
        deployment,
        agent_id="counter",
        input="Count",
        state={"page": 0},
        config={"checkpoint_interval_seconds": HOUR},
    )
    await deployment.tools.until(lambda: len(set(deployment.tools.calls) - known) == 1)
    [call] = set(deployment.tools.calls) - known
    speaker = await _made(deployment, agent_id="speaker", input="Speak")
    await speaker.shown(3)
    assert await counter.ask("PATCH", state={"page": 1}) == 200

    await _an_hour_later(deployment, counter, speaker)

    await deployment.tools.until(lambda: deployment.tools.calls[call] == 2)
    saved = await until_found(lambda: _saved(counter, 2), BOUND)
    assert [point["label"] for point in saved["checkpoints"]] == [None, "automatic"]
    assert saved["state"] == {"page": 1}
    deployment.tools.answering.set()
    for task, steps in ((counter, 3), (speaker, 1)):
        await deployment.ended(task.id)
        done = await task.now()
        assert done["elapsed_seconds"] < BOUND
        assert sum(point["label"] is None for point in done["checkpoints"]) == steps
        assert not any(point["superseded"] for point in done["checkpoints"])
    assert deployment.provider.request_count - requests == 2 + 2
    assert len((await deployment.log(speaker.id)).of("retry")) == 1
    assert len((await deployment.execution(counter.id))["toolCalls"]) == 1


async def test_its_time_ends_and_its_next_attempt_begins_over_a_death(running: Deployment) -> None:
    deployment, retry = running, {"max_attempts": 2, "backoff_seconds": HOUR, "on_failure": "pause"}
    limited = await _made(
        deployment, agent_id="silent", input="Speak", config={"max_duration_seconds": 5}
    )
    failed = await _made(deployment, agent_id="refused", input="Speak", config={"retry": retry})
    await limited.shown()
    await failed.until("failed")
    requests = deployment.provider.request_count

    await _an_hour_later(deployment, limited, failed)

    assert (await failed.until("paused"))["completed_at"] is None
    over = await limited.until("failed")
    assert 5 <= over["elapsed_seconds"] < BOUND
    assert (await deployment.execution(limited.id))["error"]["code"] in (
        "budget_exceeded",
        "limit_exceeded",
    )
    assert deployment.provider.request_count - requests == 2


async def test_a_deletion_closes_the_model_call_and_nothing_comes_after_it(
    running: Deployment,
) -> None:
    deployment = running
    task = await _made(deployment, agent_id="silent", input="Speak")
    await task.shown()
    closed, calls = deployment.provider.cut_by_client, deployment.tools.calls.total()
    assert await task.ask("DELETE") == 204
    await deployment.provider.wait_cut(closed + 1)
    for path in ("/v1/execution", "/v1/executions", "/run/api/executions"):
        answer = await deployment.clients[0].get(f"{path}/{task.id}")
        assert answer.status_code == 404, path
    await deployment.again()
    assert await task.ask("GET") == 404
    assert deployment.tools.calls.total() == calls


async def test_deletions_that_the_death_of_every_process_cuts_short_are_done_by_asking_again(
    running: Deployment,
) -> None:
    deployment = running
    deployment.tools.answering.clear()
    known = set(deployment.tools.calls)
    tasks = [await _made(deployment, agent_id="counter", input="Count") for _ in range(DELETED)]
    await deployment.tools.until(lambda: len(set(deployment.tools.calls) - known) == len(tasks))
    deleting = [asyncio.create_task(_deleted(task)) for task in tasks]
    await asyncio.wait(deleting, return_when=asyncio.FIRST_COMPLETED)
    await deployment.again()
    answers = [await one for one in deleting]
    assert 204 in answers
    for task, answer in zip(tasks, answers, strict=True):
        if answer is None:
            assert await task.ask("DELETE") in (204, 404)
        assert await task.ask("GET") == 404
    requests = deployment.provider.request_count
    await deployment.again()
    deployment.tools.answering.set()
    page = await deployment.get("/v1/executions", limit=100)
    assert not {execution["id"] for execution in page["data"]} & {task.id for task in tasks}
    assert deployment.provider.request_count == requests


async def _deleted(task: Task) -> int | None:
    """The status of a deletion; None where its server died before it answered."""
    try:
        return await task.ask("DELETE")
    except httpx2.TransportError:
        return None
