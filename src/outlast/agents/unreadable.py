"""The error that a model reads if the arguments of its call could not be read."""

from typing import Final

from outlast.model.error import ToolFailed
from outlast.model.whole_number import beyond_64_bits

_SHOWN: Final = 200
"""Characters of the model's text that the error repeats."""


def unreadable_arguments(written: str) -> ToolFailed:
    """Return the error for `ToolCall.invalid`, in words that the model can act on."""
    beyond = beyond_64_bits(written.encode("utf-8", "replace"))
    if beyond is None:
        return ToolFailed(
            f"The arguments were not a JSON object: {written[:_SHOWN]!r}. Call the tool again "
            "with a JSON object.",
            cause="The arguments were not a JSON object.",
        )
    place = f" in {beyond.path[:_SHOWN]}" if beyond.path else ""
    return ToolFailed(
        f"The number {beyond.shown}{place} has more than 64 bits. Call the tool again and send "
        "it as text.",
        cause="A number in the arguments has more than 64 bits.",
    )
