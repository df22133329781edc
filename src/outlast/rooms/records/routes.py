"""The routes of the records room: parse, call, render."""

from contextlib import suppress
from typing import Final

from starlette.responses import Response

from outlast.http.call import Call
from outlast.http.endpoint import Answer, Endpoint
from outlast.http.spool import PIECE, Spool, json_response, whole_response, written_response
from outlast.model.error import InvalidFilter, InvalidId, MissingField
from outlast.model.record import ExecutionRecord, Outline, RecordId
from outlast.model.workspace import Scope
from outlast.rooms.records import render, schemas
from outlast.services.all import Services
from outlast.services.records import Closed, TreeMoved

_ROOT: Final = "/api/v1/executions"
LARGE_TREE: Final = 1024 * 1024
"""Characters of a tree from which on it is written in pages."""


async def list_records(call: Call, services: Services) -> Response:
    """The workspace's executions, roots and sub-agents alike, a page by its number."""
    query = call.query_as(schemas.PageQuery, lists=("responderIds",))
    found = await services.records.page(
        call.principal, query.responder_ids, query.page_number, query.page_size
    )
    return json_response([render.record(one) for one in found])


async def get_nested_record(call: Call, services: Services) -> Response:
    """The record with its steps and the executions it made, down to the last."""
    query = call.query_as(schemas.NestingsQuery)
    wanted, message = query.execution_id, query.chat_message_id
    if wanted is not None and message is not None:
        raise InvalidFilter("executionId and chatMessageId cannot be given together.")

    if wanted is None and message is None:
        raise MissingField("One of executionId and chatMessageId is required.")
    by = services.records.nested if message is None else services.records.around_message
    of = wanted if wanted is not None else message
    assert of is not None
    found = await services.records.get(call.principal, of)
    if isinstance(found, ExecutionRecord) or message is not None:
        outline = await services.records.outline(call.principal, found.execution.id)
        if outline.size > LARGE_TREE:
            with suppress(TreeMoved, OSError):
                return await _written(call, services, outline)

    async def read() -> schemas.NestedRecord:
        return render.nested(await by(call.principal, of))

    return await whole_response(call.spools, read)


async def _written(call: Call, services: Services, outline: Outline) -> Response:
    """Return a large tree, of which a page is in memory at a time. Raises TreeMoved, OSError."""

    async def write(spool: Spool) -> None:
        writer, ready = render.NestedWriter(), 0
        async for one in services.records.walk(call.principal, outline):
            ready += writer.add(None if isinstance(one, Closed) else one)
            if ready > PIECE:
                await spool.write(writer.taken())
                ready = 0
        await spool.write(writer.taken())

    return await written_response(call.spools, write)


async def get_record(call: Call, services: Services) -> Response:
    """An execution or one of its steps, as far as it has come."""
    wanted = _wanted(call)

    async def read() -> schemas.Record:
        return render.record(await services.records.get(call.principal, wanted))

    return await whole_response(call.spools, read)


def _wanted(call: Call) -> RecordId:
    try:
        return RecordId.parse(call.path_params["executionId"])
    except InvalidId as error:
        complaint = schemas.UNREADABLE.format(form="exec_… or step_…")
        raise InvalidFilter(f"executionId: {complaint}", param="executionId") from error


ENDPOINTS: Final = (
    Endpoint(
        "GET",
        _ROOT,
        list_records,
        scope=Scope.EXECUTIONS_READ,
        name="listRecords",
        summary="List execution records",
        tag="records",
        query=schemas.PageQuery,
        answers={200: Answer("Newest first.", list[schemas.Record])},
        errors=(400,),
    ),
    Endpoint(
        "GET",
        f"{_ROOT}/nestings",
        get_nested_record,
        scope=Scope.EXECUTIONS_READ,
        name="getNestedRecord",
        summary="Get a record with all that is under it",
        tag="records",
        query=schemas.NestingsQuery,
        answers={200: Answer("The record.", schemas.NestedRecord)},
        errors=(400, 404),
    ),
    Endpoint(
        "GET",
        f"{_ROOT}/{{executionId}}",
        get_record,
        scope=Scope.EXECUTIONS_READ,
        name="getRecord",
        summary="Get a record",
        tag="records",
        parameters={"executionId": "The execution's or the step's id, in any spelling."},
        answers={200: Answer("The record.", schemas.Record)},
        errors=(400, 404),
    ),
)
