"""The request of a model step, rebuilt from the log and the agent's version."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from outlast.model.agent import AgentSpec
from outlast.model.image import MOST_SHOWN, Image
from outlast.rooms.console.render.steps import Step


@dataclass(frozen=True, slots=True)
class Request:
    """The request of a model step, as far as it is known: requests are not stored."""

    spec: AgentSpec | None
    """None: the version is not there any more, or the key may not read agents."""
    runs: list[tuple[int, int]]
    """The steps that stood then, those that follow each other together."""
    images: list[tuple[int, Image]]
    """The newest images of these steps, each with its step: what a model that sees was shown."""
    earlier: int
    """The first step that was looked at, if there are some before it; else 0."""

    @property
    def tool_choice(self) -> str:
        """Which tools the model had to call: after the first step of a turn, none."""
        chosen = "auto" if self.spec is None else self.spec.tool_choice
        is_first = not self.runs and not self.earlier
        return chosen if is_first or chosen == "none" else "auto"


def rebuilt(
    number: int, first: int, steps: Iterable[Step], spec: AgentSpec | None, *, has_images: bool
) -> Request:
    """Rebuild the request of a step from the steps before it, which are read from the first on."""
    stood = [
        one
        for one in steps
        if first <= one.number < number
        and (one.superseded_after is None or one.superseded_after >= number)
    ]
    images = _newest_images(stood) if has_images else []
    return Request(spec, _runs(stood), images, first if first > 1 else 0)


def _runs(steps: Sequence[Step]) -> list[tuple[int, int]]:
    runs: list[tuple[int, int]] = []
    for one in steps:
        if runs and runs[-1][1] == one.number - 1:
            runs[-1] = (runs[-1][0], one.number)
        else:
            runs.append((one.number, one.number))
    return runs


def _newest_images(steps: Sequence[Step]) -> list[tuple[int, Image]]:
    """Return the newest images, each once, the oldest first."""
    found: dict[str, tuple[int, Image]] = {}
    for one in reversed(steps):
        for image in reversed(one.result.images if one.result else ()):
            if image.id not in found and len(found) < MOST_SHOWN:
                found[image.id] = one.number, image
    return list(found.values())[::-1]
