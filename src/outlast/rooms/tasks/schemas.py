"""Request and response models of the tasks room."""

from typing import Annotated, Any, Final, Literal, NotRequired

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field
from typing_extensions import TypedDict

from outlast.model import ids
from outlast.model.error import CheckpointNotFound, InvalidId

StatusWord = Literal["running", "paused", "completed", "failed", "terminated"]

_NAME: Final = 256
_TEXT: Final = 65_536
_LONGEST: Final = 10**9
"""Maximum seconds: thirty years, so that every resulting time is representable."""
_MOST: Final = 2**31
_BODY = ConfigDict(frozen=True, strict=True)

Name = Annotated[str, Field(max_length=_NAME)]
Prose = Annotated[str, Field(max_length=_TEXT)]
State = Annotated[dict[str, Any], Field(description="Any JSON object.")]
Seconds = Annotated[float, Field(gt=0, le=_LONGEST)]


# --- what it takes


class RetryBody(BaseModel):
    """What happens if an attempt fails."""

    model_config = _BODY

    max_attempts: Annotated[
        int | None, Field(ge=0, le=_MOST, description="In all, the first included; default 1.")
    ] = None
    backoff_seconds: Annotated[
        float | None, Field(ge=0, le=_LONGEST, description="Between two attempts; default 0.")
    ] = None
    on_failure: Annotated[
        Literal["fail", "pause"] | None,
        Field(description="In the end: when no attempt is left, or the time is over."),
    ] = None


class ConfigBody(BaseModel):
    """How a task is kept; other keys are kept as they are and mean nothing."""

    model_config = _BODY

    max_duration_seconds: Annotated[
        Seconds | None, Field(description="Active time; past it the task fails, or is paused.")
    ] = None
    checkpoint_interval_seconds: Annotated[
        Seconds | None, Field(description="How often a changed state is saved by itself.")
    ] = None
    retry: RetryBody | None = None


class CreateTaskBody(BaseModel):
    """A task. With `agent_id` and `input` this server runs it, else only your calls move it."""

    model_config = _BODY | ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "name": "Import customers",
                    "description": "All pages of the old shop",
                    "task_type": "data_processing",
                    "state": {"page": 0},
                    "config": {
                        "max_duration_seconds": 3600,
                        "checkpoint_interval_seconds": 60,
                        "retry": {"max_attempts": 3, "backoff_seconds": 5, "on_failure": "pause"},
                    },
                }
            ]
        }
    )

    name: Annotated[str, Field(min_length=1, max_length=_NAME)]
    description: Prose | None = None
    agent_id: Annotated[Name | None, Field(description="An agent's id or name.")] = None
    task_type: Name | None = None
    state: State | None = None
    config: ConfigBody | None = None
    input: Annotated[
        str | None, Field(min_length=1, description="What the agent is to do; it needs agent_id.")
    ] = None


class CheckpointBody(BaseModel):
    """What to save; no state: the current one."""

    model_config = _BODY

    label: Name | None = None
    state: State | None = None


class StateBody(BaseModel):
    """The new state; it takes the place of the old one."""

    model_config = _BODY

    state: State


class PauseTaskBody(BaseModel):
    """How a task is to pause."""

    model_config = _BODY

    reason: Annotated[Prose | None, Field(description="Kept in the log.")] = None
    now: Annotated[
        bool | None, Field(description="Server-driven: close the model request that runs.")
    ] = None


def _checkpoint_id(text: str | None) -> str | None:
    """An id that is none is a checkpoint that is not there."""
    try:
        return None if text is None else ids.parse(ids.CHECKPOINT, text)
    except InvalidId as error:
        raise CheckpointNotFound(param="checkpoint_id") from error


class ResumeTaskBody(BaseModel):
    """The checkpoint from which a task continues."""

    model_config = _BODY

    checkpoint_id: Annotated[
        str | None,
        AfterValidator(_checkpoint_id),
        Field(description="Roll back to this checkpoint; default: the newest."),
    ] = None


class CompleteBody(BaseModel):
    """How a task ended."""

    model_config = _BODY

    state: State | None = None
    result: Annotated[Any, Field(description="The execution's output in the other rooms.")] = None


def _error_text(error: Any) -> Any:
    return error.get("message") if isinstance(error, dict) else error


class FailBody(BaseModel):
    """Why an attempt failed."""

    model_config = _BODY

    error: Annotated[
        str,
        BeforeValidator(_error_text),
        Field(
            min_length=1,
            max_length=_TEXT,
            description="A text; of an object its `message` is taken.",
        ),
    ]
    state: State | None = None


# --- what it answers


class MemoryWrite(TypedDict):
    """A version of a memory item that a step has written."""

    store_id: str
    item_id: str
    key: str
    version: int
    deleted: Annotated[bool, Field(description="The step deleted the item.")]


class CheckpointObject(TypedDict):
    """A state that a task can go back to."""

    id: str
    label: str | None
    state: dict[str, Any]
    timestamp: str
    superseded: Annotated[bool, Field(description="A roll-back went behind it.")]
    memory_writes: NotRequired[
        Annotated[
            list[MemoryWrite],
            Field(
                description="Where there are any, up to the next checkpoint; a roll-back "
                "leaves them."
            ),
        ]
    ]


class TaskObject(TypedDict):
    """A task."""

    id: str
    name: str
    description: str
    agent_id: str
    task_type: str
    status: StatusWord
    state: dict[str, Any]
    checkpoints: list[CheckpointObject]
    config: dict[str, Any]
    elapsed_seconds: Annotated[int, Field(description="Active time, without pauses.")]
    started_at: str
    completed_at: str | None
    updated_at: str


class TaskAnswer(TypedDict):
    """One task."""

    data: TaskObject


class TaskErrorDetail(TypedDict):
    """What went wrong, for a program (code, status, details) and for a person (message)."""

    code: str
    message: str
    details: Annotated[dict[str, Any], Field(description="`param` names the field.")]
    status: int
    request_id: str


class TaskError(TypedDict):
    """The answer to a request that failed."""

    error: TaskErrorDetail
