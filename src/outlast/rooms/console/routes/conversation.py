"""A conversation: its turns as a chat, from which it goes on, and its deletion."""

from typing import Final

from starlette.responses import RedirectResponse, Response

from outlast.http.call import Call
from outlast.model.conversation import Conversation
from outlast.model.error import ConversationNotFound, InvalidId
from outlast.model.ids import CONVERSATION, EXECUTION, parse
from outlast.model.task import client_agent_id
from outlast.model.workspace import Scope
from outlast.rooms.console.render.commands import commands
from outlast.rooms.console.render.frame import ROOT
from outlast.rooms.console.render.page import page
from outlast.rooms.console.routes.endpoints import page_at
from outlast.services.all import Services
from outlast.services.executions import ExecutionFilter, Page

_TURNS: Final = 50
_EXECUTE: Final = Scope.AGENTS_EXECUTE


async def conversation(call: Call, services: Services) -> Response:
    """The turns as a chat, the newest page first; the answers lead to their executions."""
    found = await services.conversations.row(call.principal, _id(call))
    given = call.query_params.get("before", "")
    try:
        start = parse(EXECUTION, given) if given else None
    except InvalidId:
        start = None
    of = ExecutionFilter(conversation_id=found.conversation.id)
    turns, more = await services.lists.page(call.principal, of, Page(_TURNS, start))
    may, goes_on = _EXECUTE in call.principal.scopes, _goes_on(call, found.conversation)
    offered = ["turn"] * (may and goes_on) + ["delete_conversation"] * may
    ids = {"conversation": found.conversation.id, "agent": found.agent}
    return page(
        call,
        "conversation.html",
        code=commands(call, offered, **ids),
        found=found.conversation,
        agent=found.agent,
        turns=turns[::-1],
        earlier=turns[-1].execution.id if more and turns else "",
        is_newest=start is None,
        continues=goes_on,
        now=services.clock.now(),
        may_execute=may,
    )


def _goes_on(call: Call, found: Conversation) -> bool:
    """Whether an agent can be given another turn: not if clients drive its executions."""
    return found.agent_id != client_agent_id(call.principal.workspace_id)


async def delete(call: Call, services: Services) -> Response:
    """Deletes all turns for good; what they have cost is kept."""
    await services.conversations.delete(call.principal, _id(call))
    return RedirectResponse(call.link(f"{ROOT}/executions"), 303)


def _id(call: Call) -> str:
    return call.path_id("conversationId", CONVERSATION, ConversationNotFound)


_AT: Final = "/conversations/{conversationId}"
PAGES: Final = (
    page_at(_AT, conversation, "Conversation", scope=Scope.EXECUTIONS_READ),
    page_at(f"{_AT}/delete", delete, "DeleteConversation", scope=_EXECUTE, method="POST"),
)
