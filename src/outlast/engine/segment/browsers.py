"""The browser of a segment: found for its calls, timed and kept by its commits.

The browser is open from its first call until the segment ends or the model closes it. Its time is
written with each commit and heartbeat like the active time; what is kept of it, encrypted, with the
commit of the step that changed it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import structlog

from outlast.agents.browser.held import HeldBrowser, State
from outlast.engine.segment.segment import Segment
from outlast.model.clock import Clock
from outlast.model.execution import NO_BROWSER, Execution, Status, Step, ToolStep
from outlast.seal import BROWSER_STATE, DecryptionFailed, Seal
from outlast.store.executions.store import ExecutionStore
from outlast.store.executions.values import BrowserWrite

_KEPT: Final = frozenset({Status.SUSPENDED, Status.PAUSED, Status.QUEUED, Status.FAILED})
"""Statuses from which an execution may go on with its browser."""

logger = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class SegmentBrowsers:
    """Gives the calls of a segment their browser."""

    store: ExecutionStore
    seal: Seal
    clock: Clock

    def of(self, segment: Segment) -> HeldBrowser:
        """Return the browser that the calls of the segment share; nothing is opened yet."""
        if segment.browser is None:
            execution = segment.execution
            segment.browser = HeldBrowser(
                self.clock.monotonic,
                lambda: self._kept(execution),
                lambda state: self.seal.seal(BROWSER_STATE, state),
                execution.browser or NO_BROWSER,
            )
        return segment.browser

    async def _kept(self, execution: Execution) -> State | None:
        """Return the kept state of the execution's browser; None if it cannot be decrypted."""
        sealed = await self.store.browser(execution.workspace_id, execution.id)
        if sealed is None:
            return None
        try:
            state: State = self.seal.open(BROWSER_STATE, sealed)
        except DecryptionFailed:
            logger.exception("browser.state_unreadable", execution=execution.id)
            return None
        return state


def counted(segment: Segment, seconds: int, *ran: Step) -> dict[str, Any]:
    """Return the changes of the execution by recorded steps that ran: those of browser tools.

    `seconds`: those that the steps are charged for.
    """
    called = [step.call.name for step in ran if isinstance(step, ToolStep)]
    tools = () if segment.agent is None or not called else segment.agent.spec.tools
    names = {tool.name for tool in tools if tool.is_browser}
    steps = sum(name in names for name in called)
    if not (steps or seconds):
        return {}
    use = segment.execution.browser or NO_BROWSER
    return {"browser": replace(use, steps=use.steps + steps, charged=use.charged + seconds)}


def uncharged_seconds(segment: Segment, now: int) -> int:
    """Return the whole seconds that the browser was open and no step is charged for yet."""
    use = segment.execution.browser
    if segment.browser is not None:
        use = segment.browser.timed(use or NO_BROWSER, now)
    return 0 if use is None else use.seconds - use.charged


async def written(
    segment: Segment, status: Status, changes: Mapping[str, Any], now: int
) -> tuple[dict[str, Any], BrowserWrite | None]:
    """Close the browser if the segment ends; return changes of the execution, and a new state."""
    held = segment.browser
    if held is None:
        return {}, None
    if status in _KEPT:
        await held.leave()
    elif status is not Status.RUNNING:
        await held.close()
    use = changes.get("browser", segment.execution.browser) or NO_BROWSER
    timed = held.timed(use, now)
    found = {} if timed == NO_BROWSER else {"browser": timed}
    return found, (BrowserWrite(held.sealed()) if held.changed else None)
