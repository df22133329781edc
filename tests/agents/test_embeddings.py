"""Embedding models: the local one in its child process, and endpoints like OpenAI's."""

import asyncio
import importlib.util
import os
import re
import signal
import struct
import sys
from collections.abc import AsyncIterator
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from outlast.agents.embeddings import files
from outlast.agents.embeddings.catalogue import Embedders
from outlast.agents.embeddings.local import LocalEmbedder
from outlast.agents.embeddings.minilm_worker import VOCABULARY as VOCABULARY_FILE
from outlast.agents.embeddings.minilm_worker import WEIGHTS
from outlast.agents.embeddings.vectors import nearest, unit_vectors
from outlast.agents.embeddings.word_pieces import WordPieces
from outlast.model.clock import SystemClock
from outlast.model.embedding import fused
from outlast.model.error import (
    ContextTooLong,
    Misconfigured,
    ModelRateLimited,
    ModelRejected,
    ModelUnavailable,
)
from outlast.model.provider import read_providers
from tests.support.embeddings import EmbeddingProvider
from tests.support.waiting import BOUND

pytestmark = pytest.mark.anyio

DATA_DIR = Path(__file__).parents[2] / ".demo" / "data"
NAME = "all-minilm-l6-v2"
REFERENCE = [0.031, 0.0067, -0.0044, 0.0475, -0.1399, -0.0359, 0.1023, -0.0556]


@pytest.mark.parametrize("name", [f"local:{NAME}", "openai-embeddings:small"])
def test_without_numpy_the_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """As where the package is not installed: its import finds nothing."""
    found = importlib.util.find_spec

    def without(name: str, of: str | None = None) -> ModuleSpec | None:
        return None if name == "numpy" else found(name, of)

    monkeypatch.setattr("importlib.util.find_spec", without)
    made = Embedders(SystemClock(), tmp_path, environment={"OPENAI_API_KEY": "x"})
    text = "Semantic search needs an extra: pip install '.[semantic]' in a checkout of Outlast"
    with pytest.raises(Misconfigured, match=re.escape(text)):
        made.find(name)


def numbers(vector: bytes) -> list[float]:
    return list(struct.unpack(f"<{len(vector) // 4}f", vector))


def cosine(one: bytes, other: bytes) -> float:
    return sum(a * b for a, b in zip(numbers(one), numbers(other), strict=True))


@pytest.fixture(scope="session")
def data_dir(request: pytest.FixtureRequest) -> Path:
    capture = request.config.pluginmanager.getplugin("capturemanager")
    assert capture is not None
    with capture.global_and_fixture_disabled():
        files.pull(NAME, DATA_DIR, lambda text: print(text, file=sys.stderr, flush=True))
    return DATA_DIR


@pytest.fixture
async def local(data_dir: Path) -> AsyncIterator[LocalEmbedder]:
    embedder = LocalEmbedder(NAME, data_dir)
    yield embedder
    await embedder.close()


async def test_the_local_model_puts_what_means_the_same_side_by_side(local: LocalEmbedder) -> None:
    texts = [
        "Anna does not eat meat.",
        "She is a vegetarian.",
        "The invoice is due on Friday.",
        "The bill must be paid by the end of the week.",
    ]
    meat, vegetarian, invoice, bill = (await local.embed(texts)).vectors
    assert cosine(meat, meat) == pytest.approx(1.0, abs=1e-5)
    assert cosine(meat, vegetarian) > cosine(meat, invoice) + 0.2
    assert cosine(invoice, bill) > cosine(vegetarian, bill) + 0.2


async def test_the_local_models_vectors_are_those_of_the_reference(local: LocalEmbedder) -> None:
    """By ONNX Runtime 1.32 and the model's ONNX export in 8 bits: so they differ a little."""
    found = numbers((await local.embed(["A man is eating food."])).vectors[0])
    assert len(found) == 384
    assert found[:8] == pytest.approx(REFERENCE, abs=0.01)


