"""Earlier turns of a conversation, cached between segments.

Turns are cached in memory up to a bound, each with a stamp of the row that it was read from: a turn
that was resumed, superseded or deleted since has another stamp, or none, and is not used.
"""

from collections import OrderedDict
from typing import Final

import orjson

from outlast.engine.segment.messages import messages_of
from outlast.model.execution import Execution
from outlast.model.message import Message, Text, Thinking, ToolCall, ToolMessage, UserMessage
from outlast.model.unreadable import ExecutionUnreadable, TurnUnreadable
from outlast.store.conversations.store import ConversationStore
from outlast.store.conversations.turns import History, TurnStamp

_MOST: Final = 64 * 1024 * 1024
"""Maximum characters in the cache."""


class Histories:
    """Reads and caches the earlier turns of executions."""

    def __init__(self, store: ConversationStore, most: int = _MOST) -> None:
        self._store = store
        self._most = most
        self._size = 0
        self._kept: OrderedDict[TurnStamp, tuple[tuple[Message, ...], int]] = OrderedDict()

    async def of(self, execution: Execution) -> tuple[Message, ...]:
        """Return the messages of the turns before the execution's that the client has not cut.

        Raises TurnUnreadable.
        """
        where = (execution.workspace_id, execution.conversation_id)
        stamps = await self._store.turn_stamps(*where, execution.turn)
        unknown = [stamp for stamp in stamps if stamp not in self._kept]
        read: dict[str, tuple[Message, ...]] = {}
        if unknown:
            try:
                turns = await self._store.turns(*where, execution.turn, since=unknown[0].turn)
            except ExecutionUnreadable as error:
                raise TurnUnreadable(error.execution_id) from error
            read = {turn.execution.id: _messages(turn) for turn in turns}
        messages: list[Message] = []
        for stamp in stamps:
            found = self._found(stamp)
            if found is None:
                found = read.get(stamp.execution_id, ())
                self._keep(stamp, found)
            messages.extend(found)
        return tuple(messages)

    def _found(self, stamp: TurnStamp) -> tuple[Message, ...] | None:
        kept = self._kept.get(stamp)
        if kept is None:
            return None
        self._kept.move_to_end(stamp)
        return kept[0]

    def _keep(self, stamp: TurnStamp, messages: tuple[Message, ...]) -> None:
        size = sum(map(_size, messages)) + len(messages)
        if size > self._most // 4:
            return  # one turn does not take the place of all others
        self._kept[stamp] = (messages, size)
        self._size += size
        while self._size > self._most:
            _, (_, gone) = self._kept.popitem(last=False)
            self._size -= gone


def _messages(turn: History) -> tuple[Message, ...]:
    return (UserMessage(turn.execution.input), *messages_of(turn.steps))


def _size(message: Message) -> int:
    match message:
        case UserMessage(text):
            return len(text)
        case ToolMessage(content=content):
            return len(content) if isinstance(content, str) else len(orjson.dumps(content))
        case _:
            return sum(map(_part_size, message.parts))


def _part_size(part: Text | Thinking | ToolCall) -> int:
    match part:
        case ToolCall():
            return len(part.name) + len(part.invalid or orjson.dumps(part.parameters))
        case Text() | Thinking():
            return len(part.text)
