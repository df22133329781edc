"""`POST /v1/agents/{id}/execute`: one request, four ways to get its result."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from starlette.datastructures import Headers
from starlette.responses import Response

from outlast.http.call import Call
from outlast.http.client_tools import client_tools_of
from outlast.http.replays import kept, mark_replayed, replayed
from outlast.http.spool import json_response
from outlast.model.error import (
    AgentNotFound,
    ExecutionNotFound,
    InvalidId,
    MemoryStoreNotFound,
    RequestInProgress,
)
from outlast.model.execution import RESTING, Budget, OnBusy
from outlast.model.ids import MEMORY, parse
from outlast.model.memory import Access, MemoryAccess
from outlast.rooms.executions import render
from outlast.rooms.executions.schemas import (
    BudgetBody,
    ExecuteBody,
    ExecuteQuery,
    MemoryStoreAccess,
)
from outlast.rooms.executions.stream import stream_of
from outlast.rooms.executions.stream.woven import woven_stream
from outlast.services.all import Services
from outlast.services.executions import (
    WAIT_SECONDS,
    Cut,
    ExecutionView,
    Idempotency,
    Started,
    StartExecution,
)

_WAIT: Final = re.compile(r"\s*wait\s*=\s*\"?(\d{1,9})\"?\s*", re.IGNORECASE)
_ASYNC: Final = "respond-async"
_WEIGHT: Final = re.compile(r"(?:^|;)\s*q=([01](?:\.[0-9]*)?)\s*(?:;|$)")


@dataclass(frozen=True, slots=True)
class Mode:
    """How the caller gets the result of the execution."""

    stream: bool = False
    seconds: float = WAIT_SECONDS
    """Seconds to wait for its end before a 202; 0: at once."""
    applied: str | None = None
    """The preference applied, if any."""


def mode_of(body: ExecuteBody, headers: Headers) -> Mode:
    """Return the mode: stream wins over background, the body over `Prefer` (RFC 7240)."""
    if body.stream or (body.stream is None and _prefers_events(headers)):
        return Mode(stream=True)
    if body.background:
        return Mode(seconds=0)
    preferences = ",".join(headers.getlist("prefer")).split(",")
    waits = [found for item in preferences if (found := _WAIT.fullmatch(item))]
    if waits:
        seconds = int(waits[0][1])
        return Mode(seconds=min(seconds, WAIT_SECONDS), applied=f"wait={seconds}")
    names = [item.partition(";")[0].strip().lower() for item in preferences]
    if body.background is None and _ASYNC in names:
        return Mode(seconds=0, applied=_ASYNC)
    return Mode()


def _prefers_events(headers: Headers) -> bool:
    """Whether `Accept` prefers server-sent events to JSON (RFC 9110, 12.5.1).

    Clients that were generated from the document accept both alike, and read JSON.
    """
    weights: dict[str, float] = {}
    for item in ",".join(headers.getlist("accept")).lower().split(","):
        name, _, parameters = item.partition(";")
        found = _WEIGHT.search(parameters)
        weights[name.strip()] = float(found[1]) if found else 1.0
    return weights.get("text/event-stream", 0.0) > weights.get("application/json", 0.0)


async def _request(call: Call, services: Services, body: ExecuteBody) -> StartExecution:
    """Return the body as a request; one that replaces an execution stays in its conversation."""
    start = _start(body, await call.idempotency())
    if body.replaces is None:
        return start
    try:
        replaced = await services.executions.known(call.principal, body.replaces)
    except ExecutionNotFound as error:
        raise ExecutionNotFound(param="replaces") from error
    cut = Cut(explicit=True, execution_id=replaced.id, required=True)
    conversation = body.conversation_id or replaced.conversation_id
    return replace(start, conversation_id=conversation, cut=cut)


def _start(body: ExecuteBody, idempotency: Idempotency | None) -> StartExecution:
    session = body.memory.session if body.memory else None
    return StartExecution(
        input=body.input,
        conversation_id=body.conversation_id,
        session=session or {},
        metadata=body.metadata or {},
        user=body.user,
        forwarded_headers=body.forwarded_headers or {},
        budget=_budget(body.budget),
        on_busy=OnBusy(body.on_busy or OnBusy.ENQUEUE),
        idempotency=idempotency,
        memory_stores=None if body.memory_stores is None else memory_stores_of(body.memory_stores),
        client_tools=client_tools_of(body.client_tools),
    )


def memory_stores_of(given: Sequence[str | MemoryStoreAccess]) -> tuple[MemoryAccess, ...]:
    """Return the stores. Raises MemoryStoreNotFound, naming the index, for what is no id."""
    found: list[MemoryAccess] = []
    for index, one in enumerate(given):
        text = one if isinstance(one, str) else one.id
        access = Access.READ_WRITE if isinstance(one, str) else Access(one.access)
        try:
            found.append(MemoryAccess(parse(MEMORY, text), access))
        except InvalidId as error:
            param = f"memoryStores.{index}"
            raise MemoryStoreNotFound("There is no such memory store.", param=param) from error
    return tuple(found)


def _budget(budget: BudgetBody | None) -> Budget:
    if budget is None:
        return Budget()
    return Budget(budget.max_tokens, budget.max_credits, budget.max_steps, budget.max_seconds)


async def execute(call: Call, services: Services) -> Response:
    """Run an agent on an input.

    Waits for the end and answers with the execution; `stream` answers with server-sent events;
    `background` or `Prefer: respond-async` answer 202 at once. The execution continues when the
    client disconnects. A run that failed answers 200 with `status: "failed"`: the request
    succeeded, the execution did not.
    Without a body at all: a background run of the agent on its own instructions.
    """
    body = await call.body_as(ExecuteBody)
    mode = mode_of(body, call.headers)
    request = await _request(call, services, body)
    agent = call.path_text("agentId", AgentNotFound)
    if mode.stream:
        started, log = await services.executions.stream(call.principal, agent, request)
        children = call.query_as(ExecuteQuery).children
        stream = woven_stream if children else stream_of
        response = stream(call, services, started.execution.id, log=log)
        return mark_replayed(response) if started.replayed else response
    started, view = await services.executions.run(call.principal, agent, request, mode.seconds)
    if started.replayed:
        return _again(call, mode, started, view)
    response = _answer(call, mode, view)
    if request.idempotency is not None:
        await services.executions.keep_answer(request.idempotency, kept(response))
    return response


def _answer(call: Call, mode: Mode, view: ExecutionView) -> Response:
    execution = view.execution
    headers = {"X-Execution-Id": execution.id}
    if mode.applied:
        headers["Preference-Applied"] = mode.applied
    if mode.seconds and execution.shown_status in RESTING:
        return json_response(render.execution(view), 200, headers)
    headers["Location"] = call.link(f"/v1/executions/{execution.id}")
    return json_response(render.execution(view), 202, headers)


def _again(call: Call, mode: Mode, started: Started, view: ExecutionView) -> Response:
    """Return the first request's response. Raises RequestInProgress while that one waits."""
    if started.answer is not None:
        return replayed(started.answer)
    if mode.seconds and view.execution.shown_status not in RESTING:
        raise RequestInProgress
    return mark_replayed(_answer(call, mode, view))
