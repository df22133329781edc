"""Finds the embedding model that a string names.

openai-embeddings:NAME   the OpenAI-compatible endpoint that the environment names
PROVIDER:NAME            one that the operator has named under `providers`, of the kind openai-chat
local:all-minilm-l6-v2   in a child process, on files that `outlast models pull` has fetched
"""

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from outlast.agents.embeddings.files import require_extra
from outlast.agents.embeddings.local import LocalEmbedder
from outlast.agents.embeddings.port import Embedded, Embedder
from outlast.agents.models.providers import filled, of_environment
from outlast.model.clock import Clock
from outlast.model.error import Misconfigured
from outlast.model.provider import OPENAI_CHAT, ProviderSpec

OPENAI_EMBEDDINGS: Final = "openai-embeddings"
_KNOWN: Final = f"{OPENAI_EMBEDDINGS}:NAME, PROVIDER:NAME, local:all-minilm-l6-v2"


class Embedders:
    """Embedding models by name; each is created at its first use."""

    def __init__(
        self,
        clock: Clock,
        data_dir: Path,
        *,
        providers: Mapping[str, ProviderSpec] | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._clock = clock
        self._data_dir = data_dir
        self._providers = dict(providers or {})
        self._environment = os.environ if environment is None else environment
        self._counted: Callable[[str, int], None] = lambda *_: None
        self._made: dict[str, Embedder] = {}
        self._retired: list[Embedder] = []
        """Models replaced by `use`; their requests may still run."""

    def find(self, name: str) -> Embedder:
        """Return the model of this name. Raises Misconfigured, saying what is missing."""
        made = self._made.get(name)
        if made is None:
            made = self._made[name] = self._make(name)
        return made

    async def embed(self, name: str, texts: Sequence[str]) -> Embedded:
        """Return the vectors of texts. Raises Misconfigured, and what `Embedder.embed` raises."""
        embedded = await self.find(name).embed(texts)
        self._counted(name, embedded.tokens)
        return embedded

    def watch(self, counted: Callable[[str, int], None]) -> None:
        """Call this with a model's name and the tokens of each request."""
        self._counted = counted

    def use(self, providers: Mapping[str, ProviderSpec]) -> None:
        """Use these providers for later requests."""
        self._providers = dict(providers)
        for name in [name for name in self._made if not name.startswith("local:")]:
            self._retired.append(self._made.pop(name))

    async def close(self) -> None:
        """Close every model that was created."""
        for made in (*self._made.values(), *self._retired):
            await made.close()
        self._made.clear()
        self._retired.clear()

    def _make(self, name: str) -> Embedder:
        require_extra()
        prefix, _, rest = name.partition(":")
        if not rest:
            raise Misconfigured(f"The embedding model {name!r} names no kind. Known: {_KNOWN}.")
        if prefix == "local":
            return LocalEmbedder(rest, self._data_dir)
        given = self._providers.get(prefix)
        if given is None and prefix in (OPENAI_EMBEDDINGS, OPENAI_CHAT):
            return self._of_endpoint(rest, of_environment(self._environment))
        if given is None:
            raise Misconfigured(f"No provider is named {prefix!r}. Known: {_KNOWN}.")
        if given.kind != OPENAI_CHAT:
            raise Misconfigured(
                f"The provider {prefix} is of the kind {given.kind}; embeddings need one of the "
                f"kind {OPENAI_CHAT}."
            )
        return self._of_endpoint(rest, filled(given, self._environment))

    def _of_endpoint(self, name: str, spec: ProviderSpec) -> Embedder:
        from outlast.agents.embeddings.openai import OpenAIEmbedder
        from outlast.agents.models.openai_chat import OpenAIEndpoint

        return OpenAIEmbedder(name, OpenAIEndpoint(spec, self._clock), self._clock)
