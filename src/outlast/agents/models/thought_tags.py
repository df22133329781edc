"""Thinking that a model writes into its text, as `<think>…</think>` at the beginning.

Models such as DeepSeek R1 and Qwen 3 do, where their server does not split it off into a field of
its own (`reasoning_content`). Source of the tags: the chat templates of these models.
"""

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from outlast.agents.models.assemble import Spoken
from outlast.agents.port import TextPiece, ThinkingPiece
from outlast.model.message import Text, Thinking

TextOrThinking: TypeAlias = TextPiece | ThinkingPiece

_OPEN: Final = "<think>"
_CLOSE: Final = "</think>"
_MOST_BLANKS: Final = 64
"""Before the opening tag: an answer of blanks alone is text, and is not held back as a whole."""


@dataclass(slots=True)
class ThoughtTags:
    """Splits the text of one answer as it arrives, wherever its pieces are cut.

    Only tags at the beginning count, so that an answer may write about them. Blanks between the
    thinking and the text are dropped.
    """

    _place: Literal["start", "inside", "behind", "text"] = "start"
    _held: str = ""
    """What may be the beginning of a tag."""

    @property
    def over(self) -> bool:
        """Whether all that follows is text."""
        return self._place == "text"

    def feed(self, text: str) -> tuple[TextOrThinking, ...]:
        """Return the pieces that are certain with this text."""
        self._held += text
        thoughts: tuple[TextOrThinking, ...] = ()
        if self._place == "start":
            self._start()
        if self._place == "inside":
            thoughts = self._inside()
        if self._place == "behind":
            self._held = self._held.lstrip()
            self._place = "text" if self._held else "behind"
        return (*thoughts, *self.finish()) if self._place == "text" else thoughts

    def finish(self) -> tuple[TextOrThinking, ...]:
        """Return what is held back, once nothing follows."""
        held, self._held = self._held, ""
        if not held:
            return ()
        return (ThinkingPiece(held) if self._place == "inside" else TextPiece(held),)

    def _start(self) -> None:
        written = self._held.lstrip()
        if written.startswith(_OPEN):
            self._place = "inside"
            self._held = written.removeprefix(_OPEN)
        elif not _OPEN.startswith(written) or len(self._held) - len(written) > _MOST_BLANKS:
            self._place = "text"

    def _inside(self) -> tuple[TextOrThinking, ...]:
        thought, tag, rest = self._held.partition(_CLOSE)
        if tag:
            self._place = "behind"
        else:
            cut = len(thought) - _begun(thought)
            thought, rest = thought[:cut], thought[cut:]
        self._held = rest
        return (ThinkingPiece(thought),) if thought else ()


def _begun(text: str) -> int:
    """Return how many characters at the end may begin the closing tag."""
    longest = min(len(text), len(_CLOSE) - 1)
    return next((n for n in range(longest, 0, -1) if _CLOSE.startswith(text[-n:])), 0)


def collect(spoken: Spoken, pieces: tuple[TextOrThinking, ...]) -> tuple[TextOrThinking, ...]:
    """Add the pieces to an answer and return them."""
    for piece in pieces:
        spoken.add(Text if isinstance(piece, TextPiece) else Thinking, piece.text)
    return pieces
