"""The port of embedding models."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Embedded:
    """The vectors of some texts."""

    vectors: tuple[bytes, ...]
    """One for each text, in their order: float32 in little-endian order, of unit length."""
    tokens: int
    """Tokens of the texts, as the model counts them; 0 if it does not say."""


class Embedder(Protocol):
    """An embedding model."""

    batch: int
    """Maximum texts of one request."""

    async def embed(self, texts: Sequence[str]) -> Embedded:
        """Return the vectors of texts that are not empty; what a model cannot take is cut off.

        Raises ModelUnavailable, ModelRateLimited, ModelRejected, ContextTooLong. No error shows a
        text or a key.
        """
        ...

    async def close(self) -> None:
        """Close connections and child processes."""
        ...
