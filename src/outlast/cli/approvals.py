"""`outlast approvals | approve | deny`: through the server."""

from typing import TYPE_CHECKING, Annotated, Any

from typer import Argument, Option, echo

from outlast.cli.lifecycle import through
from outlast.cli.options import ApiKey, AsJson, DataDir, Host, Port, Url, settings
from outlast.cli.output import note, shorten, write_json, write_table
from outlast.model.error import ApprovalNotFound, InvalidRequest
from outlast.settings import Settings

if TYPE_CHECKING:
    from outlast.client import Client

Execution = Annotated[str, Argument(help="The execution's id: exec_…", metavar="EXECUTION")]
ToolCall = Annotated[
    str | None,
    Argument(
        help="The tool call's id: tc_…; needed if more than one waits.", metavar="[TOOL_CALL]"
    ),
]


def approvals(
    *,
    limit: Annotated[int, Option(min=1, max=100, help="Maximum number of rows.")] = 20,
    after: Annotated[str | None, Option(help="Cursor of the previous page's end.")] = None,
    url: Url = None,
    host: Host = None,
    port: Port = None,
    api_key: ApiKey = None,
    data_dir: DataDir = None,
    json: AsJson = False,
) -> None:
    """List the tool calls that wait for a person."""
    chosen = settings(host=host, port=port, api_key=api_key, data_dir=data_dir)
    page = through(chosen, url, lambda c: c.approvals(limit=limit, after=after))
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


def approve(
    execution_id: Execution,
    tool_call_id: ToolCall = None,
    *,
    reason: Annotated[str | None, Option(help="Kept in the log.")] = None,
    parameters: Annotated[str | None, Option(help="Edited arguments, as JSON.")] = None,
    result: Annotated[
        str | None, Option(help="For an unknown outcome: it ran with this result, as JSON.")
    ] = None,
    url: Url = None,
    host: Host = None,
    port: Port = None,
    api_key: ApiKey = None,
    data_dir: DataDir = None,
    json: AsJson = False,
) -> None:
    """Let a tool call run. For an unknown outcome, run it again or give its result."""
    said: dict[str, Any] = {} if reason is None else {"reason": reason}
    if parameters is not None:
        said["parameters"] = _json("--parameters", parameters)
    if result is not None:
        said["result"] = _json("--result", result)
    chosen = settings(host=host, port=port, api_key=api_key, data_dir=data_dir)
    _decide(chosen, url, (execution_id, tool_call_id), {"approved": True, **said}, json=json)


def deny(
    execution_id: Execution,
    tool_call_id: ToolCall = None,
    *,
    reason: Annotated[str | None, Option(help="Shown to the model.")] = None,
    url: Url = None,
    host: Host = None,
    port: Port = None,
    api_key: ApiKey = None,
    data_dir: DataDir = None,
    json: AsJson = False,
) -> None:
    """Deny a tool call; for an unknown outcome, give it up."""
    said: dict[str, Any] = {} if reason is None else {"reason": reason}
    chosen = settings(host=host, port=port, api_key=api_key, data_dir=data_dir)
    _decide(chosen, url, (execution_id, tool_call_id), {"approved": False, **said}, json=json)


def _decide(
    chosen: Settings,
    url: str | None,
    which: tuple[str, str | None],
    said: dict[str, Any],
    *,
    json: bool,
) -> None:
    execution_id, named = which

    async def decided(client: "Client") -> dict[str, Any]:
        tool_call_id = named or await _only(client, execution_id)
        return await client.decide(execution_id, tool_call_id, **said)

    answer = through(chosen, url, decided)
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
