"""Start, follow, list and cancel executions."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import suppress
from typing import Final

import structlog

from outlast.agents.tools.client_kind import require_client_tools, storable_tool
from outlast.agents.tools.request import forwarded_problem
from outlast.model.agent import Agent
from outlast.model.budget import least_output
from outlast.model.checkpoint import Checkpoint
from outlast.model.client_call import ClientTool
from outlast.model.clock import Clock
from outlast.model.error import AgentPaused, ExecutionNotFound, InvalidField
from outlast.model.event import START, Cursor, Entry
from outlast.model.execution import (
    TERMINAL,
    Execution,
    PauseRequest,
    RequestContext,
    Status,
)
from outlast.model.ids import CHECKPOINT, CONVERSATION, EXECUTION, parse
from outlast.model.memory import MemoryAccess
from outlast.model.unreadable import ExecutionUnreadable
from outlast.model.workspace import Principal, Scope
from outlast.seal import FORWARDED, Seal
from outlast.services.agents import Agents
from outlast.services.lifecycle import Lifecycle
from outlast.services.memory import Memory
from outlast.services.metadata import checked_user, indexed_values, require_indexed
from outlast.services.start import Started, StartExecution
from outlast.services.views import ExecutionView, Views
from outlast.store.executions.lists import ExecutionFilter
from outlast.store.executions.values import Cut, NewExecution, Resume
from outlast.store.idempotency import Idempotency
from outlast.store.page import Page
from outlast.store.store import Store
from outlast.stream import Streams

__all__ = [
    "Cut",
    "ExecutionFilter",
    "ExecutionView",
    "Executions",
    "Idempotency",
    "Page",
    "StartExecution",
    "Started",
]

logger = structlog.get_logger(__name__)

_CANCELLED_AT_ONCE: Final = 100
"""Maximum of queued turns that one transaction cancels."""
WAIT_SECONDS: Final = 24 * 60 * 60.0
"""Maximum time that a caller may wait; proxies give up long before."""


class Executions:
    """The executions of a workspace."""

    def __init__(
        self,
        store: Store,
        lifecycle: Lifecycle,
        streams: Streams,
        agents: Agents,
        clock: Clock,
        seal: Seal,
        metadata_keys: Sequence[str] = (),
        max_queued_turns: int = 1000,
    ) -> None:
        """`metadata_keys`: keys of `metadata` by which lists filter.

        `max_queued_turns`: how many turns may wait in one conversation.
        """
        self._store = store
        self._streams = streams
        self._agents = agents
        self._clock = clock
        self._seal = seal
        self._memory = Memory(store.memories, clock)
        self._metadata_keys = metadata_keys
        self._max_live = max_queued_turns + 1
        self._views = Views(store.executions, agents.known)
        self._lifecycle = lifecycle
        self._engine = lifecycle.engine

    async def start(
        self, principal: Principal, agent_ref: str | None, request: StartExecution
    ) -> Started:
        """Record the execution; it runs independently of the caller from then on.

        Raises AgentNotFound, AgentPaused, ConversationNotFound, ConversationBusy, TooManyTurns,
        IdempotencyMismatch, InvalidId, InvalidField, MissingScope, QuotaExceeded.
        """
        principal.require(Scope.AGENTS_EXECUTE)
        agent = await self._agents.chosen(principal, agent_ref)
        new = await self._new(principal, agent, request)
        return await self._create(agent, new)

    async def run(
        self,
        principal: Principal,
        agent_ref: str | None,
        request: StartExecution,
        seconds: float = WAIT_SECONDS,
    ) -> tuple[Started, ExecutionView]:
        """Like `start`, then wait like `rest`, following the execution from its first commit on.

        A repeated request is answered at once, with the execution as it is.
        """
        principal.require(Scope.AGENTS_EXECUTE)
        agent = await self._agents.chosen(principal, agent_ref)
        new = await self._new(principal, agent, request)
        with self._streams.watch(new.workspace_id, new.id) as watch:
            started = await self._create(agent, new)
            execution = started.execution
            if not started.replayed:
                execution = await watch.rest(execution, seconds)
        return started, await self._views.at_rest(execution, watch.newest)

    async def stream(
        self, principal: Principal, agent_ref: str | None, request: StartExecution
    ) -> tuple[Started, AsyncGenerator[list[Entry], None]]:
        """Like `start`, and the execution's log like `follow`, from its first commit on."""
        principal.require(Scope.AGENTS_EXECUTE)
        agent = await self._agents.chosen(principal, agent_ref)
        new = await self._new(principal, agent, request)
        expected = self._streams.expect(new.id)
        try:
            started = await self._create(agent, new)
        except BaseException:
            expected.forget()
            raise
        if started.replayed:
            expected.forget()
            return started, self.follow(principal, started.execution.id)
        return started, expected.follow(new.workspace_id)

    async def _new(
        self, principal: Principal, agent: Agent, request: StartExecution
    ) -> NewExecution:
        if agent.paused:
            raise AgentPaused
        given, now = request.conversation_id, self._clock.now()
        execution_id = self._clock.new_id(EXECUTION)
        return NewExecution(
            id=execution_id,
            workspace_id=principal.workspace_id,
            agent_id=agent.id,
            agent_version=agent.version,
            conversation_id=self._clock.new_id(CONVERSATION)
            if given is None
            else parse(CONVERSATION, given),
            new_conversation=given is None,
            input=request.input,
            at=now,
            key_id=principal.key_id,
            metadata=request.metadata,
            session=request.session,
            budget=request.budget,
            origin=self._context(agent, request),
            on_busy=request.on_busy,
            idempotency=request.idempotency,
            user=checked_user(request.user),
            indexed=indexed_values(self._metadata_keys, request.metadata),
            max_live=self._max_live,
            task=None if request.task is None else request.task(execution_id, now),
            agent_name=agent.spec.name,
            cut=request.cut,
            budgeted=principal.budgeted,
            least_output=least_output(agent.spec.settings),
            memory_stores=await self._memory_stores(principal, agent, request.memory_stores),
        )

    async def _memory_stores(
        self, principal: Principal, agent: Agent, wanted: tuple[MemoryAccess, ...] | None
    ) -> tuple[MemoryAccess, ...]:
        if wanted:
            return await self._memory.of_execution(principal, wanted)
        named = agent.spec.memory_stores if wanted is None else ()
        return await self._memory.of_agent(principal.workspace_id, named) if named else ()

    def _context(self, agent: Agent, request: StartExecution) -> RequestContext:
        tools: tuple[ClientTool, ...] = ()
        if request.client_tools:
            tools = tuple(storable_tool(tool) for tool in request.client_tools)
            require_client_tools(agent.spec, tools, "clientTools")
        headers = request.forwarded_headers
        for name, value in headers.items():
            if problem := forwarded_problem(name, value):
                raise InvalidField(
                    f"The header {name[:80]!r}: {problem}.", param="forwardedHeaders"
                )
        sealed = self._seal.seal(FORWARDED, headers) if headers else None
        return RequestContext(
            request.instructions,
            request.chat_id,
            request.format,
            sealed,
            request.message_id,
            client_tools=tools,
        )

    async def _create(self, agent: Agent, new: NewExecution) -> Started:
        with self._engine.free_slot(new.id) as free:
            created = await self._store.executions.create(new, begins=free)
        for execution in created.interrupted:
            with suppress(ExecutionNotFound):
                await self._lifecycle.interrupt(execution)
        return Started(created.execution, agent, created.replayed, created.answer)

    async def keep_answer(self, idempotency: Idempotency, answer: str) -> None:
        """Store the response for requests that repeat this idempotency key."""
        await self._store.idempotency.keep_answer(idempotency, answer)

    async def rest(
        self, principal: Principal, execution_id: str, seconds: float = WAIT_SECONDS
    ) -> ExecutionView:
        """Wait at most `seconds` until the execution rests; return it as it is then."""
        execution = await self._streams.rest(principal.workspace_id, execution_id, seconds)
        return await self._views.one(execution)

    async def get(self, principal: Principal, execution_id: str) -> ExecutionView:
        """Return one execution. Raises ExecutionNotFound, InvalidId, MissingScope."""
        principal.require(Scope.EXECUTIONS_READ)
        return await self._views.one(await self._execution(principal, execution_id))

    async def known(self, principal: Principal, execution_id: str) -> Execution:
        """Return an execution that a request names. Raises ExecutionNotFound."""
        return await self._store.executions.get(principal.workspace_id, execution_id)

    async def part(self, principal: Principal, execution_id: str) -> Execution:
        """Return the same as far as it can be read, as in a list."""
        return await self._store.executions.part(principal.workspace_id, execution_id)

    async def holds(self, principal: Principal, execution_id: str, cursor: Cursor) -> bool:
        """Whether the log contains the cursor, so that it may have been sent to a client."""
        if cursor.seq == 0:
            return cursor == START
        before = Cursor(cursor.segment, cursor.seq - 1)
        return await self._store.executions.reaches(principal.workspace_id, execution_id, before)

    async def is_behind(self, principal: Principal, execution: Execution, cursor: Cursor) -> bool:
        """Whether the execution has ended and its log holds nothing after the cursor."""
        if cursor == START or execution.status not in TERMINAL:
            return False
        return not await self._store.executions.reaches(
            principal.workspace_id, execution.id, cursor
        )

    def may_list(self, principal: Principal, wanted: ExecutionFilter) -> None:
        """Raise MissingScope, or InvalidFilter for metadata that is not indexed."""
        principal.require(Scope.EXECUTIONS_READ)
        require_indexed(self._metadata_keys, wanted.metadata)

    async def page(
        self, principal: Principal, wanted: ExecutionFilter, page: Page
    ) -> tuple[list[Execution], bool]:
        """Return a page, newest first, and whether there are more in the direction of the walk.

        Raises InvalidFilter for metadata that is not indexed.
        """
        self.may_list(principal, wanted)
        found = await self._store.executions.page(principal.workspace_id, wanted, page)
        return page.cut(found)

    def follow(
        self, principal: Principal, execution_id: str, after: Cursor = START
    ) -> AsyncGenerator[list[Entry], None]:
        """Return the execution's log from its start, then live; see Streams.follow."""
        return self._streams.follow(principal.workspace_id, execution_id, after)

    def replay(
        self, principal: Principal, execution_id: str, after: Cursor = START, *, whole: bool = False
    ) -> AsyncGenerator[list[Entry], None]:
        """Return the log so far behind a cursor in batches; see Replays.entries."""
        return self._streams.replay(principal.workspace_id, execution_id, after, whole=whole)

    async def log(self, principal: Principal, execution_id: str) -> list[Entry]:
        """Return the execution's log so far, piece by piece."""
        return await self._streams.so_far(principal.workspace_id, execution_id)

    async def newest_of_chat(self, principal: Principal, chat_id: str) -> Execution | None:
        """Return the newest execution of a client's chat."""
        found = await self._store.executions.page(
            principal.workspace_id, ExecutionFilter(chat_id=chat_id), Page(1)
        )
        return found[0] if found else None

    async def cancel(self, principal: Principal, execution_id: str) -> ExecutionView:
        """Cancel in any live state and return the execution; what it wrote is kept and charged.

        Raises Conflict if it has ended, ExecutionNotFound, InvalidId, MissingScope.
        """
        principal.require(Scope.AGENTS_EXECUTE)
        execution = await self._execution(principal, execution_id)
        return await self._views.one(await self._lifecycle.cancel(execution))

    async def cancel_conversation(self, principal: Principal, conversation_id: str) -> None:
        """Cancel every live execution of a conversation, the youngest first, and wait for it.

        One that cannot be read is failed.
        """
        principal.require(Scope.AGENTS_EXECUTE)
        workspace_id = principal.workspace_id
        while True:
            try:
                return await self._cancel_live(workspace_id, conversation_id)
            except ExecutionUnreadable as error:
                if not await self._lifecycle.end_unreadable(workspace_id, error.execution_id):
                    raise

    async def _cancel_live(self, workspace_id: str, conversation_id: str) -> None:
        while await self._store.executions.cancel_waiting(
            workspace_id, conversation_id, self._clock.now(), _CANCELLED_AT_ONCE
        ):
            pass
        live = await self._store.executions.live(workspace_id, conversation_id)
        for execution in reversed(live):
            await self._lifecycle.terminate(execution)

    async def pause(
        self,
        principal: Principal,
        execution_id: str,
        *,
        now: bool = False,
        reason: str | None = None,
    ) -> ExecutionView:
        """Pause in any live state: at the next step boundary, or `now`, aborting the model request.

        Waits a while for it; an execution whose step takes longer is returned as running, and
        pauses after that step. Paused already: returned as it is. Raises Conflict if it has ended,
        ExecutionNotFound, InvalidId, MissingScope.
        """
        principal.require(Scope.AGENTS_EXECUTE)
        execution = await self._execution(principal, execution_id)
        paused = await self._lifecycle.pause(execution, PauseRequest(now, reason))
        return await self._views.one(paused)

    async def resume(
        self,
        principal: Principal,
        execution_id: str,
        checkpoint_id: str | None = None,
        only: frozenset[Status] = frozenset(Status),
    ) -> ExecutionView:
        """Continue from the newest or the named checkpoint; work after it is superseded.

        Raises Conflict (it is in none of the statuses of `only`; it is queued, running or
        suspended; it is completed and no checkpoint is named; the checkpoint is superseded),
        ConversationBusy (it had ended, and another turn of the conversation is live),
        CheckpointNotFound, ExecutionNotFound, InvalidId, MissingScope.
        """
        principal.require(Scope.AGENTS_EXECUTE)
        request = Resume(
            principal.workspace_id,
            parse(EXECUTION, execution_id),
            self._clock.now(),
            None if checkpoint_id is None else parse(CHECKPOINT, checkpoint_id),
            principal.key_id,
            only,
        )
        return await self._views.shown(await self._store.executions.resume(request))

    async def checkpoints(self, principal: Principal, execution_id: str) -> tuple[Checkpoint, ...]:
        """Return the checkpoints, oldest first, superseded ones too. Raises ExecutionNotFound."""
        principal.require(Scope.EXECUTIONS_READ)
        execution = await self._execution(principal, execution_id)
        return await self._store.checkpoints.shown(execution)

    async def delete(self, principal: Principal, execution_id: str) -> None:
        """Terminate the execution, then delete it for good; NotFound afterwards.

        Raises ExecutionNotFound, InvalidId, MissingScope.
        """
        principal.require(Scope.AGENTS_EXECUTE)
        workspace_id, found = principal.workspace_id, parse(EXECUTION, execution_id)
        try:
            execution = await self._store.executions.get(workspace_id, found)
            await self._lifecycle.terminate(execution)
        except ExecutionUnreadable:  # it can be deleted as it is
            logger.exception("execution.unreadable", execution=found)
        await self._store.executions.delete(workspace_id, found)

    async def _execution(self, principal: Principal, execution_id: str) -> Execution:
        return await self._store.executions.get(
            principal.workspace_id, parse(EXECUTION, execution_id)
        )
