"""npm's chat answers again and edits: the server's conversation is what the chat shows."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import npm
from tests.support.processes import API_KEY, ServerProcess

pytestmark = pytest.mark.anyio
AGENTS = "agents:\n  - {{name: desk, model: 'scripted:{script}'}}\n"
SCRIPT = """
turns:
  - when: "^slow$"
    steps: [{text: so slow that it never ends, delay_ms: 600000}]
  - steps: [{text: "Yes: {input}"}]
"""


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[ServerProcess]:
    script = tmp_path / "script.yaml"
    script.write_text(SCRIPT)
    async with ServerProcess(tmp_path, AGENTS.format(script=script)) as serving:
        yield serving


async def test_npm_s_chat_and_the_conversation_show_the_same_whatever_is_cut(
    packages: Path, server: ServerProcess
) -> None:
    url = f"http://127.0.0.1:{server.port}"
    found = await npm.run(packages, "edits.mjs", {"url": url, "key": API_KEY})
    assert set(found) == {"first", "six", "next"}
    for answers in found.values():
        said = [[text for role, text in one["messages"] if role == "user"] for one in answers]
        assert said == [
            ["one", "two", "three"],
            ["one", "two", "three"],
            ["one", "two", "drei"],
            ["one", "two"],
            ["one", "two", "more"],
            ["un"],
            ["un", "fast"],
        ]
        assert len({one["run"] for one in answers}) == len(answers)
        last = answers[-1]
        conversation = await _conversation(server, last["run"])
        turns = [[turn["role"], turn["content"]] for turn in conversation["turns"]]
        assert turns == last["messages"]
        runs = [turn["executionId"] for turn in conversation["turns"]]
        assert runs[1::2] == last["ids"][1::2]
        await _only_those_stand(server, conversation["id"], runs)


async def _conversation(server: ServerProcess, run: str) -> dict[str, Any]:
    of = (await server.http.get(f"/v1/executions/{run}")).json()["conversationId"]
    found: dict[str, Any] = (await server.http.get(f"/v1/conversations/{of}")).json()
    return found


async def _only_those_stand(server: ServerProcess, of: str, runs: list[str]) -> None:
    """All ten runs of a chat are kept, and no other than these stand."""
    listed = await server.http.get("/v1/executions", params={"conversationId": of})
    found = {one["id"]: one for one in listed.json()["data"]}
    assert len(found) == 10
    assert {run for run, one in found.items() if not one.get("superseded")} == set(runs)
    slow = [one for one in found.values() if one["input"] == "slow"]
    assert [one["status"] for one in slow] == ["cancelled"]
