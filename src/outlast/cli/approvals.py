"""`outlast approvals | approve | deny`: through the server."""

from typing import TYPE_CHECKING, Annotated, Any

from typer import Argument, Option, echo

from outlast.cli.completion import execution_ids
from outlast.cli.options import AsJson
from outlast.cli.output import note, shorten, write_json, write_table
from outlast.cli.through import Server, through_server
from outlast.model.error import ApprovalNotFound, InvalidRequest

if TYPE_CHECKING:
    from outlast.client import Client

Execution = Annotated[
    str,
    Argument(help="The execution's id: exec_…", metavar="EXECUTION", autocompletion=execution_ids),
]
ToolCall = Annotated[
    str | None,
    Argument(
        help="The tool call's id: tc_…; needed if more than one waits.", metavar="[TOOL_CALL]"
    ),
]


@through_server()
def approvals(
    server: Server,
    *,
    limit: Annotated[int, Option(min=1, max=100, help="Maximum number of rows.")] = 20,
    after: Annotated[str | None, Option(help="Cursor of the previous page's end.")] = None,
    json: AsJson = False,
) -> None:
    """List the tool calls that wait for a person."""
    page = server.request(lambda c: c.approvals(limit=limit, after=after))
    if json:
        write_json(page)
        return
    write_table(
        ["execution", "tool call", "tool", "why", "arguments"],
        [
            (
                row["executionId"],
                row["toolCallId"],
                row["name"],
                row["kind"],
                shorten(_text(row["effectiveParameters"])),
            )
            for row in page["data"]
        ],
    )
    if page["hasMore"]:
        note(f"There are more: --after {page['nextCursor']}")


@through_server()
def approve(
    server: Server,
    execution_id: Execution,
    tool_call_id: ToolCall = None,
    *,
    reason: Annotated[str | None, Option(help="Kept in the log.")] = None,
    parameters: Annotated[str | None, Option(help="Edited arguments, as JSON.")] = None,
    result: Annotated[
        str | None, Option(help="For an unknown outcome: it ran with this result, as JSON.")
    ] = None,
    json: AsJson = False,
) -> None:
    """Let a tool call run. For an unknown outcome, run it again or give its result."""
    decision: dict[str, Any] = {} if reason is None else {"reason": reason}
    if parameters is not None:
        decision["parameters"] = _json("--parameters", parameters)
    if result is not None:
        decision["result"] = _json("--result", result)
    _decide(server, (execution_id, tool_call_id), {"approved": True, **decision}, json=json)


@through_server()
def deny(
    server: Server,
    execution_id: Execution,
    tool_call_id: ToolCall = None,
    *,
    reason: Annotated[str | None, Option(help="Shown to the model.")] = None,
    json: AsJson = False,
) -> None:
    """Deny a tool call; for an unknown outcome, give it up."""
    decision: dict[str, Any] = {} if reason is None else {"reason": reason}
    _decide(server, (execution_id, tool_call_id), {"approved": False, **decision}, json=json)


def _decide(
    server: Server,
    which: tuple[str, str | None],
    decision: dict[str, Any],
    *,
    json: bool,
) -> None:
    execution_id, named = which

    async def decided(client: "Client") -> Any:
        tool_call_id = named or await _only(client, execution_id)
        return await client.decide(execution_id, tool_call_id, **decision)

    answer = server.request(decided)
    if json:
        write_json(answer)
    else:
        word = "approved" if answer["approved"] else "denied"
        echo(f"{answer['name']} ({answer['toolCallId']}) is {word}.")


async def _only(client: "Client", execution_id: str) -> str:
    """Return the only call that waits. Raises ApprovalNotFound, InvalidRequest if several wait."""
    waiting = (await client.get(execution_id))["pendingApprovals"]
    if len(waiting) == 1:
        return str(waiting[0]["toolCallId"])
    if not waiting:
        raise ApprovalNotFound(f"{execution_id} waits for no approval. See: outlast approvals")
    calls = ", ".join(f"{found['toolCallId']} ({found['name']})" for found in waiting)
    raise InvalidRequest(f"{execution_id} waits for several approvals; name one: {calls}.")


def _json(option: str, text: str) -> Any:
    import orjson

    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise InvalidRequest(f"{option} is not JSON: {error}.") from error


def _text(value: Any) -> str:
    import orjson

    return orjson.dumps(value).decode()
