"""The playground: talk to an agent, and watch what it does."""

from typing import Any, Final
from urllib.parse import urlencode

from starlette.responses import RedirectResponse, Response

from outlast.http.call import Call
from outlast.model.error import ExecutionNotFound, InvalidField, InvalidId
from outlast.model.execution import TERMINAL, Budget, OnBusy
from outlast.model.ids import CONVERSATION, EXECUTION, parse
from outlast.model.workspace import Scope
from outlast.rooms.console.render.commands import commands
from outlast.rooms.console.render.frame import ROOT, frame_of
from outlast.rooms.console.render.page import page
from outlast.rooms.console.routes.endpoints import page_at
from outlast.rooms.console.routes.forms import Form, form_of
from outlast.rooms.console.routes.transcripts import newest_of
from outlast.rooms.console.stream import head_of
from outlast.services.all import Services
from outlast.services.executions import Cut, ExecutionFilter, Page, StartExecution

_TURNS: Final = 20
_AGENTS: Final = 100


async def playground(call: Call, services: Services) -> Response:
    """A chat with an agent: the turns so far, the newest one live."""
    given = call.query_params
    conversation = _conversation(given.get("conversation", ""))
    turns, more = await _turns(call, services, conversation)
    newest = turns[-1].execution if turns else None
    found = None if newest is None else await services.lists.row(call.principal, newest.id)
    frame = frame_of(call)
    shown: dict[str, Any] = {"newest": None, "read": None, "head": None}
    if found is not None and not found.execution.is_purged:
        read = await newest_of(call, services, found.execution)
        head = head_of(found.execution, read, frame, fresh=True)
        shown = {"newest": found.execution, "read": read, "head": head}
    agent = given.get("agent", "") if found is None else found.agent
    edited = next((one for one in turns if one.execution.id == given.get("edit")), None)
    may = Scope.AGENTS_EXECUTE in call.principal.scopes
    ids = {"agent": agent or "AGENT", "conversation": conversation or ""}
    name = "turn" if newest is not None else "execute"
    return page(
        call,
        "playground.html",
        agents=await _agents(call, services),
        agent=agent,
        code=commands(call, [name] if may else [], **ids),
        conversation=conversation or "",
        turns=turns[:-1],
        edited=None if edited is None or edited.cut else edited.execution,
        more=more,
        busy=newest is not None and newest.status not in TERMINAL,
        **shown,
    )


async def send(call: Call, services: Services) -> Response:
    """Starts a turn."""
    form = await form_of(call)
    text, agent = form.get("input"), form.get("agent").strip()
    if not text.strip():
        raise InvalidField("Write a message first.", param="input")
    busy = OnBusy.INTERRUPT if form.get("do") == "interrupt" else OnBusy.ENQUEUE
    request = StartExecution(
        text,
        _conversation(form.get("conversation")),
        session=form.object("session", "Session"),
        metadata=form.object("metadata", "Metadata"),
        budget=_budget(form),
        on_busy=busy,
        user=form.get("user").strip() or None,
        cut=_cut(form.get("replaces")),
    )
    started = await services.executions.start(call.principal, agent or None, request)
    there = urlencode({"conversation": started.execution.conversation_id})
    return RedirectResponse(call.link(f"{ROOT}/playground?{there}#end"), 303)


def _budget(form: Form) -> Budget:
    """Return what the execution may spend. Raises InvalidField."""
    spent, steps = form.number("credits", "Credits"), form.number("steps", "Steps", 1)
    return Budget(
        max_credits=None if spent is None else float(spent),
        max_steps=None if steps is None else int(steps),
    )


def _cut(replaces: str) -> Cut | None:
    """Return which turn, with all behind it, a message takes the place of; None if of none."""
    try:
        execution_id = parse(EXECUTION, replaces) if replaces else None
    except InvalidId as error:
        raise ExecutionNotFound from error
    if execution_id is None:
        return None
    return Cut(explicit=True, execution_id=execution_id, required=True)


def _conversation(text: str) -> str | None:
    try:
        return parse(CONVERSATION, text) if text else None
    except InvalidId:
        return None


async def _turns(call: Call, services: Services, conversation: str | None) -> tuple[Any, bool]:
    """Return the newest turns that stand, oldest first, and whether there are earlier ones."""
    if conversation is None:
        return [], False
    of = ExecutionFilter(conversation_id=conversation)
    found, more = await services.lists.page(call.principal, of, Page(_TURNS))
    return [one for one in reversed(found) if not one.execution.superseded], more


async def _agents(call: Call, services: Services) -> list[str]:
    """Return the names of agents to choose from; none if the key may not list them."""
    if Scope.AGENTS_READ not in call.principal.scopes:
        return []
    found, _ = await services.agents.page(call.principal, Page(_AGENTS))
    return sorted(one.spec.name for one in found if one.retired_at is None)


PAGES: Final = (
    page_at("/playground", playground, "Playground", scope=Scope.EXECUTIONS_READ),
    page_at("/playground", send, "Send", scope=Scope.AGENTS_EXECUTE, method="POST"),
)
