"""Golden transcripts: what is asked, the log that was written, every byte that was answered.

Each room's folder `golden/` holds pairs: NAME.yaml says the agent, its script and the requests,
NAME.txt is the transcript. Time stands still and ids are counted, so the bytes are the same in
every run. `OUTLAST_GOLDEN=write` writes the transcripts anew.
"""

import os
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

import outlast.rooms
from outlast.agents.models.scripted import ScriptedModel
from outlast.agents.tools.toolbox import ToolBox
from outlast.model.agent import AgentSpec, Effect, ToolSpec
from outlast.model.event import encode
from outlast.testing import FakeClock, NamedModels, owner
from tests.database import Database
from tests.rooms.house import House

pytestmark = pytest.mark.anyio
ROOMS = Path(outlast.rooms.__file__).parent
TRANSCRIPTS = sorted(ROOMS.glob("*/golden/*.yaml"))
_HIDDEN = ("date", "server")


def test_every_room_has_transcripts() -> None:
    rooms = {path.parent.name for path in ROOMS.glob("*/__init__.py")}
    assert {path.parts[-3] for path in TRANSCRIPTS} == rooms


@pytest.mark.parametrize("path", TRANSCRIPTS, ids=lambda path: f"{path.parts[-3]}/{path.stem}")
async def test_a_transcript_is_the_same_byte_for_byte(path: Path, database: Database) -> None:
    told = await _transcript(path, database)
    assert told == _golden(path.with_suffix(".txt"), told)


def _golden(path: Path, told: str) -> str:
    if os.environ.get("OUTLAST_GOLDEN") == "write":
        path.write_text(told)
    return path.read_text()


async def _transcript(path: Path, database: Database) -> str:
    play = _read(path)
    clock = FakeClock(1_773_570_600_000)
    models = NamedModels({"scripted": ScriptedModel.from_data(play["script"], clock)})
    async with database.core(models=models, tools=ToolBox(clock), clock=clock) as core:
        caller = await owner(core)
        made = await core.services.keys.create(caller.workspace_id, "golden")
        house = House(core, caller, made.secret)
        await core.services.agents.put(caller.workspace_id, [(_agent(play["agent"]), "1")])
        known: dict[str, Any] = {}
        told = [await _asked(house, request, known) for request in play["requests"]]
        if "execution" in known:
            told.append(await _log(house, known["execution"]))
        await house.client.aclose()
        return "\n".join(told)


def _read(path: Path) -> dict[str, Any]:
    play: dict[str, Any] = yaml.safe_load(path.read_text())
    return play


def _agent(given: dict[str, Any]) -> AgentSpec:
    tools = tuple(
        ToolSpec(tool["name"], tool["name"], {"type": "object"}, Effect.READ_ONLY, **tool["more"])
        for tool in given.get("tools", ())
    )
    return AgentSpec(given["name"], "scripted", given.get("instructions", ""), tools=tools)


async def _asked(house: House, request: dict[str, Any], known: dict[str, Any]) -> str:
    """Make one request and tell it; `{execution}` in a path is the last one's id.

    `{call[0]}`, `{checkpoint[0]}`, `{conversation[0]}`, in a path or a body, are ids that an answer
    has told before.
    """
    path = request["path"].format(**known)
    headers = {"X-Request-Id": "golden"} | request.get("headers", {})
    body: str | None = request.get("body")
    for name in ("call", "checkpoint"):
        for number, found in enumerate(known.get(name, ())):
            body = body and body.replace(f"{{{name}[{number}]}}", found)
    response = await house.client.request(request["method"], path, content=body, headers=headers)
    known |= (
        {"execution": response.headers["x-execution-id"]}
        if "x-execution-id" in response.headers
        else {}
    )
    for name, prefix in (("call", "tc"), ("checkpoint", "cp"), ("conversation", "conv")):
        told = re.findall(rf"\b{prefix}_\w{{26}}", response.text)
        known[name] = list(dict.fromkeys([*known.get(name, ()), *told]))
    if request.get("rest"):
        await house.rested(known["execution"])
    asked = [f">>> {request['method']} {path}", *(f"{k}: {v}" for k, v in headers.items()), ""]
    asked += [body, ""] if body else []
    answered = [f"<<< {response.status_code}"]
    answered += [f"{k}: {v}" for k, v in sorted(response.headers.items()) if k not in _HIDDEN]
    return "\n".join([*asked, *answered, "", response.text])


async def _log(house: House, execution_id: str) -> str:
    follow = house.core.services.executions.follow(house.caller, execution_id)
    lines = [
        f"{entry.cursor} {entry.event.kind} {encode(entry.event).decode()}"
        async for entries in follow
        for entry in entries
    ]
    return "\n".join(["=== log", *lines, ""])
