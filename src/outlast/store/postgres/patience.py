"""Connections with a bounded wait for a Postgres that accepts data and does not answer.

The network's timeouts (keepalives, see `driver`) end a wait for a machine that has vanished, not
for one that is frozen or behind a frozen proxy. If an answer is due and does not come, the
connection is closed: its callers get OperationalError at once, and no time is spent on a cancel
request to the same silent server.
"""

import asyncio
import os
import socket
from collections.abc import AsyncGenerator
from contextlib import suppress
from typing import Any, Final

from psycopg import AsyncConnection, Notify

ANSWER_SECONDS: Final = 10.0
"""How long an answer of the database may take."""


class PatientConnection(AsyncConnection[Any]):
    """Waits this long for an answer, and as long as requested for notifications."""

    _listening = False
    hung_up = False
    """Whether an answer did not come in time."""

    async def wait(self, *args: Any, **kwargs: Any) -> Any:
        if self._listening:
            return await super().wait(*args, **kwargs)
        timer = asyncio.get_running_loop().call_later(ANSWER_SECONDS, self._hang_up)
        try:
            return await super().wait(*args, **kwargs)
        finally:
            timer.cancel()

    async def notifies(
        self,
        *,
        timeout: float | None = None,  # noqa: ASYNC109 - psycopg's own
        stop_after: int | None = None,
    ) -> AsyncGenerator[Notify, None]:
        self._listening = True
        try:
            async for notify in super().notifies(timeout=timeout, stop_after=stop_after):
                yield notify
        finally:
            self._listening = False

    def _hang_up(self) -> None:
        """Close the connection; its waiting callers get an error."""
        self.hung_up = True
        with suppress(OSError), socket.socket(fileno=os.dup(self.fileno())) as end:
            end.shutdown(socket.SHUT_RDWR)
