"""Which other processes listen: where there is none, commits are told to none.

A process that begins to listen says `hello`, and each that hears it answers `here`; every one says
`here` now and then, and `gone` when it leaves. Whoever hears of one that it did not know answers
too, and both send their followers to the log: what was committed before they knew of each other was
not told. A process that cannot tell (it does not hear, or has just begun) counts as one of many.
"""

from collections.abc import Callable
from typing import Any, Final

SAY_SECONDS: Final = 20.0
"""How often a process says that it is there."""
_SILENT_SECONDS: Final = 3 * SAY_SECONDS + 5.0
"""One that is silent for so long listens no more, or finds out that it has missed something."""
_SETTLE_SECONDS: Final = 1.0
"""How long after its hello has come back a process waits for answers."""
HELLO, HERE, GONE = "hello", "here", "gone"


class Peers:
    """The other processes, as far as this one hears of them."""

    def __init__(self, own: str, now: Callable[[], float]) -> None:
        """`now` is in seconds and never steps back."""
        self.own = own
        self._now = now
        self._heard: dict[str, float] = {}
        """When each was heard last."""
        self._alone_from: float | None = None
        """Since when silence means that there is none; None: it means nothing."""

    def deaf(self) -> None:
        """Nothing is heard any more; whoever listens then is not known."""
        self._alone_from = None

    def some(self) -> bool:
        """Whether another process may listen."""
        now = self._now()
        if self._alone_from is None or now < self._alone_from:
            return True
        if self._heard and min(self._heard.values()) < now - _SILENT_SECONDS:
            self._heard = {k: at for k, at in self._heard.items() if at >= now - _SILENT_SECONDS}
        return bool(self._heard)

    def hear(self, sender: str, said: str | None) -> tuple[bool, bool]:
        """Take note of a message; whether to answer it, and whether something may be missed.

        `said` is None for one that is not about presence.
        """
        if sender == self.own:
            if said == HELLO and self._alone_from is None:
                self._alone_from = self._now() + _SETTLE_SECONDS
            return False, False
        if said == GONE:
            self._heard.pop(sender, None)
            return False, False
        known = sender in self._heard
        self._heard[sender] = self._now()
        return not known or said == HELLO, not known


def message(sender: str, said: str) -> dict[str, Any]:
    """Return what a process says about its presence; one of before 0.2 reads an empty commit."""
    return {"from": sender, "peer": said, "execution": "", "entries": []}
