"""A call that waits for a person's input or for its client, and the answer to it."""

from typing import Any, Final

from starlette.responses import RedirectResponse, Response

from outlast.http.call import Call
from outlast.model.client_call import ClientCallNotFound
from outlast.model.error import Conflict, ExecutionNotFound, InvalidField
from outlast.model.ids import EXECUTION
from outlast.model.wait import CallResult, Wait
from outlast.model.workspace import Scope
from outlast.rooms.console.render.approvals import Waiting, waiting
from outlast.rooms.console.render.arguments import value_of
from outlast.rooms.console.render.commands import commands
from outlast.rooms.console.render.frame import ROOT
from outlast.rooms.console.render.inputs import (
    NotAnswers,
    Question,
    answers_of,
    questions_of,
    refused,
)
from outlast.rooms.console.render.page import page
from outlast.rooms.console.routes.endpoints import page_at
from outlast.rooms.console.routes.forms import Form, form_of
from outlast.rooms.console.routes.transcripts import newest_of
from outlast.services.all import Services

_LAST_STEPS: Final = 3
_READ: Final = Scope.EXECUTIONS_READ
_EXECUTE: Final = Scope.AGENTS_EXECUTE


async def call_page(call: Call, services: Services) -> Response:
    """One call that waits, or has waited, with a form for what it needs."""
    return await _shown(call, services, await _found(call, services))


async def answer(call: Call, services: Services) -> Response:
    """Gives the input or the result; the first answer stands, and a later one is shown it."""
    form = await form_of(call)
    found = await _found(call, services)
    given, wait = dict(form.fields), found.wait
    where = (call.principal, wait.execution_id, wait.tool_call_id)
    try:
        await services.client_calls.answer(*where, _given(wait, form, given))
    except NotAnswers as error:
        return await _shown(call, services, found, given, error, status=422)
    except Conflict as error:
        again = await _found(call, services)
        return await _shown(call, services, again, late=error.message, status=409)
    except InvalidField as error:
        problem = NotAnswers("", "", error.message)
        if wait.request is not None:
            problem = refused(wait.request, error.param, error.message)
        return await _shown(call, services, found, given, problem, status=422)
    there = f"{ROOT}/approvals?done=answered&of={wait.execution_id}"
    return RedirectResponse(call.link(there), 303)


def _given(wait: Wait, form: Form, given: dict[str, str]) -> CallResult:
    """Return what a form answers. Raises NotAnswers."""
    if wait.request is not None:
        return CallResult(answers_of(wait.request, given))
    if form.get("do") == "error":
        said = form.get("error").strip()
        if not said:
            raise NotAnswers("", "", "Write why there is no result: the model reads it.")
        return CallResult(said, is_error=True)
    return CallResult(value_of(form.get("result")))


async def _found(call: Call, services: Services) -> Waiting:
    """Return the call. Raises ClientCallNotFound, ExecutionNotFound."""
    execution_id = call.path_id("executionId", EXECUTION, ExecutionNotFound)
    wanted = call.path_text("toolCallId", ClientCallNotFound)
    view = await services.lists.row(call.principal, execution_id)
    wait = await services.approvals.one(call.principal, execution_id, wanted)
    if wait is None or not wait.is_client:
        raise ClientCallNotFound
    return waiting(wait, view.execution, view.agent, None)


async def _shown(
    call: Call,
    services: Services,
    found: Waiting,
    form: dict[str, str] | None = None,
    problem: NotAnswers | None = None,
    *,
    late: str = "",
    status: int = 200,
) -> Response:
    wait, sent = found.wait, form or {}
    read = await newest_of(call, services, found.execution)
    may = _EXECUTE in call.principal.scopes
    questions = [] if wait.request is None else questions_of(wait.request, sent, problem)
    ids: dict[str, Any] = {"execution": wait.execution_id, "tool_call": wait.tool_call_id}
    name = "answer" if wait.request is None else "give_input"
    return page(
        call,
        "call.html",
        status,
        found=found,
        questions=questions,
        result=sent.get("result", ""),
        error=sent.get("error", ""),
        problem="" if problem is None or _is_beside(problem, questions) else problem.message,
        late=late,
        steps=[step for step in read.ordered if not step.superseded][-_LAST_STEPS:],
        code=commands(call, [name] if found.is_open and may else [], **ids),
        now=services.clock.now(),
        may_answer=may,
    )


def _is_beside(problem: NotAnswers, questions: list[Question]) -> bool:
    """Whether what is wrong stands beside its field."""
    return any(field.problem for one in questions for field in one.fields if problem.field)


_AT: Final = "/calls/{executionId}/{toolCallId}"
PAGES: Final = (
    page_at(_AT, call_page, "Call", scope=_READ),
    page_at(_AT, answer, "Answer", scope=_EXECUTE, method="POST"),
)
