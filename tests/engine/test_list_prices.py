"""Steps are charged by list prices where the operator has set none."""

import asyncio
from decimal import Decimal
from pathlib import Path

import pytest

from outlast.agents.models.catalogue import ModelCatalogue
from outlast.agents.prices import genai
from outlast.agents.tools.toolbox import ToolBox
from outlast.model.agent import AgentSpec
from outlast.model.clock import SystemClock
from outlast.model.execution import Execution, Status
from outlast.model.price import NANO, Prices
from outlast.model.provider import ProviderSpec
from outlast.testing import owner
from tests.support.databases import Database
from tests.support.engine import start_request
from tests.support.provider import FakeProvider, Reply
from tests.support.waiting import BOUND

pytestmark = pytest.mark.anyio


def answer(model: str) -> Reply:
    """An answer of 250,000 tokens in, 1,000 of them from a cache, and 100 out."""
    return Reply(
        (
            b'data: {"model":"%b","choices":[{"delta":{"content":"Hi"},'
            b'"finish_reason":"stop"}]}\n\n'
            b'data: {"model":"%b","choices":[],"usage":{"prompt_tokens":250000,'
            b'"completion_tokens":100,"prompt_tokens_details":{"cached_tokens":1000}}}\n\n'
            b"data: [DONE]\n\n" % (model.encode(), model.encode()),
        )
    )


async def run(
    tmp_path: Path, database: Database, requested: str, answered: str, **prices: object
) -> Execution:
    clock = SystemClock()
    async with FakeProvider() as provider:
        provider.replies[requested] = answer(answered)
        providers = {"gw": ProviderSpec("gw", base_url=provider.url)}
        models = ModelCatalogue(clock, tmp_path, providers=providers)
        given = Prices(credits_per_dollar=Decimal(100), **prices)  # type: ignore[arg-type]
        async with database.core(models=models, tools=ToolBox(clock), prices=given) as core:
            caller = await owner(core)
            agent = AgentSpec("agent", f"gw:{requested}")
            await core.services.agents.put(caller.workspace_id, [(agent, "1")])
            async with asyncio.timeout(BOUND):
                _, view = await core.services.executions.run(caller, "agent", start_request())
    assert view.execution.status is Status.COMPLETED
    (charged,) = database.rows("SELECT credits FROM charges")
    assert charged == (view.execution.credits,)
    return view.execution


GEMINI = (249_000 * 250_000 + 1000 * 25_000 + 100 * 1_500_000) * NANO // 1_000_000_000
"""$2.50, $15 and $0.25 for 1,000,000 tokens of a request over 200,000, at 100 credits a dollar."""


@pytest.mark.parametrize("requested", ["gemini-2.5-pro", "auto"])
async def test_a_request_is_charged_by_its_providers_list_price_for_its_size(
    tmp_path: Path, database: Database, requested: str
) -> None:
    found = await run(tmp_path, database, requested, "gemini-2.5-pro", providers={"gw": "google"})
    assert found.credits == GEMINI


@pytest.mark.parametrize("lacking", ["the model's provider", "the list"])
async def test_without_a_list_price_or_a_list_the_default_applies(
    tmp_path: Path, database: Database, monkeypatch: pytest.MonkeyPatch, lacking: str
) -> None:
    providers = {}
    if lacking == "the list":
        monkeypatch.setattr(genai, "_CHILD", tmp_path / "gone.py")
        providers = {"gw": "google"}
    found = await run(tmp_path, database, "gemini-2.5-pro", "gemini-2.5-pro", providers=providers)
    assert found.credits == 250_100 * NANO // 1000
