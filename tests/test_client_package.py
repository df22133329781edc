"""The Python client as a package: one source, two styles, types of the document, no server."""

import asyncio
import re
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final, get_args, get_type_hints, is_typeddict
from zipfile import ZipFile

import httpx2
import orjson
import pytest
from pydantic import TypeAdapter

from outlast import __version__
from outlast.model.clock import SystemClock
from outlast.model.error import Misconfigured
from outlast.reference import Reference
from outlast.rooms.executions import room
from outlast.rooms.executions.stream import FRAME_TYPES
from outlast.testing import fake_server
from outlast.web import ROOMS
from outlast_client import (
    Client,
    Conflict,
    Frame,
    Invalid,
    NotFound,
    Overloaded,
    Refused,
    SyncClient,
    Unauthorized,
    Unreachable,
)
from tests.rooms.test_client_endpoints import METHODS
from tests.support import blocking_client, client_types
from tests.support.processes import API_KEY, ServerProcess
from tests.support.waiting import until

ROOT: Final = Path(__file__).parent.parent
TRANSCRIPTS: Final = ROOT / "src" / "outlast" / "rooms" / "executions" / "golden"
AGENTS: Final = """
agents:
  - name: writer
    model: scripted:SCRIPT
"""
WORDS: Final = " ".join(f"word{n}" for n in range(60))
SCRIPT: Final = f"""
turns:
  - when: story
    steps: [{{text: "{WORDS}", delay_ms: 20}}]
  - steps: [{{text: "You said: {{input}}"}}]
"""


def test_the_blocking_client_is_the_async_one() -> None:
    for path, text in blocking_client.made().items():
        assert path.read_text() == text, "write it anew: python -m tests.support.blocking_client"


def test_the_types_are_those_of_the_document() -> None:
    written = client_types.FILE.read_text()
    assert written == client_types.page(), "write them anew: python -m tests.support.client_types"


def test_every_method_s_answer_has_the_type_of_its_operation() -> None:
    called = _Called()
    documented: dict[str, set[str]] = {}
    for operation, schema in client_types.answers(Reference(ROOMS).document()):
        if place := schema.get("$ref"):
            documented.setdefault(operation, set()).add(place.rpartition("/")[2])
    compared = 0
    for endpoint in room.endpoints:
        call = METHODS.get(endpoint.name)
        names = documented.get(endpoint.name, set())
        if call is None or len(names) != 1:
            continue
        _ = call(called, "exec_1")  # type: ignore[arg-type]
        kind = called.method.__annotations__["return"]
        assert getattr(kind, "__name__", kind) == next(iter(names)), endpoint.name
        compared += 1
    assert compared > 35


class _Called:
    """Takes the place of a client and keeps which method was called."""

    def __init__(self, kind: Any = Client) -> None:
        self._kind = kind
        self.method: Any = None

    def __getattr__(self, name: str) -> Any:
        if name == "memory":
            from outlast_client import MemoryClient

            memory = _Called(MemoryClient)
            memory.__dict__["_outer"] = self
            return memory
        method = getattr(self._kind, name)

        def call(*_: object, **__: object) -> None:
            self.__dict__.get("_outer", self).method = method

        return call


def test_every_frame_of_the_transcripts_is_of_its_type() -> None:
    kinds = {kind.__args__[0].__args__[0]: kind.__args__[1] for kind in Frame.__args__}
    assert tuple(kinds) == FRAME_TYPES
    seen = set()
    for transcript in sorted(TRANSCRIPTS.glob("*.txt")):
        for line in transcript.read_text().splitlines():
            if line.startswith('data: {"type":"'):
                data = orjson.loads(line[6:])
                kind = kinds[data["type"]]
                assert set(data) <= kind.__required_keys__ | kind.__optional_keys__, data
                assert set(data) >= kind.__required_keys__, data
                for field, hint in get_type_hints(kind).items():
                    if field in data and not has_typed_dict(hint):
                        TypeAdapter(hint).validate_python(data[field], strict=True)
                seen.add(data["type"])
    assert len(seen) > 12