async def test_a_text_has_the_same_vector_alone_and_among_others(local: LocalEmbedder) -> None:
    texts = ["one", "a much longer text about cats and dogs " * 20, "", "日本語 🎉", "two"]
    together = await local.embed(texts)
    assert together.tokens == 3 + 162 + 2 + 6 + 3
    for text, vector in zip(texts, together.vectors, strict=True):
        alone = (await local.embed([text])).vectors[0]
        assert cosine(alone, vector) == pytest.approx(1.0, abs=1e-5)
    end = (await local.embed(["word " * 254, "word " * 254 + "unseen"])).vectors
    assert cosine(*end) == pytest.approx(1.0, abs=1e-5)


async def test_a_child_that_dies_is_started_again(local: LocalEmbedder) -> None:
    before = (await local.embed(["a dog"])).vectors
    assert local.pid is not None
    os.kill(local.pid, signal.SIGKILL)
    for _ in range(3):
        try:
            again = (await local.embed(["a dog"])).vectors
            break
        except ModelUnavailable:
            continue
    assert again == before


async def test_a_cancelled_request_leaves_the_next_one_its_own_answer(
    local: LocalEmbedder,
) -> None:
    expected = (await local.embed(["a dog"])).vectors
    task = asyncio.create_task(local.embed(["long " * 254] * 8), name="cancelled")
    await asyncio.sleep(0.05)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    async with asyncio.timeout(BOUND):
        assert (await local.embed(["a dog"])).vectors == expected


async def test_a_model_that_is_not_there_names_the_command(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match=f"outlast models pull {NAME}"):
        LocalEmbedder(NAME, tmp_path)
    with pytest.raises(Misconfigured, match=f"there is: local:{NAME}"):
        LocalEmbedder("gpt", tmp_path)


async def test_files_that_are_no_model_say_so_at_the_first_request(
    tmp_path: Path, data_dir: Path
) -> None:
    place = tmp_path / "models" / NAME
    place.mkdir(parents=True)
    (place / VOCABULARY_FILE).symlink_to(data_dir / "models" / NAME / VOCABULARY_FILE)
    size = (data_dir / "models" / NAME / WEIGHTS).stat().st_size
    with (place / WEIGHTS).open("wb") as file:
        file.truncate(size)
    embedder = LocalEmbedder(NAME, tmp_path)
    with pytest.raises(ModelUnavailable, match="could not load"):
        await embedder.embed(["x"])
    await embedder.close()


VOCABULARY = ["[UNK]", "[CLS]", "[SEP]", "un", "##want", "##ed", "cafe", ",", "日", "run", "##s"]


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("UNwanted, runs", [3, 4, 5, 7, 9, 10]),
        ("Café\u0301\u200b,\tCAFE", [6, 7, 6]),
        ("日日 日", [8, 8, 8]),
        ("unknown", [0]),
        ("run" + "s" * 98, [0]),
        ("", []),
    ],
)
def test_words_are_cut_into_the_longest_pieces(text: str, pieces: list[int]) -> None:
    assert WordPieces(VOCABULARY).numbers(text, 64) == [1, *pieces, 2]


def test_no_more_tokens_than_the_model_takes_are_made() -> None:
    assert WordPieces(VOCABULARY).numbers("unwanted runs", 5) == [1, 3, 4, 5, 2]
    assert len(WordPieces(VOCABULARY).numbers("runs " * 100_000, 256)) == 256


# --- endpoints


@pytest.fixture
async def provider() -> AsyncIterator[EmbeddingProvider]:
    async with EmbeddingProvider() as provider:
        yield provider


@pytest.fixture
async def embedders(provider: EmbeddingProvider, tmp_path: Path) -> AsyncIterator[Embedders]:
    environment = {"OPENAI_BASE_URL": provider.url, "MINE": "sk-secret-of-mine"}
    entry = {"baseUrl": provider.url, "apiKey": "${MINE}", "headers": {"X-Team": "blue"}}
    other = {"kind": "anthropic"}
    providers = read_providers({"mine": entry, "claude": other})
    made = Embedders(SystemClock(), tmp_path, providers=providers, environment=environment)
    yield made
    await made.close()


async def test_an_endpoint_answers_in_any_order_with_vectors_of_any_length(
    embedders: Embedders, provider: EmbeddingProvider
) -> None:
    found = await embedders.embed("openai-embeddings:small", ["a dog", "a car", "a dog"])
    assert found.tokens == 21
    assert found.vectors[0] == found.vectors[2] != found.vectors[1]
    assert cosine(found.vectors[0], found.vectors[0]) == pytest.approx(1.0)
    assert provider.requests == [{"model": "small", "input": ["a dog", "a car", "a dog"]}]


