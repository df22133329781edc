"""Approvals: list open ones, decide one."""

from typing import Final

from starlette.responses import Response

from outlast.http.call import Call
from outlast.http.endpoint import Answer, Endpoint
from outlast.http.parameters import filter_value
from outlast.http.spool import json_response
from outlast.model.error import ApprovalNotFound, ExecutionNotFound, InvalidCursor
from outlast.model.ids import EXECUTION, TOOL_CALL, parse
from outlast.model.workspace import Scope
from outlast.rooms.executions import answers, render, schemas
from outlast.rooms.executions.routes.executions import EXECUTION_PATH
from outlast.services.all import Services
from outlast.services.approvals import NOT_GIVEN, Decision, PendingPage

_CALL = {"toolCallId": "The tool call's id."}


async def list_approvals(call: Call, services: Services) -> Response:
    """The workspace's tool calls that wait for a person, the newest executions first."""
    query = call.query_as(schemas.ApprovalsQuery)
    page = PendingPage(query.limit, None if query.after is None else _cursor(query.after))
    found, more = await services.approvals.pending(call.principal, page)
    return json_response(render.approvals(found, more=more))


def _cursor(text: str) -> tuple[str, str]:
    """Read `exec_….tc_…`, the form of `nextCursor`. Raises InvalidFilter."""
    with filter_value("after"):
        execution, dot, tool_call = text.partition(".")
        if not dot:
            raise InvalidCursor(param="after")
        return parse(EXECUTION, execution), parse(TOOL_CALL, tool_call)


async def decide_approval(call: Call, services: Services) -> Response:
    """Decides a tool call; the first decision wins, and the same one again gets the same answer.

    `parameters` edits the arguments, which are checked again. An unknown outcome: `result` says
    that it ran, and what it gave; without one `approved: true` runs it again, `false` gives it up.
    """
    execution_id = call.path_id("executionId", EXECUTION, ExecutionNotFound)
    tool_call_id = call.path_id("toolCallId", TOOL_CALL, ApprovalNotFound)
    body = await call.body_as(schemas.DecisionBody)
    has_result = "result" in body.model_fields_set
    decision = Decision(
        body.approved, body.reason, body.parameters, body.result if has_result else NOT_GIVEN
    )
    decided = await services.approvals.decide(call.principal, execution_id, tool_call_id, decision)
    return json_response(render.approval(decided))


ENDPOINTS: Final = (
    Endpoint(
        "GET",
        "/v1/approvals",
        list_approvals,
        scope=Scope.EXECUTIONS_READ,
        name="listApprovals",
        summary="List the approvals that wait",
        tag="approvals",
        query=schemas.ApprovalsQuery,
        answers={200: Answer("Newest executions first.", answers.ApprovalPage)},
        errors=(400,),
    ),
    Endpoint(
        "POST",
        "/v1/executions/{executionId}/approvals/{toolCallId}",
        decide_approval,
        scope=Scope.APPROVALS_WRITE,
        name="decideApproval",
        summary="Decide an approval",
        tag="approvals",
        parameters=EXECUTION_PATH | _CALL,
        body=schemas.DecisionBody,
        answers={200: Answer("As it is decided.", answers.Approval)},
        errors=(400, 404, 409, 413, 422),
    ),
)
