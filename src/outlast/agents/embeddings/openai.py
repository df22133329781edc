"""Any endpoint that speaks OpenAI's embeddings.

https://platform.openai.com/docs/api-reference/embeddings/create; so do vLLM, Ollama, llama.cpp's
server, Text Embeddings Inference, LiteLLM and the gateways.
"""

import asyncio
from collections.abc import Sequence
from typing import Any, Final

import orjson

from outlast.agents.embeddings.port import Embedded
from outlast.agents.embeddings.vectors import unit_vectors
from outlast.agents.models.exchange import Exchange
from outlast.agents.models.openai_chat import OpenAIEndpoint
from outlast.agents.models.refusal import refusal
from outlast.model.clock import Clock
from outlast.model.error import ContextTooLong, ModelUnavailable

_OK: Final = 200
_BAD_REQUEST: Final = (400, 413, 422)
_MOST_BYTES: Final = 64 * 1024 * 1024
_PATIENCE: Final = 30.0
"""Seconds of silence after which a request has failed, unless the provider has a timeout."""


class OpenAIEmbedder:
    """One embedding model of an endpoint."""

    batch = 64

    def __init__(self, name: str, endpoint: OpenAIEndpoint, clock: Clock) -> None:
        """`name`: the endpoint's name of the model."""
        self._name = name
        self._endpoint = endpoint
        self._provider = endpoint.at("embeddings", _PATIENCE)
        self._clock = clock

    async def embed(self, texts: Sequence[str]) -> Embedded:
        """Return the vectors; the caller cuts texts that are too long."""
        body = orjson.dumps({"model": self._name, "input": [*texts]})
        exchange = await self._provider.ask(body)
        whole = False
        try:
            if exchange.status != _OK:
                raise self._refusal(exchange)
            answer = await _read(exchange, _MOST_BYTES)
            whole = True
        finally:
            exchange.close(satisfied=whole)
        return await asyncio.to_thread(self._vectors, answer, len(texts))

    async def close(self) -> None:
        """Close every connection."""
        await self._provider.close()
        await self._endpoint.close()

    def _vectors(self, answer: bytes, wanted: int) -> Embedded:
        """Return the vectors of an answer. Raises ModelUnavailable if it is none."""
        try:
            value = orjson.loads(answer)
            rows = {_place(entry, at): entry["embedding"] for at, entry in enumerate(value["data"])}
            vectors = unit_vectors([rows[at] for at in range(wanted)])
        except (ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError):
            raise ModelUnavailable(
                f"{self._name}: the provider's answer holds no {wanted} embeddings."
            ) from None
        return Embedded(vectors, _tokens(value))

    def _refusal(self, exchange: Exchange) -> Exception:
        """Return the error of an answer, without its text: a provider may repeat what was sent.

        What is wrong with a text, such as its length, has no status of its own: ContextTooLong.
        """
        headers, now = exchange.headers, self._clock.now()
        error = refusal(self._name, exchange.status, b"", headers=headers, now=now)
        return ContextTooLong(error.message) if exchange.status in _BAD_REQUEST else error


def _place(entry: dict[str, Any], at: int) -> int:
    index = entry.get("index")
    return index if isinstance(index, int) else at


def _tokens(value: dict[str, Any]) -> int:
    usage = value.get("usage")
    tokens = usage.get("prompt_tokens") if isinstance(usage, dict) else None
    return tokens if isinstance(tokens, int) and tokens > 0 else 0


async def _read(exchange: Exchange, most: int) -> bytes:
    """Return the body up to a size; a longer one is cut off."""
    parts: list[bytes] = []
    size = 0
    while size < most and (more := await exchange.read()):
        parts.append(more)
        size += len(more)
    return b"".join(parts)