async def test_a_named_providers_key_and_headers_are_sent(
    embedders: Embedders, provider: EmbeddingProvider
) -> None:
    await embedders.embed("mine:org/model:2", ["x"])
    assert provider.requests[0]["model"] == "org/model:2"
    assert provider.headers[0]["authorization"] == "Bearer sk-secret-of-mine"
    assert provider.headers[0]["x-team"] == "blue"


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("claude:small", "of the kind anthropic"),
        ("nobody:small", "No provider is named"),
        ("small", "names no kind"),
        ("mine:", "names no kind"),
    ],
)
async def test_a_name_that_cannot_be_is_explained(
    embedders: Embedders, name: str, problem: str
) -> None:
    with pytest.raises(Misconfigured, match=problem):
        embedders.find(name)


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, ContextTooLong),
        (413, ContextTooLong),
        (401, ModelRejected),
        (404, ModelRejected),
        (429, ModelRateLimited),
        (500, ModelUnavailable),
    ],
)
async def test_a_refusal_shows_neither_the_text_nor_the_key(
    embedders: Embedders, provider: EmbeddingProvider, status: int, error: type[Exception]
) -> None:
    provider.status = status
    with pytest.raises(error) as raised:
        await embedders.embed("mine:small", ["a secret text sk-secret-of-mine"])
    assert str(status) in str(raised.value)
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize(
    "body",
    [
        [],
        {},
        {"data": []},
        {"data": {}},
        {"data": [{"embedding": []}]},
        {"data": [{"embedding": ["a"]}]},
        {"data": [{"embedding": [None]}]},
        {"data": [{"embedding": [0.0, 0.0]}]},
        {"data": [{"embedding": "AAAA"}]},
        {"data": [{"embedding": [[1.0]]}]},
        {"data": [{"embedding": [1.0] * 9000}]},
        {"data": [{"index": 1, "embedding": [1.0]}]},
        {"data": [None]},
        "text",
    ],
)
async def test_an_answer_without_vectors_is_a_failure_of_the_provider(
    embedders: Embedders, provider: EmbeddingProvider, body: Any
) -> None:
    provider.body = body
    with pytest.raises(ModelUnavailable, match="embeddings"):
        await embedders.embed("mine:small", ["x"])


async def test_large_numbers_have_a_direction_too(
    embedders: Embedders, provider: EmbeddingProvider
) -> None:
    provider.body = {"data": [{"index": [], "embedding": [1e150, -1e150]}]}
    found = await embedders.embed("mine:small", ["x"])
    assert numbers(found.vectors[0]) == pytest.approx([0.7071068, -0.7071068])


async def test_an_endpoint_that_is_down_is_unavailable(tmp_path: Path) -> None:
    environment = {"OPENAI_BASE_URL": "http://127.0.0.1:9/v1"}
    made = Embedders(SystemClock(), tmp_path, environment=environment)
    with pytest.raises(ModelUnavailable):
        await made.embed("openai-embeddings:small", ["x"])
    await made.close()


def test_the_nearest_are_those_of_the_largest_cosine() -> None:
    rows = [[1, 0], [0.9, 0.1], [0, 1], [-1, 0], [0.5, 0.5]]
    names = ["a", "b", "c", "d", "e"]
    query, units = unit_vectors([[2, 0]])[0], unit_vectors(rows)
    table = np.frombuffer(b"".join(units), dtype="<f4").reshape(5, 2)
    found = nearest(query, names, table, 3)
    assert [name for _, name in found] == ["a", "b", "e"]
    assert found[0][0] == pytest.approx(1.0)
    assert len(nearest(query, names, table, 50)) == 5
    assert [name for _, name in nearest(query, names, table, 2, [4, 2, 3])] == ["e", "c"]
    assert nearest(query, names, table, 2, []) == nearest(query, [], table[:0], 5) == []


def test_two_rankings_are_joined_by_the_sum_of_their_reciprocal_ranks() -> None:
    assert fused([["a", "b"], ["b", "c"]]) == {
        "a": 1 / 61,
        "b": pytest.approx(1 / 62 + 1 / 61),
        "c": 1 / 62,
    }
