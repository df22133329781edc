"""Input that MCP servers request during calls, answered by a person, over a real `kill -9`."""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.databases import Database
from tests.support.mcp_servers import ASKING, SdkServer, noted, until_noted
from tests.support.mcp_tasks import TaskServer
from tests.support.processes import API_KEY, ServerProcess
from tests.support.python_process import PythonProcess, as_fork
from tests.support.waiting import until, until_found

pytestmark = pytest.mark.anyio

AGENTS = """
agents:
  - name: shipper
    model: "scripted:ship.yaml"
    tools: [{{name: post, mcp: {{url: "{new}"}}}}]
  - name: teller
    model: "scripted:ship.yaml"
    tools:
      - name: post
        mcp: {{command: "{python}", args: ["{asking}", stdio, new, "{folder}"]}}
  - name: deliverer
    model: "scripted:deliver.yaml"
    tools: [{{name: post, mcp: {{url: "{old}", trust: true}}}}]
  - name: caller
    model: "scripted:deliver.yaml"
    tools:
      - name: post
        mcp: {{command: "{python}", args: ["{asking}", stdio, old, "{folder}"]}}
  - name: worker
    model: "scripted:work.yaml"
    tools: [{{name: work, mcp: {{url: "{tasks}"}}}}]
"""
SHIP = """
turns:
  - steps: [{tool_calls: [{name: post__ship, parameters: {item: lamp}}]}, {text: "{result}"}]
"""
DELIVER = """
turns:
  - when: deliver
    steps: [{tool_calls: [{name: post__deliver, parameters: {item: lamp}}]}, {text: "{result}"}]
  - when: quote
    steps: [{tool_calls: [{name: post__quote, parameters: {item: lamp}}]}, {text: "{result}"}]
"""
WORK = """
turns:
  - steps: [{tool_calls: [{name: work__act, parameters: {}}]}, {text: "{result}"}]
"""
FORM = {"message": "Which?", "requestedSchema": {"type": "object", "properties": {}}}
REQUEST = {"method": "elicitation/create", "params": {"mode": "form", **FORM}}


@pytest.fixture
def places(tmp_path: Path) -> dict[str, SdkServer]:
    """The servers of the old protocol and of the new one; a test starts the one that it needs."""
    made = {}
    for name in ("old", "new"):
        folder = tmp_path / name
        folder.mkdir()
        made[name] = SdkServer(folder, asks=name)
    return made


@pytest.fixture
async def old(places: dict[str, SdkServer]) -> AsyncIterator[SdkServer]:
    async with running(places["old"]) as server:
        yield server


@pytest.fixture
async def new(places: dict[str, SdkServer]) -> AsyncIterator[SdkServer]:
    async with running(places["new"]) as server:
        yield server


@asynccontextmanager
async def running(server: SdkServer) -> AsyncIterator[SdkServer]:
    server.start()
    try:
        await server.ready()
        yield server
    finally:
        server.stop()


@pytest.fixture
async def server(
    tmp_path: Path, database: Database, places: dict[str, SdkServer], tasks: TaskServer
) -> AsyncIterator[ServerProcess]:
    (tmp_path / "ship.yaml").write_text(SHIP)
    (tmp_path / "deliver.yaml").write_text(DELIVER)
    (tmp_path / "work.yaml").write_text(WORK)
    commands = {"python": sys.executable, "asking": as_fork(ASKING, tmp_path), "folder": tmp_path}
    urls = {name: place.url for name, place in places.items()} | {"tasks": tasks.url}
    settings = {"OUTLAST_DATABASE_URL": database.url, "OUTLAST_TAKEOVER_SECONDS": "2"}
    async with ServerProcess(tmp_path, AGENTS.format(**urls, **commands), settings) as server:
        yield server


async def until_status(server: ServerProcess, execution_id: str, *status: str) -> dict[str, Any]:
    async def look() -> dict[str, Any] | None:
        found = await server.execution(execution_id)
        return found if found["status"] in status else None

    return await until_found(look)


async def until_input(server: ServerProcess, execution_id: str, message: str) -> dict[str, Any]:
    """Return the request for input with this message, once it waits."""

    async def look() -> dict[str, Any] | None:
        found = await server.execution(execution_id)
        assert found["status"] not in {"completed", "failed"}, found["toolCalls"]
        pending = found.get("pendingInputs", ())
        return next((one for one in pending if one["questions"][0]["message"] == message), None)

    return await until_found(look)


