"""What waits for a person: the list, one call, its decision."""

from typing import Any, Final
from urllib.parse import urlencode

from starlette.responses import RedirectResponse, Response

from outlast.http.call import Call
from outlast.model.agent import ToolSpec
from outlast.model.error import (
    AgentNotFound,
    ApprovalNotFound,
    Conflict,
    ExecutionNotFound,
    InvalidField,
    InvalidId,
    InvalidRequest,
)
from outlast.model.execution import Execution
from outlast.model.ids import EXECUTION, parse
from outlast.model.wait import Decision, Wait, WaitKind
from outlast.model.whole_number import number_of
from outlast.model.workspace import Scope
from outlast.rooms.console.render import arguments
from outlast.rooms.console.render.approvals import Waiting, place_of, wait_in, waiting
from outlast.rooms.console.render.arguments import NotArguments
from outlast.rooms.console.render.commands import commands
from outlast.rooms.console.render.frame import ROOT
from outlast.rooms.console.render.page import page
from outlast.rooms.console.routes.door import next_page
from outlast.rooms.console.routes.endpoints import page_at
from outlast.rooms.console.routes.forms import Form, form_of
from outlast.rooms.console.routes.transcripts import newest_of, transcript_of
from outlast.services.all import Services
from outlast.services.approvals import AwaitedPage

_ROWS: Final = 20
_COUNTED: Final = 99
_PARTS: Final = 3
_LAST_STEPS: Final = 3
_LONGEST_REASON: Final = 2000
_READ: Final = Scope.EXECUTIONS_READ


async def approvals(call: Call, services: Services) -> Response:
    """What waits for a person or a client, the first to expire first."""
    start = _place(call.query_params.get("after", ""))
    found, more = await services.approvals.awaited(call.principal, AwaitedPage(_ROWS, start))
    rows = [await _waiting(call, services, wait) for wait in found]
    last = found[-1] if more and found else None
    return page(
        call,
        "approvals.html",
        rows=rows,
        later=""
        if last is None
        else urlencode({"after": f"{last.due_at or ''}/{last.execution_id}/{last.tool_call_id}"}),
        is_first=start is None,
        now=services.clock.now(),
        may_decide=Scope.APPROVALS_WRITE in call.principal.scopes,
        done=call.query_params.get("done", ""),
        of=_of(call),
    )


def _of(call: Call) -> str:
    """Return the execution of the call that was decided before this page; empty if none was."""
    try:
        return parse(EXECUTION, call.query_params.get("of", ""))
    except InvalidId:
        return ""


def _place(text: str) -> tuple[int | None, str, str] | None:
    """Return the place in the list that an address has; None if it has none."""
    parts = text.split("/")
    if len(parts) != _PARTS:
        return None
    due = number_of(parts[0])
    return None if due is None and parts[0] else (due, parts[1], parts[2])


async def count(call: Call, services: Services) -> Response:
    """How many wait, for the rail."""
    found, _ = await services.approvals.awaited(call.principal, AwaitedPage(_COUNTED + 1))
    said = f"{_COUNTED}+" if len(found) > _COUNTED else str(len(found) or "")
    return page(call, "approvals_count.html", count=said)


async def approval(call: Call, services: Services) -> Response:
    """One call that waits, or has waited, with all that a decision needs."""
    return await _shown(call, services, await _found(call, services))


async def decide(call: Call, services: Services) -> Response:
    """Decides; the first decision wins, and a later one is shown it."""
    form = await form_of(call)
    found = await _found(call, services)
    fields = arguments.fields_of(_schema(found.tool), found.wait.parameters)
    given = dict(form.fields)
    try:
        edited = arguments.sent(fields, given, found.wait.parameters)
        if form.get("do") == "review":
            return await _shown(call, services, found, form=given, edited=edited)
        decision = _decision(form, edited, found.wait)
    except NotArguments as error:
        return await _shown(call, services, found, form=given, problem=error, status=422)
    wait = found.wait
    try:
        await services.approvals.decide(
            call.principal, wait.execution_id, wait.tool_call_id, decision
        )
    except Conflict as error:
        again = await _found(call, services)
        return await _shown(call, services, again, late=error.message, status=409)
    except (InvalidField, InvalidRequest) as error:
        problem = NotArguments(_argument(error.param), error.message)
        return await _shown(call, services, found, form=given, problem=problem, status=422)
    if form.get("next"):  # decided beside its transcript
        return RedirectResponse(call.link(next_page(form.get("next"))), 303)
    done = "approved" if decision.approved else "denied"
    return await _next(call, services, done, wait.execution_id)


