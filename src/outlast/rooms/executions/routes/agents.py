"""Agents: list and read."""

from typing import Final

from starlette.responses import Response

from outlast.http.call import Call
from outlast.http.endpoint import Answer, Endpoint
from outlast.http.spool import json_response
from outlast.model.error import AgentNotFound
from outlast.model.workspace import Scope
from outlast.rooms.executions import answers, render, schemas
from outlast.services.all import Services
from outlast.services.executions import Page

AGENT_PATH: Final = {"agentId": "The agent's id or name."}


async def list_agents(call: Call, services: Services) -> Response:
    """The workspace's agents, newest first."""
    query = call.query_as(schemas.AgentsQuery)
    after = query.after or query.next_token
    page = Page(query.limit, after, query.before)
    found, more = await services.agents.page(call.principal, page)
    return json_response(render.agents(found, more=more, backwards=page.backwards))


async def get_agent(call: Call, services: Services) -> Response:
    """The agent, by id or by name."""
    ref = call.path_text("agentId", AgentNotFound)
    return json_response(render.agent(await services.agents.get(call.principal, ref)))


ENDPOINTS: Final = (
    Endpoint(
        "GET",
        "/v1/agents",
        list_agents,
        scope=Scope.AGENTS_READ,
        name="listAgents",
        summary="List agents",
        tag="agents",
        query=schemas.AgentsQuery,
        answers={200: Answer("Newest first.", answers.AgentPage)},
        errors=(400,),
    ),
    Endpoint(
        "GET",
        "/v1/agents/{agentId}",
        get_agent,
        scope=Scope.AGENTS_READ,
        name="getAgent",
        summary="Get an agent",
        tag="agents",
        parameters=AGENT_PATH,
        answers={200: Answer("Its newest version.", answers.Agent)},
        errors=(404,),
    ),
)