async def answer(
    server: ServerProcess, execution_id: str, pending: dict[str, Any], action: str, **content: Any
) -> Any:
    path = f"/v1/executions/{execution_id}/client-calls/{pending['toolCallId']}"
    given = {"action": action} | ({"content": content} if action == "accept" else {})
    return await server.http.post(path, json={"result": given})


@pytest.mark.parametrize("agent", ["shipper", "teller"])
async def test_a_call_that_ended_for_input_goes_on_with_the_answers_whoever_died_meanwhile(
    server: ServerProcess, new: SdkServer, tmp_path: Path, agent: str
) -> None:
    notes = new.folder if agent == "shipper" else tmp_path
    execution_id = await server.background(agent, "ship")
    suspended = await until_status(server, execution_id, "suspended", "failed", "completed")
    (pending,) = suspended["pendingInputs"]
    (question,) = pending["questions"]
    assert (pending["name"], pending["parameters"]) == ("post__ship", {"item": "lamp"})
    assert (question["message"], question["mode"]) == ("Which street?", "form")
    assert question["schema"]["required"] == ["street"]
    assert "pendingClientCalls" not in suspended
    assert not suspended["pendingApprovals"]
    if agent == "shipper":  # a command's state is its own, and dies with us
        await server.kill()
        await server.start()
    refused = await answer(server, execution_id, pending, "accept", street="x" * 21)
    assert (refused.status_code, refused.json()["error"]["param"]) == (422, "result.content.street")
    refused = await answer(server, execution_id, pending, "shrug")
    assert (refused.status_code, refused.json()["error"]["param"]) == (422, "result.action")
    given = await answer(server, execution_id, pending, "accept", street="High")
    assert given.status_code == 200, given.text
    pending = await until_input(server, execution_id, "How heavy is what goes to High?")
    assert not noted(notes)
    given = await answer(server, execution_id, pending, "accept", kilos=3)
    assert given.status_code == 200, given.text
    ended = await until_status(server, execution_id, "completed", "failed")
    assert ended["output"] == '{"result":"lamp, 3 kg, to High"}'
    assert noted(notes) == ["ships lamp"]
    assert len(ended["toolCalls"]) == 1


