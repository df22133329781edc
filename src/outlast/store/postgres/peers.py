"""Which other processes listen; if there is none, no notifications are sent.

A process that begins to listen sends `hello`, and each that receives it answers `here`; every one
sends `here` at intervals, and `gone` when it leaves. A process that receives a message of an
unknown one answers too, and both make their followers read the log: commits before they knew of
each other were not notified. A process that does not know (it is disconnected, or has just begun)
assumes that there are others.
"""

from collections.abc import Callable
from typing import Any, Final

SAY_SECONDS: Final = 20.0
"""Interval at which a process sends `here`."""
_SILENT_SECONDS: Final = 3 * SAY_SECONDS + 5.0
"""Silence after which a process no longer listens, or will notice that it has missed something."""
_SETTLE_SECONDS: Final = 1.0
"""How long a process waits for answers after its hello has come back."""
HELLO, HERE, GONE = "hello", "here", "gone"


class Peers:
    """The other processes, as far as known from their messages."""

    def __init__(self, own: str, now: Callable[[], float]) -> None:
        """`now` is in seconds and never steps back."""
        self.own = own
        self._now = now
        self._last_seen: dict[str, float] = {}
        """Time of the last message of each."""
        self._alone_from: float | None = None
        """Time from which silence means that there is none; None: unknown."""

    def disconnected(self) -> None:
        """Note that nothing is received any more; others are unknown from then on."""
        self._alone_from = None

    def some(self) -> bool:
        """Whether another process may listen."""
        now = self._now()
        if self._alone_from is None or now < self._alone_from:
            return True
        if self._last_seen and min(self._last_seen.values()) < now - _SILENT_SECONDS:
            self._last_seen = {
                k: at for k, at in self._last_seen.items() if at >= now - _SILENT_SECONDS
            }
        return bool(self._last_seen)

    def receive(self, sender: str, said: str | None) -> tuple[bool, bool]:
        """Note a message; return whether to answer it, and whether something may be missed.

        `said` is None for one that is not about presence.
        """
        if sender == self.own:
            if said == HELLO and self._alone_from is None:
                self._alone_from = self._now() + _SETTLE_SECONDS
            return False, False
        if said == GONE:
            self._last_seen.pop(sender, None)
            return False, False
        known = sender in self._last_seen
        self._last_seen[sender] = self._now()
        return not known or said == HELLO, not known


def message(sender: str, said: str) -> dict[str, Any]:
    """Return a message about presence; versions before 0.2 read it as an empty commit."""
    return {"from": sender, "peer": said, "execution": "", "entries": []}
