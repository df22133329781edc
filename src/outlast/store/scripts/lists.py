"""Reads of lists: executions and their tool calls, without what is long."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Final

from outlast.model.execution import ToolStep
from outlast.store.driver import Query, Row, Transaction, TransactionResult
from outlast.store.executions.rows import execution_from
from outlast.store.executions.steps import SHORT_STEPS, step_from
from outlast.store.list_port import LONGEST, ExecutionFilter, Listed, ShortSteps
from outlast.store.page import Page
from outlast.store.scripts.executions import page_of

_LONGEST_STEP: Final = 4 * 1024
"""Characters of a tool call, with its result, that a list shows."""
_MOST_STEPS: Final = 50


def listed(workspace_id: str, wanted: ExecutionFilter, page: Page) -> Transaction[list[Listed]]:
    """A page by keyset, and one row more to tell whether there are more."""
    rows = yield page_of(workspace_id, wanted, page, longest=LONGEST + 1)
    found = [listed_from(row) for row in rows]
    return TransactionResult(found[::-1] if page.backwards else found)


def listed_from(row: Row) -> Listed:
    """Read a row of LISTED, whose long texts have one character more than is shown."""
    found = execution_from(row)
    output = found.output or ""
    cut = []
    if len(found.input) > LONGEST:
        cut.append("input")
    if len(output) > LONGEST:
        cut.append("output")
    if found.metadata is None:
        cut.append("metadata")
    if not cut:
        return Listed(found)
    shown = replace(
        found,
        input=found.input[:LONGEST],
        output=None if found.output is None else output[:LONGEST],
        metadata=found.metadata or {},
    )
    return Listed(shown, tuple(cut))


def short_steps(
    workspace_id: str, execution_ids: Sequence[str]
) -> Transaction[dict[str, ShortSteps]]:
    """The first tool calls of each that are short."""
    found = {}
    for execution_id in execution_ids:
        rows = yield Query(
            SHORT_STEPS,
            {
                "id": execution_id,
                "workspace": workspace_id,
                "longest": _LONGEST_STEP,
                "limit": _MOST_STEPS + 1,
            },
        )
        steps = tuple(_short(rows[:_MOST_STEPS]))
        found[execution_id] = ShortSteps(steps, cut=len(steps) < len(rows))
    return TransactionResult(found)


def _short(rows: Iterable[Row]) -> Iterable[ToolStep]:
    for row in rows:
        if row[4] is not None:
            step = step_from(row)
            assert isinstance(step, ToolStep)
            yield step
