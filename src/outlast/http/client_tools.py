"""Tools that a client runs, in the bodies of several rooms: declared, and their results."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from outlast.model.client_call import DEFAULT_SECONDS, MAX_SECONDS, ClientTool
from outlast.model.error import InvalidField
from outlast.model.wait import CallResult


class ClientToolBody(BaseModel):
    """A tool that the client runs: the execution waits for the result of each call."""

    model_config = ConfigDict(alias_generator=to_camel, frozen=True, strict=True, defer_build=True)

    name: Annotated[str, Field(description="1 to 64 letters, digits, _ and -.")]
    description: Annotated[str | None, Field(description="The model reads it.")] = None
    parameters: Annotated[
        dict[str, Any] | None,
        Field(description="JSON Schema of the arguments, an object; without it there are none."),
    ] = None
    timeout: Annotated[
        Annotated[float, Field(gt=0, le=MAX_SECONDS)] | None,
        Field(description="Seconds that a call waits for its result; default: a day."),
    ] = None

    @property
    def tool(self) -> ClientTool:
        """The tool."""
        none: dict[str, Any] = {"type": "object", "properties": {}}
        return ClientTool(
            self.name,
            self.description or "",
            none if self.parameters is None else self.parameters,
            DEFAULT_SECONDS if self.timeout is None else self.timeout,
        )


ClientTools = Annotated[
    list[ClientToolBody],
    Field(
        description="Tools besides the agent's own, which the client runs.",
        examples=[
            [
                {
                    "name": "get_location",
                    "description": "Where the user is",
                    "parameters": {"type": "object", "properties": {}},
                }
            ]
        ],
    ),
]
"""At most 64 tools, 64 KiB as JSON."""


def client_tools_of(given: list[ClientToolBody] | None) -> tuple[ClientTool, ...]:
    """Return the tools of a body."""
    return tuple(one.tool for one in given) if given else ()


class AnswerBody(BaseModel):
    """The result of a call that the client has run, or why there is none."""

    model_config = ConfigDict(
        frozen=True,
        strict=True,
        defer_build=True,
        json_schema_extra={"examples": [{"result": {"lat": 52.5}}]},
    )

    result: Annotated[Any, Field(description="Any JSON, at most 256 KiB.")] = None
    error: Annotated[
        str | None, Field(min_length=1, description="The model reads it, in place of a result.")
    ] = None

    @property
    def given(self) -> CallResult:
        """The result. Raises InvalidField unless it is one of both."""
        if ("result" in self.model_fields_set) == (self.error is not None):
            raise InvalidField("Give either result or error.", param="result")
        if self.error is not None:
            return CallResult(self.error, is_error=True)
        return CallResult(self.result)
