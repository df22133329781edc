"""Token usage: the provider's figures, added once per recorded step.

Implausible figures are replaced by an estimate.
"""

from dataclasses import asdict, dataclass
from typing import Any, Final


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one request or several; input_tokens includes those read from a cache."""

    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    estimated: bool = False
    """True if the provider gave no figures, as for a cancelled request."""

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


@dataclass(frozen=True, slots=True)
class Spent:
    """What executions have spent together."""

    usage: Usage = NO_USAGE
    credits: int = 0
    """Billionths."""

    def __add__(self, other: "Spent") -> "Spent":
        return Spent(self.usage + other.usage, self.credits + other.credits)

    @property
    def fields(self) -> dict[str, Any]:
        """Its figures, as an event or a column holds them."""
        return {**asdict(self.usage), "credits": self.credits}

    @classmethod
    def of(cls, fields: dict[str, Any]) -> "Spent":
        """Return what `fields` gave."""
        return cls(Usage(**{k: v for k, v in fields.items() if k != "credits"}), fields["credits"])


NOTHING_SPENT: Final = Spent()

_MOST: Final = 10**9
"""Maximum tokens of one request; no model's context has a hundredth of it."""

_CHARACTERS_PER_TOKEN = 4
"""OpenAI's rule of thumb for English text (platform.openai.com/tokenizer)."""


def counted(read: Any, written: Any, cached: Any = None, stored: Any = None) -> Usage | None:
    """Return a provider's figures of input, output, cache reads and cache writes; None is 0.

    None if they are implausible: negative, fractional, no numbers, absurdly large, or all 0. Cache
    reads above the input count as all of the input.
    """
    inputs, outputs = _figure(read), _figure(written)
    hits, writes = _figure(cached), _figure(stored)
    if inputs is None or outputs is None or hits is None or writes is None:
        return None
    if not inputs + outputs:
        return None
    return Usage(inputs, outputs, min(hits, inputs), min(writes, inputs))


def _figure(value: Any) -> int | None:
    """Return whole tokens; None if the value is not a valid count."""
    if type(value) is int:
        return value if 0 <= value <= _MOST else None
    if value is None:
        return 0
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    whole = isinstance(value, int) and not isinstance(value, bool)
    return value if whole and 0 <= value <= _MOST else None


def estimate_tokens(text: str) -> int:
    """Estimate the tokens of a text that the provider did not count; rounded up."""
    return estimate_tokens_of(len(text))


def estimate_tokens_of(length: int) -> int:
    """Estimate the tokens of a text of this many characters."""
    return -(-length // _CHARACTERS_PER_TOKEN)


def characters(tokens: int) -> int:
    """Return the maximum length of a text of this many tokens, by the same estimate."""
    return tokens * _CHARACTERS_PER_TOKEN
