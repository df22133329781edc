"""The routes of the records room: parse, call, render."""

from typing import ClassVar, Final

from fastapi import APIRouter
from starlette.responses import Response

from outlast.http.document import operation
from outlast.http.errors import RenderError
from outlast.http.request import Call
from outlast.http.route import Route
from outlast.http.spool import json_response, whole_response
from outlast.model.error import InvalidFilter, InvalidId, MissingField
from outlast.model.record import RecordId
from outlast.rooms.records import render, schemas
from outlast.services.all import Services


class RecordsRoute(Route):
    """A route of this room."""

    room = "records"
    render_error: ClassVar[RenderError] = staticmethod(render.error)


router = APIRouter(route_class=RecordsRoute)

_ROOT: Final = "/api/v1/executions"


@router.get(
    _ROOT,
    tags=["records"],
    **operation(
        "listRecords",
        "List execution records",
        query=schemas.PageQuery,
        answers={200: {"model": list[schemas.Record], "description": "Newest first."}},
        errors=(400,),
        error=schemas.RecordError,
    ),
)
async def list_records(call: Call) -> Response:
    """The workspace's executions, roots and sub-agents alike, a page by its number."""
    services: Services = call.services
    query = call.query_as(schemas.PageQuery, lists=("responderIds",))
    found = await services.records.page(
        call.principal, query.responder_ids, query.page_number, query.page_size
    )
    return json_response([render.record(one) for one in found])


@router.get(
    f"{_ROOT}/nestings",
    tags=["records"],
    **operation(
        "getNestedRecord",
        "Get a record with all that is under it",
        query=schemas.NestingsQuery,
        answers={200: {"model": schemas.NestedRecord, "description": "The record."}},
        errors=(400, 404),
        error=schemas.RecordError,
    ),
)
async def get_nested_record(call: Call) -> Response:
    """The record with its steps and the executions it made, down to the last."""
    services: Services = call.services
    query = call.query_as(schemas.NestingsQuery)
    wanted, message = query.execution_id, query.chat_message_id
    if wanted is not None and message is not None:
        raise InvalidFilter("executionId and chatMessageId cannot be given together.")

    async def read() -> schemas.NestedRecord:
        if wanted is not None:
            return render.nested(await services.records.nested(call.principal, wanted))
        if message is not None:
            return render.nested(await services.records.around_message(call.principal, message))
        raise MissingField("One of executionId and chatMessageId is required.")

    return await whole_response(call.spools, read)


@router.get(
    f"{_ROOT}/{{executionId}}",
    tags=["records"],
    **operation(
        "getRecord",
        "Get a record",
        path={"executionId": "The execution's or the step's id, in any spelling."},
        answers={200: {"model": schemas.Record, "description": "The record."}},
        errors=(400, 404),
        error=schemas.RecordError,
    ),
)
async def get_record(call: Call) -> Response:
    """An execution or one of its steps, as far as it has come."""
    services: Services = call.services
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
