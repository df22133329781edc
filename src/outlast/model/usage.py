"""Token usage, exact to the provider's figures and added up once per recorded step.

Figures that cannot be true are not believed: the tokens are estimated then.
"""

from dataclasses import dataclass
from typing import Any, Final


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one request or of several; input_tokens includes those read from a cache."""

    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    estimated: bool = False
    """True where the provider gave no figure, as for a cancelled request."""

    @property
    def total_tokens(self) -> int:
        """Input and output together."""
        return self.input_tokens + self.output_tokens

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
            self.cache_read_tokens + other.cache_read_tokens,
            self.cache_write_tokens + other.cache_write_tokens,
            self.estimated or other.estimated,
        )


NO_USAGE = Usage()

_MOST: Final = 10**9
"""Tokens that one request can have; no model's context has a hundredth of it."""

_CHARACTERS_PER_TOKEN = 4
"""OpenAI's rule of thumb for English text (platform.openai.com/tokenizer)."""


def counted(read: Any, written: Any, cached: Any = None, stored: Any = None) -> Usage | None:
    """Return a provider's figures of input, output, cache reads and cache writes; None is 0.

    None where they cannot be true: negative, fractional, no numbers, absurdly large, or all 0.
    More read from a cache than was read at all counts as all of it.
    """
    inputs, outputs = _figure(read), _figure(written)
    hits, writes = _figure(cached), _figure(stored)
    if inputs is None or outputs is None or hits is None or writes is None:
        return None
    if not inputs + outputs:
        return None
    return Usage(inputs, outputs, min(hits, inputs), min(writes, inputs))


def _figure(value: Any) -> int | None:
    """Whole tokens; None where the value is no number of them."""
    if type(value) is int:
        return value if 0 <= value <= _MOST else None
    if value is None:
        return 0
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    whole = isinstance(value, int) and not isinstance(value, bool)
    return value if whole and 0 <= value <= _MOST else None


def estimate_tokens(text: str) -> int:
    """Estimate of the tokens in a text that the provider did not count; rounded up."""
    return -(-len(text) // _CHARACTERS_PER_TOKEN)


def characters(tokens: int) -> int:
    """How long a text is of so many tokens by the same estimate, at most."""
    return tokens * _CHARACTERS_PER_TOKEN