def _argument(param: str | None) -> str:
    """Return the name of the argument that an error names."""
    return (param or "").removeprefix("parameters.").partition(".")[0]


def _decision(form: Form, edited: dict[str, Any], wait: Wait) -> Decision:
    """Return the decision of a form. Raises NotArguments."""
    reason = form.get("reason").strip()[:_LONGEST_REASON] or None
    changed = None if edited == wait.parameters else edited
    match form.get("do"):
        case "approve":
            return Decision(approved=True, reason=reason, parameters=changed)
        case "deny":
            return Decision(approved=False, reason=reason)
        case "ran":
            return Decision(
                approved=True, reason=reason, result=arguments.value_of(form.get("result"))
            )
        case _:
            raise NotArguments("", "Choose what to do.")


async def _next(call: Call, services: Services, done: str, of: str) -> Response:
    """Lead to the next call that waits, else to the empty list."""
    found, _ = await services.approvals.awaited(call.principal, AwaitedPage(1))
    there = f"{ROOT}/approvals"
    if found:
        there = f"{ROOT}/{place_of(found[0])}"
    return RedirectResponse(call.link(f"{there}?done={done}&of={of}"), 303)


async def _found(call: Call, services: Services) -> Waiting:
    execution_id = call.path_id("executionId", EXECUTION, ExecutionNotFound)
    wanted = call.path_text("toolCallId", ApprovalNotFound)
    view = await services.lists.row(call.principal, execution_id)
    wait = await services.approvals.one(call.principal, execution_id, wanted)
    wait = wait if wait is not None and wait.is_approval else None
    if wait is None:  # one that was rolled back: its log knows
        read = await transcript_of(call, services, view.execution)
        wait = wait_in(read, view.execution.id, wanted)
    if wait is None:
        raise ApprovalNotFound
    return await _waiting(call, services, wait, view.execution)


async def _waiting(
    call: Call, services: Services, wait: Wait, known: Execution | None = None
) -> Waiting:
    execution = known
    if execution is None or execution.id != wait.execution_id:
        execution = await services.executions.part(call.principal, wait.execution_id)
    name = await services.agents.known.name_of(execution)
    return waiting(wait, execution, name, await _tool(call, services, execution, wait.name))


async def _tool(call: Call, services: Services, execution: Execution, name: str) -> ToolSpec | None:
    """Return the tool as the execution's version of the agent has it; None if that has none."""
    try:
        agent = await services.agents.version(
            call.principal.workspace_id, execution.agent_id, execution.agent_version
        )
    except AgentNotFound:
        return None
    return agent.spec.tool(name)


def _schema(tool: ToolSpec | None) -> dict[str, Any] | None:
    return None if tool is None else tool.parameters


async def _shown(
    call: Call,
    services: Services,
    found: Waiting,
    *,
    form: dict[str, str] | None = None,
    edited: dict[str, Any] | None = None,
    problem: NotArguments | None = None,
    late: str = "",
    status: int = 200,
) -> Response:
    wait, sent = found.wait, form or {}
    fields = arguments.fields_of(_schema(found.tool), wait.parameters)
    read = await newest_of(call, services, found.execution)
    last = [step for step in read.ordered if not step.superseded][-_LAST_STEPS:]
    named = problem is not None and problem.name in {field.name for field in fields}
    return page(
        call,
        "approval.html",
        status,
        found=found,
        is_unknown=wait.kind is WaitKind.UNKNOWN_OUTCOME,
        fields=arguments.filled(fields, sent, problem),
        raw=sent.get(arguments.RAW),
        prefix=arguments.PREFIX,
        changes=[] if edited is None else arguments.difference(wait.parameters, edited),
        reviewed=edited is not None,
        decided=arguments.difference(wait.parameters, wait.arguments),
        reason=sent.get("reason", ""),
        result=sent.get("result", ""),
        problem="" if problem is None or named else problem.message,
        late=late,
        code=commands(
            call, ["approve", "deny"], execution=wait.execution_id, tool_call=wait.tool_call_id
        ),
        steps=last,
        now=services.clock.now(),
        done=call.query_params.get("done", ""),
        of=_of(call),
        may_decide=Scope.APPROVALS_WRITE in call.principal.scopes,
    )


_AT: Final = "/approvals/{executionId}/{toolCallId}"
PAGES: Final = (
    page_at("/approvals", approvals, "Approvals", scope=_READ),
    page_at("/news/approvals", count, "ApprovalsCount", scope=_READ),
    page_at(_AT, approval, "Approval", scope=_READ),
    page_at(_AT, decide, "Decide", scope=Scope.APPROVALS_WRITE, method="POST"),
)
