"""The TypeScript client: compiled by tsc, on Node and in Chromium, over a killed server."""

import asyncio
import shutil
import subprocess
import threading
from collections.abc import AsyncIterator, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

import orjson
import pytest

from outlast.rooms.executions.stream import FRAME_TYPES
from tests.clients.conftest import words
from tests.support import npm, typescript_types
from tests.support.chromium import chromium
from tests.support.processes import API_KEY, ServerProcess, frames_of
from tests.support.waiting import until_found

pytestmark = pytest.mark.anyio
SOURCE: Final = Path(__file__).parents[2] / "clients" / "typescript"
WORDS: Final = words("w", 150)
AGENTS: Final = """
agents:
  - name: desk
    model: scripted:SCRIPT
    tools: [{builtin: calculator, approval: true}]
"""
SCRIPT: Final = f"""
turns:
  - when: sum
    steps:
      - tool_calls: [{{name: calculator, parameters: {{expression: 6 * 7}}}}]
      - text: It is {{result}}.
  - steps: [{{text: "{WORDS}", delay_ms: 10}}]
"""


@pytest.fixture(scope="module")
def package(packages: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The compiled package, as npm would install it."""
    folder = tmp_path_factory.mktemp("typescript") / "node_modules" / "outlast"
    shutil.copytree(SOURCE, folder, ignore=shutil.ignore_patterns("dist", "node_modules"))
    tsc(packages, "-p", str(folder))
    return folder


def tsc(packages: Path, *arguments: str) -> None:
    # TypeScript's own declarations of JavaScript and the DOM are read, and not checked.
    own = "--skipDefaultLibCheck"
    command = [str(packages / "node_modules" / ".bin" / "tsc"), own, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.fixture
def site(package: Path) -> Iterator[str]:
    """The origin of a page beside the compiled modules."""
    (package / "dist" / "index.html").write_text("<!doctype html><title>Site</title>")
    handler = partial(SimpleHTTPRequestHandler, directory=str(package / "dist"))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as serving:
        thread = threading.Thread(target=serving.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{serving.server_port}"
        serving.shutdown()
        thread.join()


@pytest.fixture
async def server(tmp_path: Path, site: str) -> AsyncIterator[ServerProcess]:
    script = tmp_path / "script.yaml"
    script.write_text(SCRIPT)
    agents = AGENTS.replace("SCRIPT", str(script))
    async with ServerProcess(tmp_path, agents, env={"OUTLAST_CORS_ORIGINS": site}) as serving:
        yield serving


def test_the_types_are_those_of_the_document(packages: Path) -> None:
    written = typescript_types.FILE.read_text()
    made = typescript_types.made(packages)
    assert written == made, "write them anew: python -m tests.support.typescript_types"


def test_what_is_right_compiles_and_what_is_wrong_does_not(packages: Path, package: Path) -> None:
    user = package.parents[1] / "types.ts"
    known = ", ".join(f"{frame}: true" for frame in FRAME_TYPES)
    text = (Path(__file__).parent / "types.ts").read_text()
    user.write_text(text.replace("FRAMES", known))
    strict = ("--strict", "--noEmit", "--target", "es2022", "--module", "nodenext")
    shown = (SOURCE / "README.md").read_text().partition("```ts\n")[2].partition("```")[0]
    of_page = user.with_name("readme.mts")
    of_page.write_text(f"declare const process: any;\n{shown}")
    tsc(packages, *strict, str(user), str(of_page))


def test_the_package_has_no_dependency_and_the_version_of_the_server() -> None:
    from outlast import __version__

    described = orjson.loads((SOURCE / "package.json").read_bytes())
    assert "dependencies" not in described
    assert described["version"] == __version__


async def test_a_stream_on_node_goes_on_over_a_killed_server(
    packages: Path, package: Path, server: ServerProcess
) -> None:
    async with asyncio.TaskGroup() as group:
        running = group.create_task(npm.run(packages, "stream.mjs", options(server, package)))
        run = await until_found(lambda: newest(server))
        await words_written(server, run, 20)
        await server.kill()
        await server.start()
        seen = await running
    texts = [frame["text"] for frame in seen["frames"] if frame["type"] == "text_delta"]
    assert seen["frames"][-1]["execution"]["output"] == WORDS
    retried = [n for n, frame in enumerate(seen["frames"]) if frame["type"] == "retry"]
    behind = seen["frames"][retried[-1] :] if retried else seen["frames"]
    assert "".join(f["text"] for f in behind if f["type"] == "text_delta") == WORDS
    assert len(texts) >= 150
    replayed = [data async for _, data in frames_of(server.http, f"/v1/executions/{run}/stream")]
    assert [without_cursor(frame) for frame in seen["frames"]] == [*map(orjson.loads, replayed)]
    assert seen["refused"] == [404, "execution_not_found", True]
    assert seen["listed"] == [run]


async def test_a_run_is_aborted_by_its_signal_and_a_call_approved_on_the_way(
    packages: Path, package: Path, server: ServerProcess
) -> None:
    given = options(server, package) | {"abortAfter": 10}
    seen = await npm.run(packages, "stream.mjs", given)
    assert (seen["aborted"], len(seen["frames"])) == (True, 10)
    seen = await npm.run(packages, "stream.mjs", options(server, package) | {"input": "sum"})
    assert seen["frames"][-1]["execution"]["output"] == "It is 42."
    assert len(seen["listed"]) == 2
    assert [one[:4] for one in seen["requestIds"]] == ["req_"]
    assert (seen["tries"], seen["lost"]) == (2, ["Unreachable", "Unreachable"])


async def test_a_page_of_another_origin_streams_over_a_killed_server(
    site: str, server: ServerProcess
) -> None:
    async with chromium() as browser, asyncio.TaskGroup() as group:
        page = await browser.new_page()
        await page.goto(site)
        script = """async ({ url, key }) => {
            const { Outlast } = await import("/outlast.js");
            const frames = [];
            const outlast = new Outlast({ url, key });
            for await (const frame of outlast.stream("desk", "speak")) frames.push(frame);
            return frames;
        }"""
        given = {"url": f"http://127.0.0.1:{server.port}", "key": API_KEY}
        running = group.create_task(page.evaluate(script, given))
        run = await until_found(lambda: newest(server))
        await words_written(server, run, 20)
        await server.kill()
        await server.start()
        frames = await running
    assert frames[-1]["execution"]["output"] == WORDS
    replayed = [data async for _, data in frames_of(server.http, f"/v1/executions/{run}/stream")]
    assert [without_cursor(frame) for frame in frames] == [*map(orjson.loads, replayed)]


def options(server: ServerProcess, package: Path) -> dict[str, Any]:
    return {
        "client": (package / "dist" / "outlast.js").as_uri(),
        "url": f"http://127.0.0.1:{server.port}",
        "key": API_KEY,
        "agent": "desk",
        "input": "speak",
    }


async def newest(server: ServerProcess) -> str | None:
    found = (await server.http.get("/v1/executions")).json()["data"]
    return str(found[0]["id"]) if found else None


async def words_written(server: ServerProcess, run: str, count: int) -> None:
    """Wait until an execution has written so many words."""
    async for _, data in frames_of(server.http, f"/v1/executions/{run}/stream"):
        count -= orjson.loads(data)["type"] == "text_delta"
        if count == 0:
            return


def without_cursor(frame: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in frame.items() if name != "cursor"}
