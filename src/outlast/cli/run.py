"""`outlast run`: one execution from the terminal.

It runs in this process or, if a server has the database, through that server. On Postgres the
workers run it.
"""

from outlast import logs  # isort: skip - before whatever imports structlog, see there

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from io import TextIOWrapper
from typing import Any

from outlast.agents.loader import LoadedAgents
from outlast.app import Core
from outlast.cli.composition import compose, put_agents, read_agents
from outlast.cli.output import note, write_json
from outlast.cli.screen import Screen
from outlast.cli.state import first_key, make_folder, stored_key
from outlast.client import Client, Unreachable
from outlast.model.client_call import ClientCallRequested
from outlast.model.error import AgentNotFound, Conflict, Misconfigured, StoreLocked
from outlast.model.event import (
    ApprovalRequested,
    Event,
    StepRetried,
    TextAdded,
    ThinkingAdded,
    ToolFinished,
    ToolStarted,
    is_resting,
)
from outlast.model.text import storable
from outlast.model.workspace import Principal
from outlast.services.executions import StartExecution
from outlast.settings import Settings


@dataclass(frozen=True, slots=True)
class RunRequest:
    """The arguments of `run`."""

    agent: str
    input: str
    conversation_id: str | None = None
    json: bool = False
    user: str | None = None
    metadata: dict[str, str] = field(default_factory=dict)


def run(settings: Settings, request: RunRequest) -> int:
    """Run to the end and return the exit code. Raises OutlastError."""
    # A person at the terminal wants the answer; logs are shown only if requested.
    logs.configure("error" if settings.log_level == "info" else settings.log_level, "auto")
    if isinstance(sys.stdout, TextIOWrapper):  # a terminal that has no such character shows a mark
        sys.stdout.reconfigure(errors="replace")
    return asyncio.run(_run(settings, _storable(request)))


def _storable(request: RunRequest) -> RunRequest:
    """Make an argument storable: the shell may pass bytes that are not text."""
    return replace(
        request,
        input=storable(request.input),
        user=storable(request.user),
        metadata=storable(request.metadata),
    )


async def _run(settings: Settings, request: RunRequest) -> int:
    loaded = read_agents(settings)
    make_folder(settings)
    core = compose(settings, loaded, worker=not settings.on_postgres).core
    try:
        await core.open()
    except StoreLocked:
        await core.models.close()
        await core.tools.close()
        return await _run_there(settings, request)
    try:
        key = await first_key(settings, core.services.keys, core.services.workspaces)
        if key.principal is None:
            raise Misconfigured(
                f"The key in {settings.key_file} is revoked. Remove the file for a new one."
            )
        await put_agents(core, key.workspace, loaded)
        await core.start(recover=False)
        if not await core.engine.workers():
            raise Misconfigured(
                "No worker runs on this database. Start one: outlast worker --agents FILE"
            )
        try:
            return await _run_here(core, key.principal, request)
        except AgentNotFound as error:
            raise _where_agents_are(error, settings, loaded) from error
    finally:
        await core.close()


def _where_agents_are(
    error: AgentNotFound, settings: Settings, loaded: LoadedAgents
) -> AgentNotFound:
    """Return the error with what the agents file has, or with what writes one."""
    names = ", ".join(spec.name for spec in loaded.specs)
    more = f"{settings.agents} has {names}." if names else "outlast init writes a file of agents."
    return AgentNotFound(f"{error.message} {more}")


async def _run_here(core: Core, principal: Principal, request: RunRequest) -> int:
    executions, screen = core.services.executions, Screen(quiet=request.json)
    start = StartExecution(
        request.input,
        conversation_id=request.conversation_id,
        user=request.user,
        metadata=dict(request.metadata),
    )
    started = await executions.start(principal, request.agent, start)
    execution_id = started.execution.id

    async def cancel() -> None:
        with suppress(Conflict):  # it ended by itself in the same moment
            await executions.cancel(principal, execution_id)

    async with _interruptible(cancel):
        async with aclosing(executions.follow(principal, execution_id)) as log:
            async for entries in log:
                for entry in entries:
                    show(screen, entry.event)
                if entries and is_resting(entries[-1].event):
                    break
        view = await executions.get(principal, execution_id)
    if request.json:
        from outlast.rooms.executions import render

        write_json(render.execution(view))
    error = view.execution.error
    message = None if error is None else error.message
    return screen.end(execution_id, view.execution.shown_status.value, message)


async def _run_there(settings: Settings, request: RunRequest) -> int:
    from outlast.cli.remote import client_of, show_stream

    if not (settings.api_key or stored_key(settings)):
        raise Misconfigured(
            "A server uses this database, and there is no API key for it here: set OUTLAST_API_KEY."
        )
    screen = Screen(quiet=request.json)
    async with client_of(settings) as client:
        if not request.json:
            note(f"A server uses this database: the run goes through it, at {client.url}.")
            if settings.agents:
                note(f"The server's own agents are used, not those of {settings.agents}.")
        await require_answer(client)
        more: dict[str, Any] = {"conversationId": request.conversation_id, "user": request.user}
        more = {name: value for name, value in more.items() if value is not None}
        if request.metadata:
            more["metadata"] = request.metadata
        started = await client.execute(request.agent, request.input, background=True, **more)
        execution_id = str(started["id"])

        async def cancel() -> None:
            await client.cancel(execution_id)

        async with _interruptible(cancel):
            execution = await show_stream(client, execution_id, screen)
    if request.json:
        write_json(execution)
    error: Any = execution.get("error") or {}
    return screen.end(execution_id, str(execution["status"]), error.get("message"))


async def require_answer(client: Client) -> None:
    """Check that the server answers; say if it takes no work now. Raises Misconfigured."""
    try:
        if not await client.ready():
            note("The server takes no work now; trying again for up to a minute.")
    except Unreachable as error:
        raise Misconfigured(
            f"{error.message} The server that has this database listens elsewhere: "
            "say where with --port and --host."
        ) from error


@asynccontextmanager
async def _interruptible(cancel: Callable[[], Any]) -> AsyncIterator[None]:
    """Let the first Ctrl-C cancel the execution and wait for its end, the second exit at once."""
    loop, cancels = asyncio.get_running_loop(), set[asyncio.Task[None]]()

    def interrupted() -> None:
        if cancels:
            os._exit(130)
        note("\ncancelling; press Ctrl-C again to exit at once")
        cancels.add(loop.create_task(cancel(), name="cancel_execution"))

    loop.add_signal_handler(signal.SIGINT, interrupted)
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGINT)
        await asyncio.gather(*cancels)


def show(screen: Screen, event: Event) -> None:
    """Show one event of the log, if it means something to a person."""
    match event:
        case TextAdded(pieces=pieces):
            screen.text("".join(pieces))
        case ThinkingAdded(pieces=pieces):
            screen.thinking("".join(pieces))
        case ToolStarted(name=name, parameters=parameters):
            screen.tool_started(name, parameters)
        case ToolFinished(name=name, result=result, is_error=is_error):
            screen.tool_finished(name, result, is_error=is_error)
        case ApprovalRequested(name=name, parameters=parameters):
            screen.approval_requested(name, parameters)
        case ClientCallRequested(name=name, tool_call_id=call_id):
            screen.client_call(name, call_id)
        case StepRetried(reason=reason):
            screen.retried(reason)
        case _:
            pass
