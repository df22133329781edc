"""Notify other processes of commits, over NOTIFY: a notification says that a log grew.

A notification is sent after its commit, many in one round trip, so that no transaction waits for
Postgres's single lock on its notification queue. It holds the entries if they fit; a follower uses
them if they continue what it has, and reads the log if not. Nothing is lost with a lost
notification: followers read the log at intervals. If no other process listens (see `peers`), none
is sent.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final

import orjson
import psycopg
import structlog
from psycopg import Notify, sql

from outlast.duty import Duty, Failures
from outlast.model.error import OutlastError
from outlast.model.event import Entry
from outlast.model.event_codec import decode, encode
from outlast.store.driver import TransactionResult
from outlast.store.listeners import Committed, Listeners
from outlast.store.postgres.patience import PatientConnection
from outlast.store.postgres.peers import COUNT, COUNT_SECONDS, JOIN, SETTLE_SECONDS, Peers, hello

CHANNEL: Final = "outlast"
NOTIFY: Final = """
SELECT pg_notify('outlast', payload) FROM json_array_elements_text(%s::json) AS payload
"""
_PAYLOAD_BYTES: Final = 7900
"""Postgres accepts payloads below 8,000 bytes."""
_RETRY_SECONDS: Final = 0.5
_DUTY: Final = "receive_commits"

logger = structlog.get_logger(__name__)


class Announcer:
    """Sends notifications in the order of the commits, waiting ones together."""

    def __init__(
        self, send: Callable[[list[str]], Awaitable[None]], peers: Peers, failures: Failures
    ) -> None:
        self._peers = peers
        self._failures = failures
        self._send = send
        self._waiting: list[str] = []
        self._sending: asyncio.Task[None] | None = None

    def announce(self, outcome: TransactionResult[Any]) -> None:
        """Notify the other processes of a commit."""
        own = self._peers.own
        if outcome.committed and self._peers.some():
            for committed in outcome.committed:
                self._waiting.append(_committed_payload(own, committed))
        paused = (execution_id for execution_id, _ in outcome.paused)
        for execution_id in (*outcome.requested, *outcome.cancelled, *paused):
            self._waiting.append(_payload({"from": own, "requested": execution_id}))
        if outcome.lease_released:
            self._waiting.append(_payload({"from": own, "lease": "released"}))
        if self._waiting:
            self._send_soon()

    def _send_soon(self) -> None:
        if self._sending is None:
            self._sending = asyncio.get_running_loop().create_task(
                self._send_all(), name="announce_commits"
            )

    async def stop(self) -> None:
        """Send waiting notifications."""
        if self._sending is not None:
            await self._sending

    async def _send_all(self) -> None:
        try:
            while self._waiting:
                payloads, self._waiting = self._waiting, []
                await self._send(payloads)
        except (psycopg.Error, OutlastError) as error:
            logger.warning("notifications.lost", reason=str(error))
        except Exception as error:  # noqa: BLE001 - as above: a notification is no more than that
            self._failures.record("announce_commits", error)
        finally:
            self._sending = None


class Listener:
    """Receives notifications of other processes, over a connection that is reopened if lost."""

    def __init__(self, url: str, peers: Peers, failures: Failures) -> None:
        self._url = url
        self._peers = peers
        self._own = _payload({"from": peers.own})[:-1]
        """Prefix of this process's own notifications."""
        self.listeners: Listeners | None = None
        self.others: dict[str, Callable[[str], None]] = {}
        """What gets the payloads of further channels."""
        self.listens = False
        self._first: PatientConnection | None = None
        """A connection to begin with."""
        self._duty = Duty(
            _DUTY,
            self._listen_for_commits,
            every=_RETRY_SECONDS,
            sleep=_pause,
            failures=failures,
            retry=(_RETRY_SECONDS,),
            first=0.0,
        )

    def start(self, connection: PatientConnection) -> None:
        """Begin to listen over this connection, which is closed at the end."""
        self._first = connection
        self._duty.start()

    async def stop(self) -> None:
        """Stop listening."""
        await self._duty.stop()
        if self._first is not None:
            await self._first.close()

    async def _listen_for_commits(self) -> None:
        """Listen until the connection ends."""
        try:
            await self._listen()
        except (psycopg.Error, OSError) as error:
            logger.warning("notifications.unavailable", reason=str(error))
        finally:
            self.listens = False
            self._peers.disconnected()

    async def _listen(self) -> None:
        async with await self._connected() as connection:
            channels = map(sql.Identifier, (CHANNEL, *self.others))
            listens = (sql.SQL("LISTEN {}").format(channel) for channel in channels)
            await connection.execute(sql.SQL(";").join(listens))
            self.listens = True
            assert self.listeners is not None
            self.listeners.missed()
            await connection.execute(JOIN)
            await self._count(connection)
            if self._peers.some():
                await connection.execute(NOTIFY, (_payloads(hello(self._peers.own)),))
                await self._receive_for(connection, SETTLE_SECONDS)
                self.listeners.missed()
            while True:
                await self._receive_for(connection, COUNT_SECONDS)
                await self._count(connection)

    async def _connected(self) -> PatientConnection:
        first, self._first = self._first, None
        return first or await PatientConnection.connect(self._url, autocommit=True)

    async def _count(self, connection: PatientConnection) -> None:
        """Count the processes that listen; it shows too that a silent connection lives."""
        cursor = await connection.execute(COUNT)
        row = await cursor.fetchone()
        assert row is not None
        self._peers.counted(row[0])

    async def _receive_for(self, connection: PatientConnection, seconds: float) -> None:
        """Pass on the notifications of this many seconds."""
        async for notify in connection.notifies(timeout=seconds):
            self._receive(notify)

    def _receive(self, notify: Notify) -> None:
        """Pass on a notification; one that cannot be read makes followers read the log."""
        assert self.listeners is not None
        payload = notify.payload
        if notify.channel != CHANNEL:
            self.others[notify.channel](payload)
            return
        if payload.startswith(self._own):
            return
        try:
            self._read(payload, self.listeners)
        except Exception as error:  # noqa: BLE001 - a payload may be anything
            logger.warning("notification.unread", reason=str(error))
            self.listeners.missed()

    def _read(self, payload: str, listeners: Listeners) -> None:
        notification = orjson.loads(payload)
        if self._peers.receive(notification["from"]):
            listeners.missed()
        if "peer" in notification:
            return
        if "requested" in notification:
            listeners.requested(notification["requested"])
            return
        if "lease" in notification:
            listeners.lease_released()
            return
        entries = tuple(
            Entry(segment, seq, at, decode(kind, data))
            for segment, seq, at, kind, data in notification["entries"]
        )
        listeners.committed(Committed(notification["execution"], entries))


async def _pause(seconds: float) -> None:
    await asyncio.sleep(seconds)  # noqa: TID251 - waits for a real database


def _committed_payload(sender: str, committed: Committed) -> str:
    notification: dict[str, Any] = {"from": sender, "execution": committed.execution_id}
    entries = [
        (entry.segment, entry.seq, entry.at, entry.event.kind, encode(entry.event).decode())
        for entry in committed.entries
    ]
    payload = _payload(notification | {"entries": entries})
    if len(payload.encode()) > _PAYLOAD_BYTES:
        return _payload(notification | {"entries": ()})
    return payload


def _payloads(*notifications: dict[str, Any]) -> str:
    return orjson.dumps([_payload(each) for each in notifications]).decode()


def _payload(notification: dict[str, Any]) -> str:
    return orjson.dumps(notification).decode()
