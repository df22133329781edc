"""Agents: list and read."""

from typing import Final

from starlette.responses import Response

from outlast.http.call import Call
from outlast.http.endpoint import Answer, Endpoint
from outlast.http.spool import json_response
from outlast.model.agent import Agent
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
    schedules = await services.schedules.of_agents(call.principal, found)
    return json_response(render.agents(found, schedules, more=more, backwards=page.backwards))


async def get_agent(call: Call, services: Services) -> Response:
    """The agent, by id or by name."""
    ref = call.path_text("agentId", AgentNotFound)
    return await _shown(call, services, await services.agents.get(call.principal, ref))


async def pause_agent(call: Call, services: Services) -> Response:
    """Pause an agent and its schedules: it starts nothing new (409), and what runs goes on."""
    return await _pause(call, services, paused=True)


async def resume_agent(call: Call, services: Services) -> Response:
    """Resume an agent, and the schedules that its pause has paused, from now on."""
    return await _pause(call, services, paused=False)


async def _pause(call: Call, services: Services, *, paused: bool) -> Response:
    ref = call.path_text("agentId", AgentNotFound)
    agent = await services.schedules.pause_agent(call.principal, ref, paused=paused)
    return json_response(render.agent(agent, await services.schedules.of_agent(agent)))


async def _shown(call: Call, services: Services, agent: Agent) -> Response:
    found = await services.schedules.of_agents(call.principal, [agent])
    return json_response(render.agent(agent, found[agent.id]))


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
    Endpoint(
        "POST",
        "/v1/agents/{agentId}/pause",
        pause_agent,
        scope=Scope.AGENTS_EXECUTE,
        name="pauseAgent",
        summary="Pause an agent",
        tag="agents",
        parameters=AGENT_PATH,
        answers={200: Answer("It is paused.", answers.Agent)},
        errors=(404,),
    ),
    Endpoint(
        "POST",
        "/v1/agents/{agentId}/resume",
        resume_agent,
        scope=Scope.AGENTS_EXECUTE,
        name="resumeAgent",
        summary="Resume an agent",
        tag="agents",
        parameters=AGENT_PATH,
        answers={200: Answer("It is in use.", answers.Agent)},
        errors=(404,),
    ),
)
