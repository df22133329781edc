"""Every room's word for a status: what waits for a child or a time alone is running."""

import asyncio
from dataclasses import replace
from typing import Final

import pytest

from outlast.agents.port import WaitFor
from outlast.engine.maintenance.due_waits import DUE_WAITS
from outlast.model.event import (
    ExecutionCancelled,
    ExecutionPaused,
    ExecutionResumed,
    ExecutionSuspended,
    is_resting,
)
from outlast.model.execution import TERMINAL, Execution, Failure, Status
from outlast.model.record import ExecutionRecord
from outlast.model.task import Task
from outlast.model.wait import Awaiting, WaitKind
from outlast.rooms.background import render as background
from outlast.rooms.executions import render as main
from outlast.rooms.records import render as records
from outlast.rooms.runs import render as runs
from outlast.rooms.tasks import render as tasks
from outlast.services.tasks import TaskView
from outlast.testing import FakeClock
from tests.support.api import Api, MakeApi
from tests.support.models import FakeModel, by_turn
from tests.support.tools import FakeTools, call, spec, tool
from tests.support.waiting import BOUND, between_looks

pytestmark = pytest.mark.anyio

ID: Final = "00000000000000000000000001"
ROW: Final = Execution(
    f"exec_{ID}", f"ws_{ID}", f"agt_{ID}", 1, f"conv_{ID}", 1, Status.RUNNING, 1, "", 1, 1
)
WORDS: Final = {
    (Status.QUEUED, None): ("queued", "queued", "running", "PENDING", "running"),
    (Status.RUNNING, None): ("running", "running", "running", "RUNNING", "running"),
    (Status.SUSPENDED, None): ("suspended", "waiting", "suspended", "RUNNING", "paused"),
    (Status.SUSPENDED, Awaiting.PERSON): (
        "suspended",
        "waiting",
        "suspended",
        "RUNNING",
        "paused",
    ),
    (Status.SUSPENDED, Awaiting.CLIENT): (
        "suspended",
        "waiting",
        "suspended",
        "RUNNING",
        "paused",
    ),
    (Status.SUSPENDED, Awaiting.CHILD): ("running", "running", "running", "RUNNING", "running"),
    (Status.SUSPENDED, Awaiting.TIME): ("running", "running", "running", "RUNNING", "running"),
    (Status.PAUSED, None): ("paused", "paused", "suspended", "RUNNING", "paused"),
    (Status.COMPLETED, None): ("completed", "completed", "completed", "COMPLETED", "completed"),
    (Status.FAILED, None): ("failed", "failed", "failed", "FAILED", "failed"),
    (Status.CANCELLED, None): ("cancelled", "cancelled", "failed", "FAILED", "terminated"),
}
"""By what is recorded: the words of the main room, records, runs, background and tasks."""


def test_every_status_with_whoever_it_may_await_has_its_words() -> None:
    suspended = {(Status.SUSPENDED, one) for one in (None, *Awaiting)}
    assert set(WORDS) == {(status, None) for status in Status} | suspended


@pytest.mark.parametrize(("recorded", "words"), WORDS.items(), ids=lambda value: str(value[1]))
def test_each_room_has_one_word_for_what_is_recorded(
    recorded: tuple[Status, Awaiting | None], words: tuple[str, ...]
) -> None:
    status, awaiting = recorded
    row = replace(
        ROW,
        status=status,
        awaiting=awaiting,
        completed_at=1 if status in TERMINAL else None,
        error=Failure("t", "c", "m") if status is Status.FAILED else None,
    )
    task = TaskView(row, Task(row.id, row.workspace_id, "t", 1), (), 1)
    shown = main.execution_of(row, "agent", [])
    assert (
        shown["status"],
        records.record(ExecutionRecord(row, 0))["status"],
        runs.run(row)["status"],
        background.event(row)["status"],
        tasks.task(task)["data"]["status"],
    ) == words
    assert background.event(row)["detail"] == shown["status"]


def test_a_caller_gets_its_answer_where_a_person_or_a_client_is_to_act() -> None:
    resting = {awaiting: is_resting(ExecutionSuspended(awaiting)) for awaiting in Awaiting}
    assert resting == {
        Awaiting.PERSON: True,
        Awaiting.CLIENT: True,
        Awaiting.CHILD: False,
        Awaiting.TIME: False,
    }
    assert is_resting(ExecutionSuspended())
    assert is_resting(ExecutionPaused())
    assert is_resting(ExecutionCancelled())
    assert not is_resting(ExecutionResumed())


async def waiting_api(make_api: MakeApi, waits_for: WaitFor, clock: FakeClock) -> Api:
    model = FakeModel(by_turn(["So.", call(1, "ask")], ["Done."]))
    return await make_api(model, spec(tool("ask")), FakeTools(ask=waits_for), clock=clock)


async def awaits(api: Api, awaiting: Awaiting) -> str:
    """Wait until the only execution awaits this party; its id."""
    async with asyncio.timeout(BOUND):
        while True:
            page = (await api.get("/v1/executions")).json()["data"]
            for one in page:
                row = await api.core.store.executions.get(api.caller.workspace_id, one["id"])
                if row.awaiting is awaiting:
                    return row.id
            await between_looks()


async def ids_of(api: Api, path: str, **filters: str) -> list[str]:
    page = (await api.get(path, **filters)).json()["data"]
    return [one["id"] for one in page]


async def test_a_request_waits_through_a_timer_and_lists_find_it_as_running(
    make_api: MakeApi,
) -> None:
    clock = FakeClock()
    api = await waiting_api(make_api, WaitFor(WaitKind.TIMER, 60), clock)
    answering = asyncio.create_task(api.execute({"input": "Hello"}), name="execute")
    execution_id = await awaits(api, Awaiting.TIME)
    for path in (f"/v1/executions/{execution_id}", f"/run/api/executions/{execution_id}"):
        assert (await api.get(path)).json()["status"] == "running"
    assert await ids_of(api, "/v1/executions", status="running") == [execution_id]
    assert await ids_of(api, "/v1/executions", status="suspended") == []
    assert not answering.done()
    clock.advance(60)
    await api.core.maintenance.run(DUE_WAITS)
    answer = await answering
    assert (answer.status_code, answer.json()["status"]) == (200, "completed")
    assert answer.json()["toolCalls"][0]["result"] is None
    assert await ids_of(api, "/v1/executions", status="running") == []


async def test_a_request_is_answered_where_the_client_is_to_act(make_api: MakeApi) -> None:
    api = await waiting_api(make_api, WaitFor(WaitKind.CLIENT), FakeClock())
    answer = await api.execute({"input": "Hello"})
    assert answer.status_code == 200
    execution = answer.json()
    assert (execution["status"], execution["pendingApprovals"]) == ("suspended", [])
    assert (await api.get("/v1/approvals")).json()["data"] == []
    assert await ids_of(api, "/v1/executions", status="suspended") == [execution["id"]]
    assert await ids_of(api, "/v1/executions", status="running") == []
    refused = await api.client.post(
        f"/v1/executions/{execution['id']}/approvals/{call(1, 'ask').id}",
        content=b'{"approved": true}',
    )
    assert (refused.status_code, refused.json()["error"]["code"]) == (404, "approval_not_found")