def has_typed_dict(hint: Any) -> bool:
    """Whether a type has one that pydantic does not take before Python 3.12."""
    return is_typeddict(hint) or any(has_typed_dict(one) for one in get_args(hint))


def test_importing_the_client_imports_neither_the_server_nor_a_client_of_http() -> None:
    code = "import sys, outlast_client; print(*sorted(sys.modules))"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    names = set(loaded.stdout.split())
    assert not names & {"outlast", "httpx2", "asyncio", "pydantic", "ssl"}
    assert {"outlast_client", "orjson"} <= names


def test_the_client_alone_is_a_wheel_of_two_dependencies_and_the_same_source(
    tmp_path: Path,
) -> None:
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(command, cwd=ROOT / "clients" / "python", check=True, capture_output=True)
    (wheel,) = tmp_path.glob("outlast_client-*.whl")
    assert wheel.name.split("-")[1] == __version__
    with ZipFile(wheel) as archive:
        packed = {name: archive.read(name) for name in archive.namelist()}
    (metadata,) = (text.decode() for name, text in packed.items() if name.endswith("METADATA"))
    wanted = [line for line in metadata.splitlines() if line.startswith("Requires-Dist")]
    assert wanted == ["Requires-Dist: httpx2>=2.7", "Requires-Dist: orjson>=3.11"]
    source = {
        str(path.relative_to(ROOT / "src")): path.read_bytes()
        for path in (ROOT / "src" / "outlast_client").rglob("*")
        if path.suffix in {".py", ".typed"}
    }
    assert {name: text for name, text in packed.items() if "dist-info" not in name} == source


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[ServerProcess]:
    script = tmp_path / "script.yaml"
    script.write_text(SCRIPT)
    async with ServerProcess(tmp_path, AGENTS.replace("SCRIPT", str(script))) as serving:
        yield serving


@pytest.mark.anyio
async def test_the_blocking_client_streams_over_a_killed_server_what_the_async_one_replays(
    server: ServerProcess,
) -> None:
    seen: list[Frame] = []
    url = f"http://127.0.0.1:{server.port}"

    def follow() -> None:
        with SyncClient(url, API_KEY) as client:
            seen.extend(client.stream("writer", "a story"))

    async with asyncio.TaskGroup() as group:
        following = group.create_task(asyncio.to_thread(follow))
        await until(lambda: sum(frame.type == "text_delta" for frame in seen) > 3)
        await server.kill()
        await server.start()
        await following
    assert seen[-1].type == "done"
    assert seen[-1].data["execution"]["output"] == WORDS
    async with Client(url, API_KEY) as client:
        replayed = [frame async for frame in client.follow(seen[0].data["executionId"])]
    assert replayed == seen


