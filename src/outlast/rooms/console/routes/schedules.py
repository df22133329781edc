"""The schedules of the workspace; one of them with its next times and its runs."""

from typing import Final

from starlette.responses import RedirectResponse, Response

from outlast.http.call import Call
from outlast.model.error import InvalidId, ScheduleNotFound
from outlast.model.ids import SCHEDULE, parse
from outlast.model.workspace import Scope
from outlast.rooms.console.render.commands import commands
from outlast.rooms.console.render.frame import ROOT
from outlast.rooms.console.render.page import page
from outlast.rooms.console.render.schedules import shown_schedule
from outlast.rooms.console.routes.endpoints import page_at
from outlast.services.all import Services
from outlast.services.executions import Page

_ROWS: Final = 50
_RUNS: Final = 20
_NEXT: Final = 5
_RUN: Final = "run"
_READ: Final = Scope.AGENTS_READ
_EXECUTE: Final = Scope.AGENTS_EXECUTE


async def schedules(call: Call, services: Services) -> Response:
    """The schedules, newest first."""
    start = _given(SCHEDULE, call.query_params.get("after", ""))
    found, more = await services.schedules.page(call.principal, None, Page(_ROWS, start))
    known, workspace = services.agents.known, call.principal.workspace_id
    rows = [shown_schedule(one, await known.name(workspace, one.agent_id), 1) for one in found]
    return page(
        call,
        "schedules.html",
        rows=rows,
        older=found[-1].id if more and found else "",
        now=services.clock.now(),
    )


async def schedule(call: Call, services: Services) -> Response:
    """One schedule: when it runs next, and what became of its runs."""
    found = await services.schedules.get(call.principal, _id(call))
    start = _given(_RUN, call.query_params.get("after", ""))
    runs, more = await services.schedules.runs(call.principal, found.id, Page(_RUNS, start))
    agent = await services.agents.known.name(call.principal.workspace_id, found.agent_id)
    offered = ["fire", "pause_schedule" if found.is_active else "resume_schedule"]
    return page(
        call,
        "schedule.html",
        code=commands(call, offered, schedule=found.id),
        found=shown_schedule(found, agent, _NEXT),
        runs=runs,
        older=runs[-1].id if more and runs else "",
        is_first=start is None,
        now=services.clock.now(),
        may_execute=_EXECUTE in call.principal.scopes,
    )


async def pause(call: Call, services: Services) -> Response:
    """Schedules no more runs until it is resumed."""
    await services.schedules.pause(call.principal, _id(call))
    return _back(call)


async def resume(call: Call, services: Services) -> Response:
    """Schedules runs from now on."""
    await services.schedules.resume(call.principal, _id(call))
    return _back(call)


async def fire(call: Call, services: Services) -> Response:
    """Runs it now, and leads to the execution."""
    fired = await services.schedules.fire(call.principal, _id(call), None, None)
    if fired.run is None or fired.run.execution_id is None:
        return _back(call)
    return RedirectResponse(call.link(f"{ROOT}/executions/{fired.run.execution_id}"), 303)


def _id(call: Call) -> str:
    return call.path_id("scheduleId", SCHEDULE, ScheduleNotFound)


def _back(call: Call) -> Response:
    return RedirectResponse(call.link(f"{ROOT}/schedules/{_id(call)}"), 303)


def _given(prefix: str, text: str) -> str | None:
    try:
        return parse(prefix, text) if text else None
    except InvalidId:
        return None


_AT: Final = "/schedules/{scheduleId}"
PAGES: Final = (
    page_at("/schedules", schedules, "Schedules", scope=_READ),
    page_at(_AT, schedule, "Schedule", scope=_READ),
    page_at(f"{_AT}/pause", pause, "PauseSchedule", scope=_EXECUTE, method="POST"),
    page_at(f"{_AT}/resume", resume, "ResumeSchedule", scope=_EXECUTE, method="POST"),
    page_at(f"{_AT}/fire", fire, "FireSchedule", scope=_EXECUTE, method="POST"),
)
