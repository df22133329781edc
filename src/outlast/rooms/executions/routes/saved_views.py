"""Saved views of the list of executions: list, save, remove; with their models."""

from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response
from typing_extensions import TypedDict

from outlast.http.call import Call
from outlast.http.endpoint import Answer, Endpoint
from outlast.http.spool import json_response
from outlast.model.clock import iso
from outlast.model.error import NotFound
from outlast.model.saved_view import LONGEST_FILTER, SavedView
from outlast.model.workspace import Scope
from outlast.services.all import Services

_NAME: Final = {"name": "The view's name, 1 to 64 characters."}


class ViewBody(BaseModel):
    """The filter of a view."""

    model_config = ConfigDict(
        strict=True,
        frozen=True,
        json_schema_extra={"examples": [{"filter": "agent:support status:failed since:24h"}]},
    )

    filter: Annotated[
        str,
        Field(
            min_length=1,
            max_length=LONGEST_FILTER,
            description="As the console's filter field takes it.",
        ),
    ]


class ViewObject(TypedDict):
    """A saved view."""

    name: str
    filter: str
    updatedAt: str


class ViewList(TypedDict):
    """All saved views of the workspace, by name."""

    data: list[ViewObject]


async def list_views(call: Call, services: Services) -> Response:
    """The workspace's saved views by name: filters of the console's list of executions."""
    found = await services.saved_views.all(call.principal)
    answer: ViewList = {"data": [_view(one) for one in found]}
    return json_response(answer)


async def put_view(call: Call, services: Services) -> Response:
    """Save a view, replacing the one of its name: at most 100 in a workspace."""
    body = await call.body_as(ViewBody)
    name = call.path_text("name", NotFound)
    return json_response(_view(await services.saved_views.put(call.principal, name, body.filter)))


async def remove_view(call: Call, services: Services) -> Response:
    """Remove a view. A second time changes nothing."""
    await services.saved_views.remove(call.principal, call.path_text("name", NotFound))
    return Response(status_code=204)


def _view(found: SavedView) -> ViewObject:
    return {"name": found.name, "filter": found.filter, "updatedAt": iso(found.updated_at)}


ENDPOINTS: Final = (
    Endpoint(
        "GET",
        "/v1/views",
        list_views,
        scope=Scope.EXECUTIONS_READ,
        name="listViews",
        summary="List saved views",
        tag="views",
        answers={200: Answer("By name.", ViewList)},
    ),
    Endpoint(
        "PUT",
        "/v1/views/{name}",
        put_view,
        scope=Scope.AGENTS_EXECUTE,
        name="putView",
        summary="Save a view",
        tag="views",
        parameters=_NAME,
        rest="name",
        body=ViewBody,
        answers={200: Answer("The view.", ViewObject)},
        errors=(400, 404, 409, 422),
    ),
    Endpoint(
        "DELETE",
        "/v1/views/{name}",
        remove_view,
        scope=Scope.AGENTS_EXECUTE,
        name="removeView",
        summary="Remove a view",
        tag="views",
        parameters=_NAME,
        rest="name",
        answers={204: Answer("There is none.")},
        errors=(404,),
    ),
)
