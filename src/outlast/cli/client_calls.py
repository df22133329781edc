"""`outlast executions answer`: the result of a call that a client runs, or input, by hand."""

from typing import TYPE_CHECKING, Annotated, Any

from typer import Argument, Option, echo

from outlast.cli.options import AsJson, ExecutionId
from outlast.cli.output import write_json
from outlast.cli.through import Server, through_server
from outlast.model.client_call import ClientCallNotFound
from outlast.model.error import InvalidRequest

if TYPE_CHECKING:
    from outlast.client import Client


@through_server()
def answer_call(
    server: Server,
    execution_id: ExecutionId,
    tool_call_id: Annotated[
        str | None,
        Argument(
            help="The tool call's id: tc_…; needed if more than one waits.", metavar="[TOOL_CALL]"
        ),
    ] = None,
    *,
    result: Annotated[str | None, Option(help="Its result, as JSON.")] = None,
    error: Annotated[str | None, Option(help="Why there is none; the model reads it.")] = None,
    accept: Annotated[
        str | None, Option(help="The input that the call waits for, as JSON.", metavar="JSON")
    ] = None,
    decline: Annotated[bool, Option("--decline", help="Refuse to give that input.")] = False,
    cancel: Annotated[bool, Option("--cancel", help="Dismiss the request for it.")] = False,
    json: AsJson = False,
) -> None:
    """Give the result of a call that a client runs, or input."""
    given = _given(result, error, accept, decline=decline, cancel=cancel)

    async def answered(client: "Client") -> Any:
        chosen = tool_call_id or await _only(client, execution_id)
        return await client.answer(execution_id, chosen, **given)

    answer = server.request(answered)
    if json:
        write_json(answer)
    else:
        word = "an error" if answer["isError"] else "a result" if result else "an answer"
        echo(f"{answer['name']} ({answer['toolCallId']}) has {word}.")


def _given(
    result: str | None, error: str | None, accept: str | None, *, decline: bool, cancel: bool
) -> dict[str, Any]:
    given = [result is not None, error is not None, accept is not None, decline, cancel]
    if sum(given) != 1:
        raise InvalidRequest("Give one of --result, --error, --accept, --decline and --cancel.")
    if error is not None:
        return {"error": error}
    if result is not None:
        return {"result": _json("--result", result)}
    if accept is not None:
        return {"result": {"action": "accept", "content": _json("--accept", accept)}}
    return {"result": {"action": "decline" if decline else "cancel"}}


def _json(option: str, text: str) -> Any:
    import orjson

    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as problem:
        raise InvalidRequest(f"{option} is not JSON: {problem}.") from problem


async def _only(client: "Client", execution_id: str) -> str:
    """Return the only call that waits for a client. Raises ClientCallNotFound, InvalidRequest."""
    execution = dict[str, Any](await client.get(execution_id))
    kinds = ("pendingClientCalls", "pendingInputs")
    waiting = [call for kind in kinds for call in execution.get(kind) or ()]
    if len(waiting) == 1:
        return str(waiting[0]["toolCallId"])
    if not waiting:
        raise ClientCallNotFound(f"{execution_id} waits for no client.")
    calls = ", ".join(f"{found['toolCallId']} ({found['name']})" for found in waiting)
    raise InvalidRequest(f"{execution_id} waits for several calls; name one: {calls}.")
