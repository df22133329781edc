"""Several calls of one tool that wait, chosen in the list and decided with one confirmation."""

from typing import Final

from starlette.responses import Response

from outlast.http.call import Call
from outlast.model.error import InvalidId, InvalidRequest, OutlastError
from outlast.model.execution import TERMINAL
from outlast.model.ids import EXECUTION, parse
from outlast.model.wait import Decision, Wait, WaitKind
from outlast.model.workspace import Scope
from outlast.rooms.console.render.commands import commands_of_each
from outlast.rooms.console.render.page import page
from outlast.rooms.console.routes.endpoints import page_at
from outlast.rooms.console.routes.forms import form_of
from outlast.services.all import Services

_MOST: Final = 100
_LONGEST_REASON: Final = 2000
_APPROVED: Final = {"approve": True, "deny": False}


async def chosen_calls(call: Call, services: Services) -> Response:
    """The chosen calls with their arguments, to be confirmed."""
    action = call.query_params.get("do", "")
    waits = await _waits(call, services, call.query_params.getlist("call"))
    return _shown(call, action, [(one, "") for one in waits])


async def decide_chosen(call: Call, services: Services) -> Response:
    """Decides each, and shows what became of it; a decision that stands is not changed."""
    form = await form_of(call)
    action, reason = form.get("do"), form.get("reason").strip()[:_LONGEST_REASON] or None
    if action not in _APPROVED:
        raise InvalidRequest("Choose what to do.")
    waits = await _waits(call, services, form.all("call"))
    decision = Decision(approved=_APPROVED[action], reason=reason)
    found = [(one, await _decided(call, services, one, decision)) for one in waits]
    return _shown(call, action, found, done="approved" if decision.approved else "denied")


async def _decided(call: Call, services: Services, wait: Wait, decision: Decision) -> str:
    """Return what became of one."""
    where = (call.principal, wait.execution_id, wait.tool_call_id)
    try:
        await services.approvals.decide(*where, decision)
    except OutlastError as error:
        return error.message
    return "approved" if decision.approved else "denied"


def _shown(call: Call, action: str, found: list[tuple[Wait, str]], *, done: str = "") -> Response:
    if action not in _APPROVED:
        raise InvalidRequest("Choose what to do.")
    each = ({"execution": one.execution_id, "tool_call": one.tool_call_id} for one, _ in found)
    return page(
        call,
        "chosen_calls.html",
        rows=found,
        code=[] if done else commands_of_each(call, action, each),
        tool=found[0][0].name,
        action=action,
        done=done,
    )


async def _waits(call: Call, services: Services, given: list[str]) -> list[Wait]:
    """Return the calls of a form, as they are now. Raises InvalidRequest."""
    if not 0 < len(given) <= _MOST:
        raise InvalidRequest(f"Choose calls in the list first, at most {_MOST}.")
    found = []
    for text in dict.fromkeys(given):
        execution_id, _, tool_call_id = text.partition("/")
        try:
            view = await services.executions.get(call.principal, parse(EXECUTION, execution_id))
        except InvalidId as error:
            raise InvalidRequest(error.message) from error
        ended = view.execution.status in TERMINAL
        wait = next((one for one in view.approvals if one.tool_call_id == tool_call_id), None)
        if wait is None or ended:
            raise InvalidRequest("One of the calls waits no longer: its execution has ended.")
        if wait.kind is not WaitKind.APPROVAL:
            raise InvalidRequest("A call whose outcome is unknown is decided alone, on its page.")
        found.append(wait)
    if len({one.name for one in found}) > 1:
        names = ", ".join(sorted({one.name for one in found}))
        raise InvalidRequest(f"Choose calls of one tool; these are of {names}.")
    return found


_AT: Final = "/approvals/chosen"
PAGES: Final = (
    page_at(_AT, chosen_calls, "ChosenCalls", scope=Scope.EXECUTIONS_READ),
    page_at(_AT, decide_chosen, "DecideChosen", scope=Scope.APPROVALS_WRITE, method="POST"),
)
