"""Finds the model that a model string names.

PROVIDER:NAME      at a provider that the operator has named, see `model.provider`
openai-chat:NAME   our own client, for the OpenAI-compatible endpoint that the environment names
local:NAME         a GGUF in a child process
scripted:FILE      answers from a file
anthropic:NAME …   whatever pydantic-ai knows, through its Model layer
"""

import asyncio
import importlib
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from outlast.agents.embeddings.catalogue import OPENAI_EMBEDDINGS
from outlast.agents.models.openai_chat import OPENAI, OpenAIEndpoint
from outlast.agents.models.providers import filled, of_environment
from outlast.agents.models.scripted import ScriptedModel
from outlast.agents.port import Model, Offer
from outlast.model.clock import Clock
from outlast.model.error import Misconfigured
from outlast.model.provider import OPENAI_CHAT, ProviderSpec

_KNOWN = (
    "openai-chat:, local:, scripted:, anthropic:, openai:, google:, groq:, mistral:, bedrock: "
    "and the other providers of pydantic-ai"
)

_FAMILIES = {
    "gpt": OPENAI_CHAT,
    "o1": OPENAI_CHAT,
    "o3": OPENAI_CHAT,
    "o4": OPENAI_CHAT,
    "claude": "anthropic",
    "gemini": "google",
    "mistral": "mistral",
    "smollm": "local",
}
"""Beginnings of models' names, and the kind that a name without one is likely to want."""
_HERE = frozenset({"local", "scripted", "test"})
_OPENAI_KINDS = frozenset({"openai", "openai-responses"})
"""Kinds whose SDK takes OPENAI_BASE_URL from the environment."""


def _is_script(name: str) -> bool:
    return name.partition(":")[0] == "scripted"


def _hint(name: str) -> str:
    kind = next((_FAMILIES[start] for start in _FAMILIES if name.startswith(start)), None)
    return "" if kind is None else f" Did you mean {kind}:{name}?"


class ModelCatalogue:
    """Finds models by name, creates each at its first use and caches it."""

    def __init__(
        self,
        clock: Clock,
        data_dir: Path,
        *,
        environment: Mapping[str, str] | None = None,
        providers: Mapping[str, ProviderSpec] | None = None,
        connect_timeout: float = 10.0,
        read_timeout: float = 300.0,
    ) -> None:
        """Timeouts in seconds: to connect, and between two chunks."""
        self._clock = clock
        self._data_dir = data_dir
        self._environment = os.environ if environment is None else environment
        self._connect_timeout = connect_timeout
        self._read_timeout = read_timeout
        self._providers = dict(providers or {})
        self._models: dict[str, Model] = {}
        self._endpoints: dict[str, OpenAIEndpoint] = {}
        self._urls: dict[str, str | None] = {}
        self._retired: list[Model | OpenAIEndpoint] = []
        """Models and endpoints replaced by `use`; their requests may still run."""

    def find(self, name: str) -> Model:
        """Return the model of this name, created at first use and cached. Raises Misconfigured."""
        model = self._models.get(name)
        if model is None:
            model = self._models[name] = self._make(name)
        return model

    def kind(self, name: str) -> str:
        """Return the kind of a model string: `openai-chat`, `local`, or one of pydantic-ai."""
        prefix = name.partition(":")[0]
        spec = self._providers.get(prefix)
        return prefix if spec is None else spec.kind

    def offer(self, name: str) -> Offer | None:
        """Return the provider and its name of the model; None for a model that runs here."""
        prefix, _, model = name.partition(":")
        given = self._providers.get(prefix)
        kind = OPENAI_CHAT if prefix == OPENAI_EMBEDDINGS and given is None else self.kind(name)
        if not model or kind in _HERE:
            return None
        if prefix not in self._urls:
            try:
                self._urls[prefix] = self._url(kind, given)
            except Misconfigured:  # a variable that is not set: its first request says so
                return None
        return Offer(kind, self._urls[prefix], model)

    def _url(self, kind: str, given: ProviderSpec | None) -> str | None:
        """Return the URL that a provider's requests go to; None: that of its kind."""
        if kind == OPENAI_CHAT:
            spec = of_environment(self._environment)
            return (spec if given is None else filled(given, self._environment)).base_url or OPENAI
        if given is not None:
            return filled(given, self._environment).base_url
        return self._environment.get("OPENAI_BASE_URL") if kind in _OPENAI_KINDS else None

    def use(self, providers: Mapping[str, ProviderSpec]) -> None:
        """Use these providers, and scripts as they are now, for later requests.

        Running requests are not affected.
        """
        changed = {
            name
            for name in {*self._providers, *providers}
            if self._providers.get(name) != providers.get(name)
        }
        self._providers = dict(providers)
        self._urls.clear()
        for name in [name for name in self._models if name.partition(":")[0] in changed]:
            self._retired.append(self._models.pop(name))
        for name in changed & {*self._endpoints}:
            self._retired.append(self._endpoints.pop(name))
        self._models = {name: model for name, model in self._models.items() if not _is_script(name)}

    async def warm_up(self) -> None:
        """Import and open, in a thread, what the first `openai-chat` call needs.

        Safe to call many times. If no endpoint is configured, the first call raises the error.
        """
        await asyncio.to_thread(importlib.import_module, "aiohttp")
        for name in (*self._providers, OPENAI_CHAT):
            with suppress(Misconfigured):
                if self.kind(f"{name}:") == OPENAI_CHAT:
                    await self._endpoint(name).warm_up()

    async def close(self) -> None:
        """Close every model that was created."""
        for made in (*self._models.values(), *self._endpoints.values(), *self._retired):
            await made.close()
        self._models.clear()
        self._endpoints.clear()
        self._retired.clear()

    def _make(self, name: str) -> Model:
        kind, colon, rest = name.partition(":")
        if not (colon and kind and rest):
            hint = "" if colon else _hint(name)
            raise Misconfigured(f"The model {name!r} names no kind.{hint} Known: {self._known()}.")
        match self.kind(name):
            case "openai-chat":
                return self._endpoint(kind).model(rest)
            case "scripted":
                return self._scripted(rest)
            case "local":
                return self._local(rest)
            case bridged:
                return self._bridged(f"{bridged}:{rest}", self._providers.get(kind))

    def _known(self) -> str:
        """Return the kinds and providers that a model string may begin with, for an error."""
        return ", ".join((*(f"{named}:" for named in self._providers), _KNOWN))

    def _endpoint(self, name: str) -> OpenAIEndpoint:
        if name not in self._endpoints:
            given = self._providers.get(name)
            spec = of_environment(self._environment)
            self._endpoints[name] = OpenAIEndpoint(
                spec if given is None else filled(given, self._environment),
                self._clock,
                connect_timeout=self._connect_timeout,
                read_timeout=self._read_timeout,
            )
        return self._endpoints[name]

    def _scripted(self, path: str) -> Model:
        return ScriptedModel.from_file(Path(path), self._clock)

    def _local(self, name: str) -> Model:
        from outlast.agents.models.local import LocalModel

        return LocalModel(name, self._data_dir, self._clock)

    def _bridged(self, name: str, spec: ProviderSpec | None) -> Model:
        from outlast.agents.models.bridge import BridgedModel

        known = self._known()
        if name.partition(":")[0] == "test":
            raise Misconfigured(f"The model {name!r} is not known. Known: {known}.")
        given = None if spec is None else filled(spec, self._environment)
        seconds = (given and given.timeout) or self._read_timeout
        return BridgedModel.named(
            name, self._clock, read_timeout=seconds, known=known, provider=given
        )
