"""all-MiniLM-L6-v2 in numpy: six layers of BERT, the mean of the tokens, unit length.

https://arxiv.org/abs/1810.04805 (BERT), https://arxiv.org/abs/1908.10084 (mean of tokens). Texts of
a batch lie in one matrix, one behind the other, so nothing is padded; only attention is text by
text. Runs in a child process (see `minilm_worker`).
"""

import json
import mmap
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np

HEADS: Final = 12
MOST_TOKENS: Final = 256
"""Tokens of a text that count; the model was trained with no more."""
_EPSILON: Final = 1e-12

Array: TypeAlias = "np.ndarray[Any, Any]"


class MiniLM:
    """The model's weights."""

    def __init__(self, path: Path) -> None:
        """`path` of the weights in the format of safetensors, which are read as they are used."""
        self._weights = read_weights(path)
        layers = {name.split(".")[2] for name in self._weights if name.startswith("encoder.layer.")}
        self._layers = [f"encoder.layer.{number}." for number in sorted(layers, key=int)]

    def embed(self, texts: Sequence[Sequence[int]]) -> Array:
        """Return one row of unit length for each text, given as its tokens."""
        lengths = [len(text) for text in texts]
        starts = np.cumsum([0, *lengths])
        hidden = self._tokens(texts)
        for layer in self._layers:
            attended = self._attend(layer, hidden, starts)
            hidden = self._normal(f"{layer}attention.output.", hidden + attended)
            inner = _gelu(self._linear(f"{layer}intermediate.dense", hidden))
            outer = self._linear(f"{layer}output.dense", inner)
            hidden = self._normal(f"{layer}output.", hidden + outer)
        means: Array = np.add.reduceat(hidden, starts[:-1], axis=0)
        unit: Array = means / np.linalg.norm(means, axis=1, keepdims=True)
        return unit

    def _tokens(self, texts: Sequence[Sequence[int]]) -> Array:
        """Return the sum of each token's three embeddings."""
        words = self._weights["embeddings.word_embeddings.weight"]
        places = self._weights["embeddings.position_embeddings.weight"]
        kind = self._weights["embeddings.token_type_embeddings.weight"][0]
        numbers = np.concatenate([np.asarray(text, dtype=np.int64) for text in texts])
        at = np.concatenate([np.arange(len(text)) for text in texts])
        return self._normal("embeddings.", words[numbers] + places[at] + kind)

    def _attend(self, layer: str, hidden: Array, starts: Any) -> Array:
        """Return what each token takes from the others of its text."""
        name = f"{layer}attention.self."
        query, key, value = (
            self._linear(name + part, hidden).reshape(len(hidden), HEADS, -1)
            for part in ("query", "key", "value")
        )
        taken = np.empty_like(hidden)
        scale = np.float32(1 / np.sqrt(query.shape[2]))
        for begin, end in pairwise(starts):
            queries, keys, values = (
                part[begin:end].transpose(1, 0, 2) for part in (query, key, value)
            )
            scores = queries @ keys.transpose(0, 2, 1) * scale
            scores = np.exp(scores - scores.max(axis=2, keepdims=True))
            shares = scores / scores.sum(axis=2, keepdims=True)
            taken[begin:end] = (shares @ values).transpose(1, 0, 2).reshape(end - begin, -1)
        return self._linear(f"{layer}attention.output.dense", taken)

    def _linear(self, name: str, given: Array) -> Array:
        return given @ self._weights[f"{name}.weight"].T + self._weights[f"{name}.bias"]

    def _normal(self, name: str, given: Array) -> Array:
        """Return the rows with mean 0 and variance 1, scaled and moved as learned."""
        centred = given - given.mean(axis=1, keepdims=True)
        spread = np.sqrt((centred * centred).mean(axis=1, keepdims=True) + np.float32(_EPSILON))
        scale, shift = (self._weights[f"{name}LayerNorm.{part}"] for part in ("weight", "bias"))
        scaled: Array = centred / spread * scale + shift
        return scaled


def read_weights(path: Path) -> dict[str, Array]:
    """Return the tensors of a safetensors file, mapped into memory.

    https://github.com/huggingface/safetensors: the length of a JSON header, the header, the data.
    """
    with path.open("rb") as file:
        data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    found: dict[str, Array] = {}
    for name, entry in header.items():
        if entry.get("dtype") == "F32":
            begin, end = entry["data_offsets"]
            flat = np.frombuffer(data, np.float32, (end - begin) // 4, 8 + size + begin)
            found[name] = flat.reshape(entry["shape"])
    return found


def _gelu(given: Array) -> Array:
    """Return x times the share of a normal distribution below x, by an approximation of erf.

    Abramowitz and Stegun, 7.1.26: its error is at most 1.5e-7.
    """
    scaled = np.abs(given) * np.float32(0.7071067811865476)
    t = 1 / (1 + np.float32(0.3275911) * scaled)
    total: Array = np.full_like(given, 1.061405429)
    for factor in (-1.453152027, 1.421413741, -0.284496736, 0.254829592):
        total = total * t + np.float32(factor)
    erf = np.copysign(1 - total * t * np.exp(-scaled * scaled), given)
    result: Array = given * np.float32(0.5) * (1 + erf)
    return result
