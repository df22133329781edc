"""The images that an execution's tool calls have brought."""

from typing import Any, Final, get_args

from starlette.responses import Response

from outlast.http.call import Call
from outlast.http.endpoint import Answer, Endpoint
from outlast.http.image import MediaType, image_response
from outlast.model.error import ExecutionNotFound
from outlast.model.ids import EXECUTION
from outlast.model.image import ImageNotFound
from outlast.model.workspace import Scope
from outlast.rooms.executions.routes.executions import EXECUTION_PATH
from outlast.services.all import Services

_CONTENT: Final[dict[str, Any]] = {name: {} for name in get_args(MediaType)}


async def get_image(call: Call, services: Services) -> Response:
    """The bytes of an image that a tool call of this execution has brought.

    A child's images are found at the child.
    """
    execution_id = call.path_id("executionId", EXECUTION, ExecutionNotFound)
    image_id = call.path_text("imageId", ImageNotFound)
    return image_response(await services.images.get(call.principal, execution_id, image_id))


ENDPOINTS: Final = (
    Endpoint(
        "GET",
        "/v1/executions/{executionId}/images/{imageId}",
        get_image,
        scope=Scope.EXECUTIONS_READ,
        name="getImage",
        summary="Get an image of a tool call",
        tag="executions",
        parameters={**EXECUTION_PATH, "imageId": "The image's id, as its tool call names it."},
        answers={200: Answer("The image.", content=_CONTENT)},
        errors=(404,),
    ),
)
