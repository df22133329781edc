"""The routes of the background room: parse, call, render."""

from typing import Final

from starlette.responses import Response

from outlast.http.call import Call
from outlast.http.endpoint import Answer, Endpoint
from outlast.http.parameters import filter_value
from outlast.http.replays import kept, mark_replayed, replayed
from outlast.http.spool import json_response, whole_response
from outlast.model.error import AgentNotFound
from outlast.model.schedule import DEFAULT_INPUT
from outlast.model.workspace import Scope
from outlast.rooms.background import render, schemas
from outlast.services.all import Services
from outlast.services.executions import ExecutionFilter, Page, StartExecution
from outlast.services.lists import Listed


async def run(call: Call, services: Services) -> Response:
    """Run the agent in the background on its own instructions; the record exists before the 202."""
    ref = call.path_text("agentId", AgentNotFound)
    agent = await services.agents.chosen(call.principal, ref)
    schedule = agent.spec.schedule or {}
    given = schedule.get("input", DEFAULT_INPUT)
    request = StartExecution(given, idempotency=await call.idempotency())
    started = await services.executions.start(call.principal, ref, request)
    if started.answer is not None:
        return replayed(started.answer)
    response = json_response(
        render.accepted(started.execution), 202, {"X-Execution-Id": started.execution.id}
    )
    if started.replayed:
        return mark_replayed(response)
    if request.idempotency is not None:
        await services.executions.keep_answer(request.idempotency, kept(response))
    return response


_AGENT: Final = {"agentId": "The agent's id or name."}
_PAGE: Final = {200: Answer("Newest first.", schemas.EventPage)}


async def agent_events(call: Call, services: Services) -> Response:
    """The agent's executions as events, newest first, however they were started."""
    query = call.query_as(schemas.AgentEventsQuery)
    ref = call.path_text("agentId", AgentNotFound)
    return await _events(call, services, query, await services.agents.resolve(call.principal, ref))


async def all_events(call: Call, services: Services) -> Response:
    """Executions of all agents as events, newest first."""
    query = call.query_as(schemas.EventsQuery)
    agent_id = None
    if query.agent_id is not None:
        with filter_value("agentId"):
            agent_id = await services.agents.resolve(call.principal, query.agent_id)
    return await _events(call, services, query, agent_id)


async def _events(
    call: Call, services: Services, query: schemas.AgentEventsQuery, agent_id: str | None
) -> Response:
    wanted = ExecutionFilter(
        agent_id=agent_id,
        status=render.statuses(query.status),
        started_after=query.started_after,
        started_before=query.started_before,
    )
    page = Page(query.limit, after=query.next_token)

    async def read() -> schemas.EventPage:
        if query.full:
            views, more = await services.lists.whole(call.principal, wanted, page)
            found = [Listed(view.execution) for view in views]
        else:
            found, more = await services.lists.page(call.principal, wanted, page)
        return render.page(found, call.link, more=more)

    return await whole_response(call.spools, read, large=query.full)


ENDPOINTS: Final = (
    Endpoint(
        "POST",
        "/v1/agents/{agentId}/execute",
        run,
        scope=Scope.AGENTS_EXECUTE,
        name="runAgent",
        summary="Run an agent in the background",
        tag="events",
        parameters=_AGENT,
        answers={202: Answer("It runs.", schemas.Accepted)},
        bodyless=True,
    ),
    Endpoint(
        "GET",
        "/v1/agents/{agentId}/events",
        agent_events,
        scope=Scope.EXECUTIONS_READ,
        name="listAgentEvents",
        summary="List an agent's executions",
        tag="events",
        parameters=_AGENT,
        query=schemas.AgentEventsQuery,
        answers=_PAGE,
        errors=(400, 404),
    ),
    Endpoint(
        "GET",
        "/v1/events",
        all_events,
        scope=Scope.EXECUTIONS_READ,
        name="listEvents",
        summary="List executions as events",
        tag="events",
        query=schemas.EventsQuery,
        answers=_PAGE,
        errors=(400,),
    ),
)
