"""Finds the model that a model string names.

openai-chat:NAME   our own client, for any OpenAI-compatible endpoint
local:NAME         a GGUF in a child process
scripted:FILE      answers from a file
anthropic:NAME …   whatever pydantic-ai knows, through its Model layer
"""

import asyncio
import importlib
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from outlast.agents.models.openai_chat import OpenAIEndpoint
from outlast.agents.models.scripted import ScriptedModel
from outlast.agents.port import Model
from outlast.model.clock import Clock
from outlast.model.error import Misconfigured

_KNOWN = (
    "openai-chat:, local:, scripted:, anthropic:, openai:, google:, groq:, mistral:, bedrock: "
    "and the other providers of pydantic-ai"
)


def _is_script(name: str) -> bool:
    return name.partition(":")[0] == "scripted"


class ModelCatalogue:
    """Finds models by name, creates each at its first use and caches it."""

    def __init__(
        self,
        clock: Clock,
        data_dir: Path,
        *,
        environment: Mapping[str, str] | None = None,
        connect_timeout: float = 10.0,
        read_timeout: float = 300.0,
    ) -> None:
        """Timeouts in seconds: to connect, and between two chunks."""
        self._clock = clock
        self._data_dir = data_dir
        self._environment = os.environ if environment is None else environment
        self._connect_timeout = connect_timeout
        self._read_timeout = read_timeout
        self._models: dict[str, Model] = {}
        self._endpoint: OpenAIEndpoint | None = None

    def find(self, name: str) -> Model:
        """Return the model of this name, created at first use and cached. Raises Misconfigured."""
        model = self._models.get(name)
        if model is None:
            model = self._models[name] = self._make(name)
        return model

    def forget_scripts(self) -> None:
        """Read a script's file again when its model is next used."""
        self._models = {name: model for name, model in self._models.items() if not _is_script(name)}

    async def warm_up(self) -> None:
        """Import and open, in a thread, what the first `openai-chat` call needs.

        Safe to call many times. If no endpoint is configured, the first call raises the error.
        """
        await asyncio.to_thread(importlib.import_module, "aiohttp")
        with suppress(Misconfigured):
            await self._openai().warm_up()

    async def close(self) -> None:
        """Close every model that was created."""
        for model in self._models.values():
            await model.close()
        self._models.clear()
        if self._endpoint is not None:
            await self._endpoint.close()
            self._endpoint = None

    def _make(self, name: str) -> Model:
        kind, colon, rest = name.partition(":")
        if not (colon and kind and rest):
            raise Misconfigured(f"The model {name!r} names no kind. Known: {_KNOWN}.")
        makers: dict[str, Callable[[str], Model]] = {
            "openai-chat": self._openai_chat,
            "scripted": self._scripted,
            "local": self._local,
        }
        maker = makers.get(kind)
        return maker(rest) if maker is not None else self._bridged(name, kind)

    def _openai_chat(self, name: str) -> Model:
        return self._openai().model(name)

    def _openai(self) -> OpenAIEndpoint:
        if self._endpoint is None:
            self._endpoint = OpenAIEndpoint(
                self._environment,
                self._clock,
                connect_timeout=self._connect_timeout,
                read_timeout=self._read_timeout,
            )
        return self._endpoint

    def _scripted(self, path: str) -> Model:
        return ScriptedModel.from_file(Path(path), self._clock)

    def _local(self, name: str) -> Model:
        from outlast.agents.models.local import LocalModel

        return LocalModel(name, self._data_dir, self._clock)

    def _bridged(self, name: str, kind: str) -> Model:
        from outlast.agents.models.bridge import BridgedModel

        if kind == "test":
            raise Misconfigured(f"The model {name!r} is not known. Known: {_KNOWN}.")
        return BridgedModel.named(name, self._clock, read_timeout=self._read_timeout, known=_KNOWN)
