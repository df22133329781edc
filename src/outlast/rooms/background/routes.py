# ruff: noqa: FAST003 - a handler takes its path from the Call
"""The routes of the background room: parse, call, render."""

from typing import Final

from fastapi import APIRouter
from starlette.responses import Response
from starlette.routing import Match
from starlette.types import Scope

from outlast.http.document import operation
from outlast.http.request import Call, filter_value, kept, mark_replayed, replayed
from outlast.http.route import Route
from outlast.http.spool import json_response, whole_response
from outlast.model.error import AgentNotFound
from outlast.rooms.background import render, schemas
from outlast.services.all import Services
from outlast.services.executions import ExecutionFilter, Page, StartExecution
from outlast.services.lists import Listed

INSTRUCTION: Final = "Carry out your instructions."
"""The input of a run that is given none."""


class BackgroundRoute(Route):
    """A route of this room."""

    room = "background"


class BodylessRoute(BackgroundRoute):
    """A route that stands aside where a request brings a body."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        match, child = super().matches(scope)
        return (match, child) if match is Match.FULL and self.takes(scope) else (Match.NONE, {})

    def takes(self, scope: Scope) -> bool:
        return not _has_body(scope)


def _has_body(scope: Scope) -> bool:
    """Source: RFC 9112, 6.3: a request has a body if one of these headers says so."""
    return any(
        name == b"transfer-encoding" or (name == b"content-length" and value.strip() != b"0")
        for name, value in scope["headers"]
    )


router = APIRouter(route_class=BackgroundRoute)


async def run(call: Call) -> Response:
    """Run the agent in the background on its own instructions; the record exists before the 202."""
    services: Services = call.services
    request = StartExecution(INSTRUCTION, idempotency=await call.idempotency())
    agent = call.path_text("agentId", AgentNotFound)
    started = await services.executions.start(call.principal, agent, request)
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


router.add_api_route(
    "/v1/agents/{agentId}/execute",
    run,
    methods=["POST"],
    response_model=None,
    include_in_schema=False,  # the executions room's operation tells of both answers
    route_class_override=BodylessRoute,
)

_PAGE: Final = {200: {"model": schemas.EventPage, "description": "Newest first."}}


@router.get(
    "/v1/agents/{agentId}/events",
    tags=["events"],
    **operation(
        "listAgentEvents",
        "List an agent's executions",
        path={"agentId": "The agent's id or name."},
        query=schemas.AgentEventsQuery,
        answers=_PAGE,
        errors=(400, 404),
    ),
)
async def agent_events(call: Call) -> Response:
    """The agent's executions as events, newest first, however they were started."""
    services: Services = call.services
    query = call.query_as(schemas.AgentEventsQuery)
    ref = call.path_text("agentId", AgentNotFound)
    return await _events(call, query, await services.agents.resolve(call.principal, ref))


@router.get(
    "/v1/events",
    tags=["events"],
    **operation(
        "listEvents",
        "List executions as events",
        query=schemas.EventsQuery,
        answers=_PAGE,
        errors=(400,),
    ),
)
async def all_events(call: Call) -> Response:
    """Executions of all agents as events, newest first."""
    services: Services = call.services
    query = call.query_as(schemas.EventsQuery)
    agent_id = None
    if query.agent_id is not None:
        with filter_value("agentId"):
            agent_id = await services.agents.resolve(call.principal, query.agent_id)
    return await _events(call, query, agent_id)


async def _events(call: Call, query: schemas.AgentEventsQuery, agent_id: str | None) -> Response:
    services: Services = call.services
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
