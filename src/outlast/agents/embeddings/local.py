"""The local embedding model, in a child process of its own.

The child starts at the first request and is started again if it dies. Requests are served one at a
time in order.
"""

import asyncio
import base64
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from outlast.agents.embeddings.files import find, require_extra
from outlast.agents.embeddings.port import Embedded
from outlast.agents.models.local_child import Child
from outlast.model.error import ModelUnavailable

_WORKER: Final = ("-m", "outlast.agents.embeddings.minilm_worker")


class LocalEmbedder:
    """An Embedder on files of this machine."""

    batch = 8
    """Texts of full length take a second: so long a search may wait for what is being written."""

    def __init__(self, name: str, data_dir: Path) -> None:
        """Raises Misconfigured with the command to run if the extra or the model is missing."""
        require_extra()
        self._folder = find(name, data_dir)
        self._turn = asyncio.Lock()
        self._child: Child | None = None

    @property
    def pid(self) -> int | None:
        """The child's process id; None if there is no child."""
        return None if self._child is None else self._child.pid

    async def embed(self, texts: Sequence[str]) -> Embedded:
        """Return the vectors; of each text the first 256 tokens count."""
        async with self._turn:
            child = await self._ready_child()
            await child.ask([*texts])
            answer = await child.read()
        if "error" in answer:
            raise ModelUnavailable(f"The local embedding model failed: {answer['error']}.")
        end = answer["end"]
        return Embedded(tuple(map(base64.b64decode, end["vectors"])), end["tokens"])

    async def close(self) -> None:
        """End the child."""
        child, self._child = self._child, None
        if child is not None:
            await child.kill()

    async def _ready_child(self) -> Child:
        if self._child is not None and self._child.is_busy:
            await self._child.settle()  # an earlier request was cancelled
        if self._child is not None and not self._child.is_alive:
            await self.close()
        if self._child is None:
            self._child = await Child.start(self._folder, _WORKER, "numpy")
        return self._child
