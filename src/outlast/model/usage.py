"""Token usage, exact to the provider's figures and added up once per recorded step."""

from dataclasses import dataclass


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

_CHARACTERS_PER_TOKEN = 4
"""OpenAI's rule of thumb for English text (platform.openai.com/tokenizer)."""


def estimate_tokens(text: str) -> int:
    """Tokens in a text where nobody counted them; rounded up."""
    return -(-len(text) // _CHARACTERS_PER_TOKEN)


def characters(tokens: int) -> int:
    """How long a text is of so many tokens by the same estimate, at most."""
    return tokens * _CHARACTERS_PER_TOKEN