@pytest.mark.anyio
async def test_lists_page_themselves_and_errors_have_a_class_a_code_and_a_request(
    server: ServerProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OUTLAST_URL", f"http://127.0.0.1:{server.port}")
    monkeypatch.setenv("OUTLAST_API_KEY", API_KEY)
    async with Client() as client:
        runs = [(await client.execute("writer", f"{n}"))["id"] for n in range(5)]
        listed = [one["id"] async for one in client.each(client.list, limit=2)]
        assert listed == runs[::-1]
        with pytest.raises(NotFound) as missing:
            await client.get("exec_01k6zj3t7hf2a9q1x5m8r4c0vb")
        assert (missing.value.code, missing.value.status) == ("execution_not_found", 404)
        assert missing.value.request_id
        with pytest.raises(Conflict):
            await client.cancel(runs[0])
        with pytest.raises(Invalid) as wrong:
            await client.list(limit=10**6)
        assert wrong.value.param == "limit"
        assert API_KEY not in repr(client)
    async with Client(key="sk_wrong") as stranger:
        with pytest.raises(Unauthorized):
            await stranger.list()
    monkeypatch.delenv("OUTLAST_API_KEY")
    async with Client() as keyless:
        with pytest.raises(Unauthorized, match="set OUTLAST_API_KEY"):
            await keyless.list()


@pytest.mark.anyio
async def test_a_request_that_changes_nothing_is_sent_again_and_one_that_does_is_not() -> None:
    requests: list[str] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        requests.append(request.method)
        if len(requests) in {1, 3}:
            error = {"message": "Full.", "code": "overloaded"}
            return httpx2.Response(503, json={"error": error}, headers={"Retry-After": "0"})
        return httpx2.Response(200, json={"data": []})

    transport = httpx2.MockTransport(answer)
    async with Client("http://127.0.0.1:1", "sk_1", transport=transport) as client:
        assert (await client.agents())["data"] == []
        with pytest.raises(Overloaded) as full:
            await client.cancel("exec_1")
    assert requests == ["GET", "GET", "POST"]
    assert isinstance(full.value, Refused)
    assert full.value.retry_after == 0


def test_a_fake_server_runs_scripts_and_a_client_of_it_has_other_bounds_for_a_call() -> None:
    steps: list[dict[str, Any]] = [
        {"tool_calls": [{"name": "weigh", "parameters": {"item": "tea"}}]},
        {"text": "It weighs {result} grams."},
    ]
    with (
        fake_server({"shop": steps}, tools=[weigh]) as server,
        SyncClient(server.url, server.key) as client,
    ):
        raw = client.with_raw()
        with pytest.raises(LookupError):
            _ = raw.response
        run = raw.execute("shop", "How heavy?")
        assert run["output"] == "It weighs 250 grams."
        assert orjson.loads(raw.response.content) == run
        assert (raw.response.status, raw.response.headers["X-Execution-Id"]) == (200, run["id"])
        kinds = [frame.type for frame in raw.follow(run["id"])]
        assert kinds[0] == "start"
        assert {"tool_call_start", "tool_call_end", "text_delta"} < set(kinds)
        assert raw.agents()["data"][0]["name"] == "shop"
    with SyncClient(server.url, server.key, patience=0) as client, pytest.raises(Unreachable):
        client.with_options(retries=0).agents()


def test_a_server_that_does_not_answer_in_time_is_unreachable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with SyncClient(url, "sk_1") as client, pytest.raises(Unreachable):
            client.with_options(timeout=0.05, retries=0).agents()


def weigh(item: str) -> int:
    """Return the weight of an item in grams."""
    return {"tea": 250}[item]


def test_the_examples_of_the_client_s_page_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = (ROOT / "clients" / "python" / "README.md").read_text()
    ask, one_call, in_a_test = re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    with fake_server({"support": [{"text": "It is on its way."}]}) as server:
        monkeypatch.setenv("OUTLAST_URL", server.url)
        monkeypatch.setenv("OUTLAST_API_KEY", server.key)
        exec(re.sub(r"SyncClient\(.*?\)", "SyncClient()", ask, count=1, flags=re.DOTALL), {})
        exec(one_call, {})
    written = capsys.readouterr().out
    assert "It is on its " in written
    assert "execution_not_found req_" in written
    assert "'name': 'support'" in written
    names: dict[str, Any] = {}
    exec(in_a_test, names)
    names["test_the_shop_names_the_order"]()


def test_a_fake_server_that_cannot_start_says_so() -> None:
    with (
        pytest.raises(Misconfigured),
        fake_server({}, database_url="postgresql://127.0.0.1:1/none"),
    ):
        pass


@pytest.mark.anyio
async def test_retries_and_timeout_can_be_given_for_one_call() -> None:
    requests: list[float] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        requests.append(request.extensions["timeout"]["read"])
        return httpx2.Response(503, json={"error": {"code": "overloaded"}})

    transport = httpx2.MockTransport(answer)
    clock = InstantClock()
    async with Client("http://127.0.0.1:1", "sk_1", transport=transport, clock=clock) as client:
        for again, timeout in ((0, 2.5), (3, 7.0)):
            with pytest.raises(Overloaded):
                await client.with_options(retries=again, timeout=timeout).get("exec_1")
        with pytest.raises(Overloaded):
            await client.with_options(timeout=9).memory.list()
    assert requests == [2.5] + 4 * [7.0] + 3 * [9]


class InstantClock(SystemClock):
    """Sleeps take no time."""

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(0 * seconds)