async def test_a_person_answers_by_the_command_line(
    server: ServerProcess, new: SdkServer, tmp_path: Path
) -> None:
    place = {"HOME": str(tmp_path), "OUTLAST_API_KEY": API_KEY, "OUTLAST_PORT": str(server.port)}

    async def given(*arguments: str) -> tuple[int, str, str]:
        with PythonProcess(
            [sys.executable, "-m", "outlast", "executions", *arguments],
            env=os.environ | place,
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as command:
            out, err = await asyncio.to_thread(command.communicate)
        return command.returncode, out, err

    accepted, declined, cancelled = [await server.background("shipper", "ship") for _ in range(3)]
    for one in (accepted, declined, cancelled):
        await until_input(server, one, "Which street?")
    _, shown, err = await given("show", accepted)
    assert "Which street?" in shown, err
    assert "--accept" in shown
    for wrong in ("{", "[]", '{"street": 7}', '{"floor": 1}'):
        code, _, err = await given("answer", accepted, "--accept", wrong)
        assert (code, "Traceback" in err) in ((1, False), (2, False)), err
    code, out, err = await given("answer", accepted, "--accept", '{"street": "High"}')
    assert (code, out.startswith("post__ship (tc_")) == (0, True), err
    await until_input(server, accepted, "How heavy is what goes to High?")
    assert (await given("answer", accepted, "--accept", '{"kilos": 3}'))[0] == 0
    assert (await given("answer", declined, "--decline"))[0] == 0
    assert (await given("answer", cancelled, "--cancel"))[0] == 0
    ended = await until_status(server, accepted, "completed", "failed")
    assert ended["output"] == '{"result":"lamp, 3 kg, to High"}'
    for one in (declined, cancelled):
        (call,) = (await until_status(server, one, "completed", "failed"))["toolCalls"]
        assert call["isError"], call
    assert noted(new.folder) == ["ships lamp"]
    code, _, err = await given("answer", accepted, "--cancel")
    assert (code, "waits for no client" in err) == (1, True)


async def test_what_is_declined_is_the_servers_to_answer(
    server: ServerProcess, new: SdkServer
) -> None:
    execution_id = await server.background("shipper", "ship")
    pending = await until_input(server, execution_id, "Which street?")
    given = await answer(server, execution_id, pending, "decline")
    assert given.status_code == 200, given.text
    again = await answer(server, execution_id, pending, "decline")
    other = await answer(server, execution_id, pending, "cancel")
    assert (again.status_code, other.status_code) == (200, 409)
    ended = await until_status(server, execution_id, "completed", "failed")
    (call,) = ended["toolCalls"]
    assert call["isError"], call
    assert not noted(new.folder)


@pytest.mark.parametrize("agent", ["deliverer", "caller"])
async def test_a_call_that_is_held_open_is_answered_over_its_connection(
    server: ServerProcess, old: SdkServer, tmp_path: Path, agent: str
) -> None:
    notes = old.folder if agent == "deliverer" else tmp_path
    execution_id = await server.background(agent, "deliver")
    pending = await until_input(server, execution_id, "Where to, lamp?")
    given = await answer(server, execution_id, pending, "accept", street="High")
    assert given.status_code == 200, given.text
    ended = await until_status(server, execution_id, "completed", "failed")
    assert ended["output"] == '{"result":"lamp to High"}'
    assert noted(notes) == ["asks lamp", "answered lamp accept"]
    assert "pendingInputs" not in ended


async def test_each_of_many_calls_gets_its_own_answer(
    server: ServerProcess, old: SdkServer
) -> None:
    runs = [await server.background("deliverer", "deliver") for _ in range(4)]
    for number, execution_id in enumerate(runs):
        pending = await until_input(server, execution_id, "Where to, lamp?")
        await answer(server, execution_id, pending, "accept", street=f"Street {number}")
    for number, execution_id in enumerate(runs):
        ended = await until_status(server, execution_id, "completed", "failed")
        assert ended["output"] == f'{{"result":"lamp to Street {number}"}}'


async def test_after_a_kill_a_destructive_call_that_asks_is_for_a_person(
    server: ServerProcess, old: SdkServer
) -> None:
    execution_id = await server.background("deliverer", "deliver")
    await until_input(server, execution_id, "Where to, lamp?")
    await server.kill()
    await server.start()
    suspended = await until_status(server, execution_id, "suspended", "completed", "failed")
    (pending,) = suspended["pendingApprovals"]
    assert pending["kind"] == "unknown_outcome"
    assert "pendingInputs" not in suspended
    path = f"/v1/executions/{execution_id}/approvals/{pending['toolCallId']}"
    await server.http.post(path, json={"approved": True})
    pending = await until_input(server, execution_id, "Where to, lamp?")
    await answer(server, execution_id, pending, "cancel")
    ended = await until_status(server, execution_id, "completed", "failed")
    assert ended["output"] == '{"result":"cancel"}'
    shown = (await server.http.get(f"/v1/executions/{execution_id}/stream")).text
    frames = [
        shown.count(f'"type":"{name}"') for name in ("input_requested", "client_call_answered")
    ]
    assert frames == [2, 2], "what was requested before the kill is awaited no more"


async def test_after_a_kill_a_read_only_call_asks_again(
    server: ServerProcess, old: SdkServer
) -> None:
    execution_id = await server.background("deliverer", "quote")
    first = await until_input(server, execution_id, "Where to, lamp?")
    await server.kill()
    await server.start()
    await until_noted(old.folder, "asks lamp", 2)
    pending = await until_input(server, execution_id, "Where to, lamp?")
    assert pending["toolCallId"] == first["toolCallId"]
    given = await answer(server, execution_id, pending, "accept", street="High")
    assert given.status_code == 200, given.text
    ended = await until_status(server, execution_id, "completed", "failed")
    assert ended["output"] == '{"result":"lamp to High"}'


async def test_a_task_that_requires_input_is_given_it_and_polled_on(
    server: ServerProcess, tasks: TaskServer
) -> None:
    execution_id = await server.background("worker", "work")
    await until(lambda: bool(tasks.calls))
    tasks.tasks["task-1"] = {"status": "input_required", "inputRequests": {"q": REQUEST}}
    suspended = await until_status(server, execution_id, "suspended", "completed", "failed")
    (pending,) = suspended["pendingInputs"]
    assert pending["questions"][0]["id"] == "q"
    await server.kill()
    await server.start()
    given = await answer(server, execution_id, pending, "accept")
    assert given.status_code == 200, given.text
    await until(lambda: bool(tasks.given))
    assert tasks.given == [{"q": {"action": "accept", "content": {}}}]
    tasks.end("task-1")
    ended = await until_status(server, execution_id, "completed", "failed")
    assert (ended["output"], len(tasks.calls)) == ("done at last", 1)
