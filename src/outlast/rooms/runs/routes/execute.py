"""`POST /run/api/executions`: start a run and stream it, or decide its approvals and stream on."""

from starlette.responses import Response

from outlast.http.call import Call
from outlast.http.client_tools import client_tools_of
from outlast.http.replays import mark_replayed
from outlast.model.error import (
    Conflict,
    ConversationNotFound,
    ExecutionNotFound,
    InvalidId,
    MissingField,
)
from outlast.model.execution import Execution
from outlast.model.ids import CONVERSATION, EXECUTION, parse
from outlast.rooms.runs.routes.messages import RunInput, read
from outlast.rooms.runs.schemas import RunBody, RunQuery
from outlast.rooms.runs.stream import responses
from outlast.rooms.runs.stream.formats import Format
from outlast.services.all import Services
from outlast.services.approvals import Decision
from outlast.services.executions import Cut, StartExecution

_REGENERATE = "regenerate-message"


async def execute(call: Call, services: Services) -> Response:
    """Run the key's agent on the last user message, and stream what happens.

    The run is stored before the headers are sent, and continues when the client disconnects. The
    agent is the key's default, else the workspace's only one.
    Messages of the AI SDK that hold answers to approvals (`approval-responded`), or results of
    calls that the client has run, start nothing: the answer streams the rest of that run. Nor do
    last messages of the role `tool`, as OpenAI's clients send results: their run is the one of
    `conversationId` that waits, or the chat's.
    """
    body = await call.body_as(RunBody)
    query = call.query_as(RunQuery)
    run_input = read(body.messages, body.message_id)
    if run_input.answered or (run_input.results and body.trigger != _REGENERATE):
        return await _decide(call, services, body, run_input, query.format)
    chosen = query.format or (Format.UI if run_input.in_parts else Format.OPENAI)
    request = await _request(call, services, body, run_input, chosen)
    started, log = await services.executions.stream(call.principal, None, request)
    end = _end(body, chosen)
    response = responses.live(call, services, started.execution.id, chosen, log, end=end)
    return mark_replayed(response) if started.replayed else response


def _end(body: RunBody, format: Format) -> responses.End | None:
    """Return where the response ends before the run does: its client acts only then.

    The AI SDK's chat decides and runs calls after the response. A client that reads completions
    and has tools of its own runs them then, but its approvals are decided elsewhere.
    """
    if body.trigger is not None:
        return responses.End()
    if body.client_tools and format is Format.OPENAI:
        return responses.End(persons=False)
    return None


async def _request(
    call: Call, services: Services, body: RunBody, run_input: RunInput, format: Format
) -> StartExecution:
    conversation_id = None
    if body.conversation_id is not None:
        conversation_id = _conversation(body.conversation_id)
    elif body.id is not None:
        conversation_id = await _conversation_of(call, services, body.id)
    return StartExecution(
        run_input.input,
        conversation_id,
        idempotency=await call.idempotency(),
        chat_id=body.id,
        format=format.value,
        instructions=run_input.instructions,
        forwarded_headers=body.forwarded_headers or {},
        user=body.user,
        metadata=body.metadata or {},
        message_id=run_input.sent_id,
        cut=_cut(body, run_input),
        client_tools=client_tools_of(body.client_tools),
    )


def _cut(body: RunBody, run_input: RunInput) -> Cut | None:
    """Return what the AI SDK's chat has cut from its messages; other clients cut nothing.

    A cut is explicit: `regenerate-message`, or the id of an edited user message. It begins with the
    turn of this message or its answer. A list that is only shorter than the conversation cuts
    nothing: the client may show part of it, or not know of messages sent by another page.
    """
    if body.trigger is None:
        return None
    again = body.trigger == _REGENERATE
    edited = run_input.sent_id is not None and body.message_id == run_input.sent_id
    return Cut(
        explicit=again or edited,
        execution_id=_run_of(body.message_id),
        behind=_run_of(run_input.answer_before),
        same_input=again,
    )


def _run_of(message_id: str | None) -> str | None:
    """Return the run that an assistant message has its id from."""
    try:
        return None if message_id is None else parse(EXECUTION, message_id)
    except InvalidId:
        return None


def _conversation(text: str) -> str:
    """Read the id. Raises ConversationNotFound for a malformed one."""
    try:
        return parse(CONVERSATION, text)
    except InvalidId as error:
        raise ConversationNotFound(param="conversationId") from error


async def _conversation_of(call: Call, services: Services, chat_id: str) -> str | None:
    """Return the conversation: a chat continues that of its newest run."""
    newest = await services.executions.newest_of_chat(call.principal, chat_id)
    return None if newest is None or newest.is_purged else newest.conversation_id


async def _decide(
    call: Call, services: Services, body: RunBody, run_input: RunInput, format: Format | None
) -> Response:
    execution_id, kept = await _run_to_decide(call, services, body, run_input)
    for answer in run_input.answered:
        decision = Decision(answer.approved, answer.reason)
        await services.approvals.decide(call.principal, execution_id, answer.tool_call_id, decision)
    decided = [answer.tool_call_id for answer in run_input.answered]
    decided += await _give_results(call, services, execution_id, run_input)
    if not decided:
        raise Conflict("No call of this run waits for a result of the client.")
    chosen = format or kept
    return await responses.behind_decision(call, services, execution_id, chosen, decided)


async def _give_results(
    call: Call, services: Services, execution_id: str, run_input: RunInput
) -> list[str]:
    """Give the results of the calls that the client has run; return their ids."""
    given = {result.tool_call_id: result.given for result in run_input.results}
    found = await services.client_calls.known(call.principal, execution_id, given)
    for call_id in found:
        await services.client_calls.answer(call.principal, execution_id, call_id, given[call_id])
    return found


async def _run_to_decide(
    call: Call, services: Services, body: RunBody, run_input: RunInput
) -> tuple[str, Format]:
    """Return id and format of the run of the decisions, and not its row, which may be large.

    A message has its run's id, a conversation the run that waits, and a chat its newest run.
    """
    if run_input.message_id is not None:
        try:
            run = parse(EXECUTION, run_input.message_id)
            view = await services.executions.get(call.principal, run)
            return view.execution.id, kept_format(view.execution)
        except (InvalidId, ExecutionNotFound):
            pass
    if body.conversation_id is not None:
        named = _conversation(body.conversation_id)
        found = await services.lists.last_of_conversation(call.principal, named)
        if found is None:
            raise ExecutionNotFound("This conversation has no run.")
        return found.id, kept_format(found)
    if body.id is None:
        raise MissingField("Name the chat whose run waits for this decision.", param="id")
    newest = await services.executions.newest_of_chat(call.principal, body.id)
    if newest is None:
        raise ExecutionNotFound("This chat has no run.")
    return newest.id, kept_format(newest)


def kept_format(execution: Execution) -> Format:
    """Return the format that a run was started with; other rooms' runs have the default."""
    kept = execution.origin.format
    return Format.OPENAI if kept is None else Format(kept)
