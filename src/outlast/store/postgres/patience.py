"""Connections that do not wait for ever for a Postgres that takes what it is sent and says nothing.

The network's own patience (keepalives, see `driver`) ends a wait for a machine that has vanished,
not for one that is frozen or stands behind a proxy that is. Where an answer is due and does not
come, the connection hangs up: what waits for it raises OperationalError at once, and no time goes
into asking the same silent server to cancel.
"""

import asyncio
import os
import socket
from collections.abc import AsyncGenerator
from contextlib import suppress
from typing import Any, Final

from psycopg import AsyncConnection, Notify

ANSWER_SECONDS: Final = 10.0
"""How long one answer of the database may take."""


class PatientConnection(AsyncConnection[Any]):
    """Waits so long for an answer, and as long as requested for notifications."""

    _listening = False
    hung_up = False
    """No answer came in time."""

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
        """End the connection under whoever waits on it."""
        self.hung_up = True
        with suppress(OSError), socket.socket(fileno=os.dup(self.fileno())) as end:
            end.shutdown(socket.SHUT_RDWR)
