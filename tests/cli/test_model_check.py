"""`outlast models check`: one small request to each model."""

import asyncio
from collections.abc import Callable

import orjson
import pytest

from tests.support.command_line import CommandLine
from tests.support.databases import SQLITE
from tests.support.provider import FakeProvider

Outlast = Callable[..., tuple[int, str, str]]
pytestmark = [pytest.mark.only(SQLITE), pytest.mark.anyio]


async def test_each_model_of_the_file_is_tried_and_the_reasons_are_shown(
    outlast: Outlast, command_line: CommandLine
) -> None:
    async with FakeProvider() as provider:
        (command_line.folder / "several.yaml").write_text(
            f"""
providers:
  near: {{baseUrl: {provider.url}}}
  unset: {{baseUrl: "{provider.url}", apiKey: "${{NO_SUCH_KEY}}"}}
agents:
  - {{name: a, model: "near:words-2"}}
  - {{name: b, model: ["near:words-2", "near:words-3"]}}
  - {{name: c, model: "near:status-401"}}
  - {{name: d, model: "unset:words-2"}}
  - {{name: e, model: "nowhere:words-2"}}
"""
        )
        arguments = ("models", "check", "--agents", "several.yaml", "--json")
        code, out, _ = await asyncio.to_thread(outlast, *arguments)
    found = {one["model"]: one for one in orjson.loads(out)}
    assert code == 1
    assert found["near:words-2"] | {"seconds": 0} == {
        "model": "near:words-2",
        "ok": True,
        "seconds": 0,
        "answeredBy": "fake-1",
        "problem": None,
    }
    assert found["near:words-3"]["ok"]
    assert [one["ok"] for one in found.values()] == [True, True, False, False, False]
    assert "answered 401" in found["near:status-401"]["problem"]
    assert "export NO_SUCH_KEY=…" in found["unset:words-2"]["problem"]
    assert "is not known" in found["nowhere:words-2"]["problem"]
    assert provider.request_count == 3


async def test_a_model_that_is_named_is_tried_without_an_agents_file(
    outlast: Outlast, command_line: CommandLine
) -> None:
    async with FakeProvider() as provider:
        (command_line.folder / "outlast.toml").write_text(
            f'[providers.near]\nbaseUrl = "{provider.url}"\n'
        )
        code, out, _ = await asyncio.to_thread(outlast, "models", "check", "near:words-1")
    assert code == 0
    model, result, seconds, by = out.strip().split("\t")
    assert (model, result, by) == ("near:words-1", "ok", "fake-1")
    assert float(seconds) < 60


def test_nothing_to_check_says_what_to_name(
    outlast: Outlast, command_line: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OUTLAST_AGENTS", raising=False)
    del command_line.environment["OUTLAST_AGENTS"]
    code, _, err = outlast("models", "check")
    assert code == 2
    assert "name one, or an agents file with --agents FILE" in err
