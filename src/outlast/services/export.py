"""Everything that is kept of a conversation, piece by piece."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Final, TypeAlias

from outlast.model.conversation import Conversation
from outlast.model.error import ExecutionNotFound
from outlast.model.event import START, Entry
from outlast.model.execution import Execution, Step, ToolStep
from outlast.model.image import WholeImage
from outlast.store.store import Store

_STEPS: Final = 10
"""Steps that are read at once."""


@dataclass(frozen=True, slots=True)
class StepOf:
    """A step, and the execution that it is of."""

    execution_id: str
    step: Step
    superseded: bool


@dataclass(frozen=True, slots=True)
class ImageOf:
    """An image that a tool has brought, and the execution that it is of."""

    execution_id: str
    whole: WholeImage


@dataclass(frozen=True, slots=True)
class EntryOf:
    """An entry of the log, and the execution that it is of."""

    execution_id: str
    entry: Entry


@dataclass(frozen=True, slots=True)
class ExportEnd:
    """The end of a complete export."""

    executions: int


Exported: TypeAlias = Execution | StepOf | ImageOf | EntryOf | ExportEnd
"""What follows the conversation itself."""


class Export:
    """Reads one conversation; what a turn has called follows the turn."""

    def __init__(self, store: Store, conversation: Conversation) -> None:
        self._store = store
        self.conversation = conversation

    async def parts(self) -> AsyncGenerator[Exported, None]:
        """Yield each execution, its steps, images and log, the oldest turn first, then the end."""
        of, count, after = self.conversation, 0, ""
        read = self._store.conversations
        while (turn := await read.next_turn(of.workspace_id, of.id, after)) is not None:
            after = turn.id
            below = await read.below(of.workspace_id, turn.id) if turn.children else []
            async with aclosing(self._execution(turn)) as parts:
                async for part in parts:
                    yield part
            count += 1
            for execution_id in below:
                async with aclosing(self._called(execution_id)) as parts:
                    async for part in parts:
                        yield part
                count += 1
        yield ExportEnd(count)

    async def _called(self, execution_id: str) -> AsyncGenerator[Exported, None]:
        found = await self._store.executions.get(self.conversation.workspace_id, execution_id)
        async with aclosing(self._execution(found)) as parts:
            async for part in parts:
                yield part

    async def _execution(self, execution: Execution) -> AsyncGenerator[Exported, None]:
        """Yield the execution, its steps, each with its new images, and its log.

        Raises ExecutionNotFound if it is deleted.
        """
        workspace_id, execution_id, number = execution.workspace_id, execution.id, 0
        if execution.is_purged:
            raise ExecutionNotFound
        yield execution
        read, seen = self._store.conversations, set[str]()
        while page := await read.some_steps(workspace_id, execution_id, number, _STEPS):
            for one in page:
                number = one.step.number
                yield StepOf(execution_id, one.step, one.superseded)
                for image in one.step.images if isinstance(one.step, ToolStep) else ():
                    if image.id not in seen:
                        seen.add(image.id)
                        whole = await self._store.images.get(workspace_id, execution_id, image.id)
                        yield ImageOf(execution_id, whole)
                        del whole
        position, more = START, True
        while more:
            log = await self._store.executions.log_page(workspace_id, execution_id, position)
            entries, more = log.entries, log.more
            if log.is_cut and not entries:  # the next one is large
                entries = await self._store.executions.log(workspace_id, execution_id, position, 1)
            for entry in entries:
                position = entry.cursor
                yield EntryOf(execution_id, entry)
            del log, entries
