"""Conversations: list, read and delete."""

from typing import Final

from starlette.responses import Response

from outlast.http.call import Call
from outlast.http.endpoint import Answer, Endpoint
from outlast.http.parameters import filter_value
from outlast.http.spool import json_response, whole_response
from outlast.model.error import ConversationNotFound, InvalidCursor, InvalidId
from outlast.model.ids import CONVERSATION, parse
from outlast.model.whole_number import number_of
from outlast.model.workspace import Scope
from outlast.rooms.executions import answers, render, schemas
from outlast.services.all import Services
from outlast.services.conversations import ConversationFilter

_CONVERSATION = {"conversationId": "The conversation's id."}
_DIGITS = 15


async def list_conversations(call: Call, services: Services) -> Response:
    """The workspace's conversations by filters, the one that was active last first.

    One that becomes active while a client pages comes first again; none is left out.
    """
    query = call.query_as(schemas.ConversationsQuery)
    agent_id = None
    if query.agent_id is not None:
        with filter_value("agentId"):
            agent_id = await services.agents.resolve(call.principal, query.agent_id)
    after = None if query.after is None else _cursor(query.after)
    wanted = ConversationFilter(agent_id, query.user, after)
    found, more = await services.conversations.page(call.principal, wanted, query.limit)
    return json_response(render.conversations(found, more=more))


def _cursor(text: str) -> tuple[int, str]:
    """Read `MILLISECONDS.conv_…`, the form of `nextCursor`. Raises InvalidCursor."""
    millis, dot, conversation = text.partition(".")
    at = number_of(millis, digits=_DIGITS)
    if not dot or at is None:
        raise InvalidCursor(param="after")
    try:
        return at, parse(CONVERSATION, conversation)
    except InvalidId as error:
        raise InvalidCursor(param="after") from error


async def get_conversation(call: Call, services: Services) -> Response:
    """The conversation with all its turns, oldest first."""
    found = call.path_id("conversationId", CONVERSATION, ConversationNotFound)

    async def read() -> answers.Conversation:
        return render.conversation(await services.conversations.get(call.principal, found))

    return await whole_response(call.spools, read)


async def delete_conversation(call: Call, services: Services) -> Response:
    """Deletes the conversation and all its turns; executions stay as records without content."""
    found = call.path_id("conversationId", CONVERSATION, ConversationNotFound)
    await services.conversations.delete(call.principal, found)
    return Response(status_code=204)


ENDPOINTS: Final = (
    Endpoint(
        "GET",
        "/v1/conversations",
        list_conversations,
        scope=Scope.EXECUTIONS_READ,
        name="listConversations",
        summary="List conversations",
        tag="conversations",
        query=schemas.ConversationsQuery,
        answers={200: Answer("Newest activity first.", answers.ConversationPage)},
        errors=(400,),
    ),
    Endpoint(
        "GET",
        "/v1/conversations/{conversationId}",
        get_conversation,
        scope=Scope.EXECUTIONS_READ,
        name="getConversation",
        summary="Get a conversation",
        tag="conversations",
        parameters=_CONVERSATION,
        answers={200: Answer("With all its turns.", answers.Conversation)},
        errors=(404,),
    ),
    Endpoint(
        "DELETE",
        "/v1/conversations/{conversationId}",
        delete_conversation,
        scope=Scope.AGENTS_EXECUTE,
        name="deleteConversation",
        summary="Delete a conversation",
        tag="conversations",
        parameters=_CONVERSATION,
        answers={204: Answer("It is deleted for good.")},
        errors=(404, 409),
    ),
)
