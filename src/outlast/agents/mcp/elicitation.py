"""Input that a server requests during a call (elicitation), as the engine and as MCP write it."""

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final

import mcp_types
import orjson

from outlast.agents.mcp.server import Target
from outlast.agents.port import InputNeeded, ToolContext
from outlast.model.error import ToolFailed
from outlast.model.input_request import MAX_ROUNDS, Answers, GivenInput, InputRequest
from outlast.model.text import shortened, storable

MAX_BYTES: Final = 65_536
"""Maximum bytes of the questions of one request, and of a server's state."""
_SHOWN: Final = 500
_ONLY: Final = "input"
"""Id of the only question of a server that holds its call open."""

CALL: ContextVar["Call | None"] = ContextVar("call", default=None)
"""The call whose answer a message from a server came with, where the transport tells."""


def input_responses(answers: Answers) -> mcp_types.InputResponses:
    """Return answers as MCP has them."""
    return {key: mcp_types.ElicitResult(**one) for key, one in answers.items()}


def needed(
    target: Target,
    context: ToolContext,
    requests: Mapping[str, Any],
    state: str | None,
    *,
    of_task: bool = False,
) -> InputNeeded:
    """Return what ends a call until these requests are answered. Raises ToolFailed."""
    rounds = 1 if context.given is None else context.given.request.rounds + 1
    if context.ask is None or rounds > MAX_ROUNDS:
        raise not_given(target, _messages(requests))
    if state is not None and len(state) > MAX_BYTES:
        raise ToolFailed(f"The MCP server {target.name} sends a state that is too large.")
    questions = {key: _question(target, one) for key, one in requests.items()}
    checked = _checked(target, questions)
    return InputNeeded(InputRequest(checked, state, rounds=rounds, of_task=of_task))


def unanswered(requests: Mapping[str, Any], given: GivenInput | None) -> dict[str, Any]:
    """Return the requests of a task for which no answers have been given."""
    known = {} if given is None else given.answers
    return {key: one for key, one in requests.items() if key not in known}


def not_given(target: Target, messages: str) -> ToolFailed:
    """Return the error of a call whose input nothing can collect."""
    about = f": {messages}" if messages else ""
    return ToolFailed(
        f"The MCP server {target.name} asks for input that cannot be given during a call{about}. "
        "The call did not complete; call again with what it asks for among the arguments."
    )


class Call:
    """A call under way, for which the server may request input before it answers."""

    def __init__(self, target: Target, context: ToolContext, deadline: asyncio.Timeout) -> None:
        """`deadline` does not pass while input is waited for."""
        self._target = target
        self._context = context
        self._deadline = deadline
        self._turn = asyncio.Lock()
        self._tasks: set[asyncio.Task[Answers]] = set()

    async def answer(self, params: mcp_types.ElicitRequestParams) -> mcp_types.ElicitResult:
        """Return a person's answer; cancel if the call ends first. Raises ToolFailed."""
        ask, target = self._context.ask, self._target
        if ask is None:
            return mcp_types.ElicitResult(action="cancel")
        questions = _checked(target, {_ONLY: _question_of(params)})
        async with self._turn:
            with self._without_deadline():
                task: asyncio.Task[Answers] = asyncio.get_running_loop().create_task(
                    _awaited(ask(InputRequest(questions, live=True))),
                    name=f"mcp {target.name} input",
                )
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
                await asyncio.wait({task})
        if task.cancelled():
            return mcp_types.ElicitResult(action="cancel")
        return mcp_types.ElicitResult(**task.result()[_ONLY])

    async def close(self) -> None:
        """Wait for no input any more."""
        tasks = set(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    @contextmanager
    def _without_deadline(self) -> Iterator[None]:
        now, when = asyncio.get_running_loop().time, self._deadline.when()
        if when is None or self._deadline.expired():
            yield
            return
        left = when - now()
        self._deadline.reschedule(None)
        try:
            yield
        finally:
            if not self._deadline.expired():
                self._deadline.reschedule(now() + left)


async def _awaited(answers: Any) -> Answers:
    found: Answers = await answers
    return found


def _question(target: Target, request: Any) -> dict[str, Any]:
    """Return the question of one request. Raises ToolFailed if it is for no person."""
    match request:
        case mcp_types.ElicitRequest(params=params):
            return _question_of(params)
        case _:
            method = str(getattr(request, "method", ""))[:_SHOWN]
            raise ToolFailed(
                f"The MCP server {target.name} requests {method or 'what is not known'} during a "
                "call, which is not given. The call did not complete."
            )


def _question_of(params: mcp_types.ElicitRequestParams) -> dict[str, Any]:
    if isinstance(params, mcp_types.ElicitRequestURLParams):
        return {"mode": "url", "message": params.message, "url": params.url}
    return {"mode": "form", "message": params.message, "schema": params.requested_schema}


def _checked(target: Target, questions: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return the questions as they may be stored. Raises ToolFailed if they are too large."""
    found: dict[str, dict[str, Any]] = storable(target.secrets.hide_in_result(questions))
    if len(orjson.dumps(found)) > MAX_BYTES:
        raise ToolFailed(f"The MCP server {target.name} asks more than can be shown to a person.")
    return found


def _messages(requests: Mapping[str, Any]) -> str:
    """Return what a server asks, in a line."""
    params = (getattr(one, "params", None) for one in requests.values())
    found = (str(message) for one in params if (message := getattr(one, "message", None)))
    return "; ".join(shortened(message, _SHOWN) for message in found)
