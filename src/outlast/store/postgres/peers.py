"""Which other processes listen; if there is none, no notifications are sent.

Each process holds a shared advisory lock on the connection over which it listens, and counts the
holders when it begins and at intervals: a process that ends, however it ends, is gone with its
connection. One that begins to listen beside others sends `hello`, so that they count it at once.
Commits made until then were not notified: it reads the log again shortly after its hello, and
whenever it gets a notification of a process for the first time. A process that does not know (it is
disconnected, or has just begun) assumes that there are others.
"""

from typing import Any, Final

HELLO: Final = "hello"
COUNT_SECONDS: Final = 5.0
"""Interval between counts."""
SETTLE_SECONDS: Final = 1.0
"""How long other processes may take to handle a hello."""
JOIN: Final = "SELECT pg_advisory_lock_shared(1869968492, 1885693298)"
"""Hold the lock of those that listen, two numbers: "outl" and "peer" in ASCII."""
COUNT: Final = """
SELECT count(*) FROM pg_locks
WHERE locktype = 'advisory' AND classid = 1869968492 AND objid = 1885693298 AND objsubid = 2
  AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""
"""How many processes hold it, this one included. Columns of a lock of two numbers:
https://www.postgresql.org/docs/current/view-pg-locks.html"""
_MOST_KNOWN: Final = 1000
"""Senders kept; a process that starts again is a new one."""


class Peers:
    """The other processes, as counted in the database and as their messages show them."""

    def __init__(self, own: str) -> None:
        self.own = own
        self._count: int | None = None
        """Processes that listen, this one included; None: unknown."""
        self._known = set[str]()
        """Processes of which a message has come."""

    def disconnected(self) -> None:
        """Note that nothing is received any more; others are unknown from then on."""
        self._count = None

    def counted(self, listening: int) -> None:
        """Note how many processes listen, this one included."""
        self._count = listening

    def some(self) -> bool:
        """Whether another process may listen."""
        return self._count is None or self._count > 1

    @property
    def processes(self) -> int | None:
        """How many processes listen, this one included; None: unknown."""
        return self._count

    def receive(self, sender: str) -> bool:
        """Note a message; return whether some before it may be missed."""
        if sender == self.own:
            return False
        if self._count is not None:
            self._count = max(self._count, 2)
        if sender in self._known:
            return False
        if len(self._known) >= _MOST_KNOWN:
            self._known.clear()
        self._known.add(sender)
        return True


def hello(sender: str) -> dict[str, Any]:
    """Return the message of a process that begins to listen.

    Other versions read it as a commit without entries.
    """
    return {"from": sender, "peer": HELLO, "execution": "", "entries": []}
