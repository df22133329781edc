"""A kind of tool is one line in the table: from the agents file to a run over HTTP."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, Final

import httpx2
import orjson
import pytest

import outlast
from outlast import Agent, ToolContext, ToolFailed
from outlast.agents.loader import load
from outlast.agents.port import WaitFor
from outlast.agents.problem import Problem
from outlast.agents.tools import kinds
from outlast.agents.tools.kind import Count, Draft, Entry, Resources, ToolEntry, ToolKind
from outlast.agents.tools.toolbox import ToolBox
from outlast.embedded import Embedded
from outlast.model.agent import AgentSpec, Effect, HttpCall, ToolSpec
from outlast.model.clock import SystemClock
from outlast.model.error import Misconfigured
from outlast.model.spec_json import spec_digest, spec_from_dict, spec_to_dict
from outlast.model.wait import CallResult, WaitKind
from outlast.store.waits.decide import DecideWait
from tests.support.databases import Database

pytestmark = pytest.mark.anyio

BOUND: Final = 20.0
SCRIPT: Final = """
turns:
  - steps:
      - tool_calls: [{name: parrot, parameters: {text: Polly}}]
      - text: "{result.said}, says {result.agent}"
"""
FILE: Final = """
agents:
  - name: ship
    model: scripted:script.yaml
    tools:
      - name: parrot
        description: Repeat a text
        echo: {prefix: "Ahoy ", times: 2}
