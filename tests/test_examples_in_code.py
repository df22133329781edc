"""The examples in docstrings of modules run, as they are printed."""

import ast
import asyncio
import re
import textwrap
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from inspect import getdoc
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any, cast

import httpx2
import pytest

import outlast_client as client
from outlast import testing
from outlast.agents.models.scripted import ScriptedModel
from outlast.model.agent import AgentSpec
from outlast.model.error import ModelUnavailable
from outlast.services.executions import StartExecution
from outlast.testing import NamedModels, core_on, owner
from tests.support.api import Api
from tests.support.models import FakeModel
from tests.support.tools import FakeTools
from tests.support.waiting import BOUND

pytestmark = pytest.mark.anyio


def example(module: ModuleType, number: int = 0) -> CodeType:
    """An indented block of a module's docstring, with `await` at its top."""
    found = re.findall(r"\n\n((?:    .*\n|\n)+)", f"{getdoc(module)}\n")
    assert found, module.__name__
    flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    code: CodeType = compile(textwrap.dedent(found[number]), module.__name__, "exec", flags=flags)
    return code


async def run(code: CodeType, **names: Any) -> None:
    async with asyncio.timeout(BOUND):
        await cast("Awaitable[None]", eval(code, names))


async def test_the_example_of_testing_runs(tmp_path: Path) -> None:
    await run(
        example(testing),
        **vars(testing),
        tmp_path=tmp_path,
        ScriptedModel=ScriptedModel,
        AgentSpec=AgentSpec,
        StartExecution=StartExecution,
    )


def test_the_example_of_the_fake_server_runs() -> None:
    exec(example(testing, 1), {**vars(testing), **vars(client)})


@pytest.fixture
async def serve(tmp_path: Path) -> AsyncIterator[Callable[..., Awaitable[Api]]]:
    """Serves an agent `support` whose model answers by a function of the request."""
    async with core_on(
        tmp_path, models=(models := NamedModels({})), tools=FakeTools(), model_retries=1
    ) as core:
        caller = await owner(core)
        key = await core.services.keys.create(caller.workspace_id, "example")
        spec = AgentSpec("support", "actor")
        await core.services.agents.put(caller.workspace_id, [(spec, "1")])
        house = Api(core, caller, key.secret)

        async def served(actor: FakeModel) -> Api:
            models._models["actor"] = actor
            return house

        yield served
        await house.client.aclose()


@pytest.mark.parametrize(
    ("replies", "printed"),
    [
        (["On its ", "way."], "On its way.\n15 tokens\n"),
        (["On its ", ModelUnavailable("away")], "On its \n(once more)\nOn its way.\n15 tokens\n"),
        ([ModelUnavailable("away")], "On its way.\n15 tokens\n"),
    ],
)
async def test_the_example_of_the_client_shows_an_answer_once_or_says_that_it_begins_anew(
    serve: Callable[..., Awaitable[Api]],
    capsys: pytest.CaptureFixture[str],
    replies: Any,
    printed: str,
) -> None:
    answers: list[Any] = [replies, ["On its ", "way."]]
    house = await serve(FakeModel(lambda _: answers.pop(0)))
    transport = httpx2.ASGITransport(house.app)
    capsys.readouterr()
    await run(example(client), Client=partial(client.Client, transport=transport), key=house.key)
    shown = capsys.readouterr().out
    assert "".join(line for line in shown.splitlines(keepends=True) if line[:1] != "[") == printed


async def test_the_example_of_the_client_says_why_an_execution_failed(
    serve: Callable[..., Awaitable[Api]], capsys: pytest.CaptureFixture[str]
) -> None:
    house = await serve(FakeModel(lambda _: [ModelUnavailable("away")]))
    transport = httpx2.ASGITransport(house.app)
    await run(example(client), Client=partial(client.Client, transport=transport), key=house.key)
    assert "\nmodel_unavailable: away\n" in capsys.readouterr().out
