"""The recorded steps of executions: statements, rows and reads."""

from typing import Any, Final

import orjson
from sqlalchemy import Text, bindparam, case, cast, func, insert, literal_column, select, update

from outlast.model.execution import ModelStep, Step, ToolStep
from outlast.model.image import images_from
from outlast.model.message import AssistantMessage, Thinking, ToolCall
from outlast.model.message import Part as MessagePart
from outlast.model.message import Text as MessageText
from outlast.model.usage import Usage
from outlast.store.driver import Part, Query, Row, Statement, Transaction, TransactionResult
from outlast.store.executions.statements import OWNED
from outlast.store.executions.tables import executions, steps
from outlast.store.tables import to_json
from outlast.store.unreadable import read_of

STEP_COLUMNS: Final = (
    steps.c.execution_id,
    steps.c.number,
    steps.c.id,
    steps.c.kind,
    steps.c.data,
    steps.c.started_at,
    steps.c.ended_at,
)
"""Columns that `step_from` reads."""

INSERT_STEP: Final = Statement(insert(steps))

STEPS: Final = Statement(
    select(
        steps.c.execution_id,
        steps.c.number,
        steps.c.id,
        steps.c.kind,
        steps.c.data,
        steps.c.started_at,
        steps.c.ended_at,
    )
    .where(
        steps.c.execution_id
        == select(executions.c.id)
        .where(
            executions.c.id == bindparam("id"),
            executions.c.workspace_id == bindparam("workspace"),
            executions.c.is_purged.is_(False),
        )
        .scalar_subquery(),
        steps.c.superseded.is_(False),
    )
    .order_by(steps.c.number)
)
"""Selects steps not superseded; none of a purged execution."""

_data: Final = cast(steps.c.data, Text)

SHORT_STEPS: Final = Statement(
    select(
        steps.c.execution_id,
        steps.c.number,
        steps.c.id,
        steps.c.kind,
        case((func.length(_data) <= bindparam("longest"), _data)),
        steps.c.started_at,
        steps.c.ended_at,
    )
    .where(
        steps.c.execution_id == OWNED,
        steps.c.kind == literal_column("'tool'"),
        steps.c.superseded.is_(False),
    )
    .order_by(steps.c.number)
    .limit(bindparam("limit"))
)
"""Selects tool calls of listed executions; long ones without data."""

SUPERSEDE_STEP: Final = Statement(
    update(steps)
    .where(steps.c.execution_id == bindparam("given_id"), steps.c.number == bindparam("given"))
    .values(superseded=literal_column("true"))
)


def step_columns(execution_id: str, step: Step) -> dict[str, Any]:
    """Return a step's row; its content is JSON in `data`."""
    kind, data = _step_data(step)
    return {
        "execution_id": execution_id,
        "number": step.number,
        "id": step.id,
        "kind": kind,
        "data": to_json(data),
        "started_at": step.started_at,
        "ended_at": step.ended_at,
        "superseded": False,
    }


def _step_data(step: Step) -> tuple[str, dict[str, Any]]:
    match step:
        case ModelStep():
            return "model", {
                "parts": [_part_to_json(part) for part in step.message.parts],
                "model": step.model,
                "usage": step.usage,
                "finishReason": step.finish_reason,
                **({"asked": step.request_digest} if step.request_digest else {}),
            }
        case ToolStep():
            return "tool", {
                "call": _part_to_json(step.call),
                "result": step.result,
                "isError": step.is_error,
                **({"note": step.note} if step.note else {}),
                **({"images": step.images} if step.images else {}),
            }


def step_from(row: Row) -> Step:
    """Return the step of execution_id, number, id, kind, data, started_at, ended_at."""
    _, number, step_id, kind, text, started_at, ended_at = row
    data = orjson.loads(text)
    if kind == "tool":
        call = _part_from_json(data["call"])
        assert isinstance(call, ToolCall)
        return ToolStep(
            step_id,
            number,
            call,
            data["result"],
            data["isError"],
            started_at,
            ended_at,
            data.get("note", ""),
            images_from(data.get("images", ())),
        )
    return ModelStep(
        step_id,
        number,
        AssistantMessage(tuple(_part_from_json(part) for part in data["parts"])),
        data["model"],
        Usage(**data["usage"]),
        data["finishReason"],
        started_at,
        ended_at,
        data.get("asked", ""),
    )


def step_of(row: Row) -> Step:
    """Return the same. Raises ExecutionUnreadable."""
    return read_of(row, step_from, row[0])


def without_content(kind: str, text: str) -> str | None:
    """Return a step's data without content; None if it has none."""
    data = orjson.loads(text)
    if kind == "model":
        bare = {"parts": [], **{name: data[name] for name in ("model", "usage", "finishReason")}}
    else:
        call = {name: data["call"][name] for name in ("id", "name")} | {"parameters": {}}
        bare = {"call": call, "result": None, "isError": data["isError"]}
    return None if bare == data else to_json(bare)


def _part_to_json(part: MessagePart) -> Any:
    match part:
        case MessageText():
            return {"text": part.text}
        case Thinking():
            return {"thinking": part.text, "signature": part.signature}
        case ToolCall():
            return part


def _part_from_json(data: dict[str, Any]) -> MessagePart:
    if "text" in data:
        return MessageText(data["text"])
    if "thinking" in data:
        return Thinking(data["thinking"], data["signature"])
    return ToolCall(**data)


def read_steps(workspace_id: str, execution_id: str) -> Transaction[tuple[Step, ...]]:
    """Read the recorded steps in order."""
    return TransactionResult((yield from steps_of(workspace_id, execution_id)))


def steps_of(workspace_id: str, execution_id: str) -> Part[tuple[Step, ...]]:
    """Read the same inside another transaction."""
    rows = yield Query(STEPS, {"id": execution_id, "workspace": workspace_id})
    return tuple(step_of(row) for row in rows)