"""
DIGEST_OF_ANY_VERSION: Final = "4b438fe20d1b1d740bce06894f8187279ecdc1bbe3ab4bcc213a48c37d5e7275"
ARGUMENTS: Final = {"type": "object", "properties": {"text": {"type": "string"}}}


# --- a kind in its own module, and its line in the table


class EchoEntry(Entry):
    prefix: str
    times: Count = 1


class EchoRunner:
    """Repeats a text, and names the agent, which it finds in the store."""

    def __init__(self, resources: Resources) -> None:
        self._store = resources.store

    async def call(self, spec: ToolSpec, arguments: dict[str, Any], context: ToolContext) -> Any:
        echo = spec.other["echo"]
        assert self._store is not None
        execution = await self._store.executions.get(context.workspace_id, context.execution_id)
        agent = await self._store.agents.name(context.workspace_id, execution.agent_id)
        return {"said": (echo["prefix"] + arguments["text"]) * echo["times"], "agent": agent}

    async def warm_up(self) -> None:
        pass

    async def close(self) -> None:
        pass


def _make(entry: ToolEntry, echo: EchoEntry, draft: Draft) -> ToolSpec:
    if entry.name is None:
        draft.wrong((), "an echo needs the key name")
    written = echo.model_dump()
    return ToolSpec(
        entry.name or "unnamed", "", ARGUMENTS, Effect.READ_ONLY, other={"echo": written}
    )


def _problems(spec: ToolSpec) -> Iterator[Problem]:
    if not spec.other["echo"]["prefix"].strip():
        yield Problem(("prefix",), "this is empty")


def _not_ready(_spec: ToolSpec, environ: Mapping[str, str]) -> str | None:
    return None if "PARROT" in environ else "needs PARROT in the environment"


ECHO: Final = ToolKind(
    "echo", EchoEntry, _make, EchoRunner, problems=_problems, not_ready=_not_ready
)


def _waits_for(_spec: ToolSpec, arguments: dict[str, Any]) -> WaitFor | None:
    return WaitFor(WaitKind.CLIENT, 60) if arguments["text"] == "Polly" else None


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(kinds, "KINDS", (*kinds.KINDS, ECHO))
    (tmp_path / "script.yaml").write_text(SCRIPT)
    (tmp_path / "agents.yaml").write_text(FILE)
    return tmp_path


# --- what the rest of the server makes of it


def server_on(database: Database) -> Embedded:
    settings = {"data_dir": database.folder, "database_url": database.url, "drain_seconds": 1}
    return outlast.asgi("agents.yaml", **settings)


@asynccontextmanager
async def client_of(server: Embedded) -> AsyncIterator[httpx2.AsyncClient]:
    key = server.core.settings.key_file.read_text().strip()
    transport, headers = httpx2.ASGITransport(server), {"Authorization": f"Bearer {key}"}
    async with (
        asyncio.timeout(BOUND),
        httpx2.AsyncClient(
            transport=transport, base_url="http://server", headers=headers
        ) as client,
    ):
        yield client


async def test_one_line_in_the_table_takes_a_tool_from_the_agents_file_to_a_run_over_http(
    folder: Path, database: Database
) -> None:
    for server in (server_on(database), server_on(database)):  # the second reads what is stored
        async with server.lifespan(), client_of(server) as client:
            run = await client.post("/v1/agents/ship/execute", json={"input": "Speak"})
            assert run.json()["output"] == "Ahoy PollyAhoy Polly, says ship"
    ((stored,),) = database.rows("SELECT spec FROM agent_versions")
    written = stored if isinstance(stored, dict) else orjson.loads(stored)
    assert written["tools"][0]["other"] == {"echo": {"prefix": "Ahoy ", "times": 2}}


async def test_a_call_of_a_kind_that_waits_suspends_until_its_result_comes(
    folder: Path, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting = replace(ECHO, waits_for=_waits_for)
    monkeypatch.setattr(kinds, "KINDS", (*kinds.KINDS[:-1], waiting))
    server = server_on(database)
    async with server.lifespan(), client_of(server) as client:
        run = (await client.post("/v1/agents/ship/execute", json={"input": "Speak"})).json()
        assert run["status"] == "suspended"
        assert run["pendingApprovals"] == []
        store = server.core.store
        (agent,) = (await client.get("/v1/agents")).json()["data"]
        ((workspace,),) = database.rows("SELECT workspace_id FROM executions")
        (wait,) = await store.waits.of(workspace, run["id"])
        assert (wait.kind, wait.parameters) == (WaitKind.CLIENT, {"text": "Polly"})
        result = CallResult({"said": "Arr", "agent": agent["name"]})
        decision = DecideWait(workspace, run["id"], wait.tool_call_id, wait.requested_at, result)
        await store.waits.decide(decision)
        await client.get(f"/v1/executions/{run['id']}/stream")  # to its end
        ended = (await client.get(f"/v1/executions/{run['id']}")).json()
    assert (ended["status"], ended["output"]) == ("completed", "Arr, says ship")


BAD: Final = {
    "{echo: {times: 2}}": "tools[0], echo: the key prefix is missing",
    "{name: e, echo: {prefix: a, time: 2}}": 'tool "e", echo.time: unknown key; did you mean times',
    "{name: e, echo: {prefix: a, times: 0}}": 'tool "e", echo.times: must be greater than 0',
    "{name: e, echo: [1]}": 'tool "e", echo: this must be a mapping of keys, not a list',
    '{name: e, echo: {prefix: " "}}': 'tool "e", echo.prefix: this is empty',
    "calculator": (
        "tools[0]: this must be a mapping of keys, not text; did you mean builtin: calculator?"
    ),
    "'shop:find'": (
        "tools[0]: this must be a mapping of keys, not text; did you mean python: shop:find?"
    ),
    "{echo: {prefix: a}}": "tools[0]: an echo needs the key name",
    "{name: e, builtin: datetime, echo: {prefix: a}}": (
        'tool "e": a tool has exactly one of http, python, builtin, agent, client, openapi, mcp, '
        "webFetch, webSearch, browser and echo; "
        "found builtin and echo"
    ),
}


@pytest.mark.parametrize(("entry", "message"), BAD.items())
def test_its_mistakes_are_found_when_the_file_is_read(
    folder: Path, entry: str, message: str
) -> None:
    (folder / "agents.yaml").write_text(f"agents: [{{name: a, model: m, tools: [{entry}]}}]")
    with pytest.raises(Misconfigured) as raised:
        load("agents.yaml")
    assert f'agents.yaml:1: agent "a", {message}' in raised.value.message


async def test_what_it_needs_of_the_environment_is_a_warning_at_the_start(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server = outlast.asgi(folder / "agents.yaml", data_dir=tmp_path, drain_seconds=1)
    async with server.lifespan():
        pass
    printed = capsys.readouterr()
    assert 'tool "parrot" needs PARROT in the environment' in printed.out + printed.err


def test_a_spec_of_it_is_the_same_after_it_was_stored(folder: Path) -> None:
    (spec,) = load(str(folder / "agents.yaml")).specs
    assert spec.tools[0].kind == "echo"
    stored = orjson.loads(orjson.dumps(spec_to_dict(spec)))
    assert spec_from_dict(stored) == spec
    assert spec_digest(spec_from_dict(stored)) == spec_digest(spec)


async def test_a_version_of_outlast_without_the_kind_fails_the_call_and_refuses_a_new_agent() -> (
    None
):
    spec = ToolSpec("e", "", {"type": "object"}, other={"echo": {"prefix": "a", "times": 1}})
    with pytest.raises(ToolFailed, match="no tools of the kind 'echo'"):
        await ToolBox(SystemClock()).call(spec, {}, ToolContext("ws_1", "exec_1", "tc_1"))
    with pytest.raises(Misconfigured, match='tool "e", echo: there is no such kind of tool'):
        Agent("a", model="m", tools=[spec])


# --- the table itself


def test_no_kind_has_the_key_of_another_or_of_every_tool() -> None:
    keys = [kind.key for kind in kinds.KINDS]
    assert len({*keys}) == len(keys)
    assert not {*keys} & {*ToolEntry.model_fields}
    own = {"http", "python", "builtin"}
    assert not ({*keys} - own) & {field.name for field in fields(ToolSpec)}


def test_specs_of_the_first_three_kinds_are_stored_as_ever() -> None:
    schema = {"type": "object"}
    tools = (
        ToolSpec("h", "", schema, http=HttpCall("https://shop.example/x", {"X": "${Y}"})),
        ToolSpec("p", "", schema, python="shop:refund"),
        ToolSpec("b", "", schema, builtin="datetime"),
    )
    spec = AgentSpec("a", "m", tools=tools)
    written = [
        orjson.dumps(tool).decode().partition('"timeout":60.0,')[2]
        for tool in spec_to_dict(spec)["tools"]
    ]
    assert written == [
        (
            '"http":{"url":"https://shop.example/x","headers":{"X":"${Y}"},"timeout":30.0,"retries":0,'
            '"max_result_bytes":262144,"method":"POST","query":null,"body":null,"send":["user"]},'
            '"python":null,"builtin":null,"expiry":null}'
        ),
        '"http":null,"python":"shop:refund","builtin":null,"expiry":null}',
        '"http":null,"python":null,"builtin":"datetime","expiry":null}',
    ]
    assert spec_digest(spec) == DIGEST_OF_ANY_VERSION
