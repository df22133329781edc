"""Results of the tool calls that clients run, and input that calls need."""

from collections.abc import Collection
from contextlib import suppress

import orjson

from outlast.agents.port import MAX_ERROR_BYTES
from outlast.model.client_call import MAX_RESULT_BYTES, ClientCallNotFound
from outlast.model.clock import Clock
from outlast.model.error import InvalidField
from outlast.model.ids import EXECUTION, parse
from outlast.model.json_depth import DEEPEST, is_too_deep
from outlast.model.text import shortened, storable
from outlast.model.wait import CallResult, Wait
from outlast.model.workspace import Principal, Scope
from outlast.services.inputs import checked_answers
from outlast.store.store import Store
from outlast.store.waits.decide import DecideWait

__all__ = ["CallResult", "ClientCalls"]


class ClientCalls:
    """The calls of a workspace's executions that clients run."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def answer(
        self, principal: Principal, execution_id: str, tool_call_id: str, given: CallResult
    ) -> Wait:
        """Give a call's result or error; the first one stands, and repeating it is accepted.

        To a call that waits for input it is the answers to its questions.
        A child's call may be answered at the child, or at any execution above it.

        Raises ExecutionNotFound, ClientCallNotFound, Conflict (it has another result, its time is
        over, the execution has ended), InvalidField, InvalidId, MissingScope.
        """
        principal.require(Scope.AGENTS_EXECUTE)
        found = await self._find(principal, parse(EXECUTION, execution_id), tool_call_id)
        request = DecideWait(
            principal.workspace_id,
            found.execution_id,
            tool_call_id,
            self._clock.now(),
            _checked(given) if found.request is None else checked_answers(found.request, given),
            principal.key_id,
        )
        return await self._store.waits.decide(request)

    async def known(
        self, principal: Principal, execution_id: str, tool_call_ids: Collection[str]
    ) -> list[str]:
        """Return which of these are calls that the client runs, or has run, of a tree.

        Raises ExecutionNotFound.
        """
        found: list[str] = []
        for tool_call_id in tool_call_ids:
            with suppress(ClientCallNotFound):
                wait = await self._find(principal, execution_id, tool_call_id)
                found += [tool_call_id] if wait.request is None else []
        return found

    async def _find(self, principal: Principal, execution_id: str, tool_call_id: str) -> Wait:
        workspace = principal.workspace_id
        execution = await self._store.executions.get(workspace, execution_id)
        waits = await self._store.waits.of(workspace, execution_id)
        found = next((wait for wait in waits if wait.tool_call_id == tool_call_id), None)
        if found is None and execution.children:
            found = await self._store.waits.below(workspace, execution_id, tool_call_id)
        if found is None or not found.is_client or found.superseded:
            raise ClientCallNotFound
        return found


def _checked(given: CallResult) -> CallResult:
    """Return the result as it can be stored. Raises InvalidField for one that is too large."""
    result = storable(given.result)
    if given.is_error:
        return CallResult(shortened(str(result), MAX_ERROR_BYTES), is_error=True)
    if is_too_deep(result):
        raise InvalidField(f"The result is nested deeper than {DEEPEST} levels.", param="result")
    size = len(orjson.dumps(result))
    if size > MAX_RESULT_BYTES:
        raise InvalidField(
            f"The result is {size} bytes as JSON, more than {MAX_RESULT_BYTES}.", param="result"
        )
    return CallResult(result)
