"""Models of providers that a test names."""

from pathlib import Path

from outlast.agents.models.catalogue import ModelCatalogue
from outlast.agents.port import ModelRequest
from outlast.model.clock import SystemClock
from outlast.model.message import UserMessage
from outlast.model.provider import ProviderSpec

REQUEST = ModelRequest("", (UserMessage("Hello"),), settings={"temperature": 0.5})


def catalogue(providers: dict[str, ProviderSpec], path: Path, **environment: str) -> ModelCatalogue:
    return ModelCatalogue(SystemClock(), path, environment=environment, providers=providers)


async def answered(models: ModelCatalogue, name: str) -> str:
    return [event async for event in models.find(name).stream(REQUEST)][-1].model  # type: ignore[union-attr]
