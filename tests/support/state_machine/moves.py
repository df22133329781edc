"""The moves that people and fate make, each on one of the executions that it fits."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from outlast.engine.maintenance.due_tasks import DUE_TASKS
from outlast.engine.maintenance.due_waits import DUE_WAITS
from outlast.model.error import Conflict, ConversationBusy, OutlastError
from outlast.model.execution import TERMINAL, Execution, OnBusy, Status, ToolStep
from outlast.model.wait import CallResult, Decision, Wait, WaitKind
from outlast.services.executions import StartExecution
from outlast.services.tasks import NewTask
from tests.support.state_machine.plots import Reply, edited, written
from tests.support.state_machine.server import APPROVED, ROLLED_BACK, CrashingServer
from tests.support.state_machine.tools import DECLARED


class Moves:
    """Moves on one server's executions; numbers choose among those that a move fits."""

    def __init__(self, server: CrashingServer) -> None:
        self._server = server
        self._decided: list[tuple[str, str, Decision]] = []
        """(execution, call, decision) that were taken."""

    # --- begin

    async def start(self, plot: Sequence[Reply], *, coded: bool, **more: Any) -> None:
        server, number = self._server, str(next(self._server.plots))
        tools = DECLARED if int(number) % 2 else ()
        request = StartExecution(written(number, plot), client_tools=tools, **more)
        agent = "coder" if coded else "agent"
        await server.act(server.services.executions.start(server.caller, agent, request))

    async def go_on(self, plot: Sequence[Reply], which: int, *, interrupts: bool) -> None:
        """A next turn of a conversation."""
        found = [known for known in self._server.known if known.plot]
        if found:
            busy = OnBusy.INTERRUPT if interrupts else OnBusy.ENQUEUE
            conversation = found[which % len(found)].conversation
            await self.start(plot, coded=False, conversation_id=conversation, on_busy=busy)

    async def employ(self, plot: Sequence[Reply], *, pauses: bool) -> None:
        """A task that the server runs, and tries once more; then it is paused or has failed."""
        server, number = self._server, str(next(self._server.plots))
        retry = {"max_attempts": 2, "backoff_seconds": 30}
        config = {"retry": retry | {"on_failure": "pause" if pauses else "fail"}}
        text = written(number, plot)
        request = NewTask("Work", agent="agent", input=text, state={"n": 0}, config=config)
        await server.act(server.services.tasks.create(server.caller, request))

    async def drive(self, move: int, which: int) -> None:
        """What a client does with tasks: one of its own is also ended by it."""
        server, tasks = self._server, self._server.services.tasks
        rows = [row for row in await server.rows() if "n" in row.state]
        if move == 0 or not rows:
            await server.act(tasks.create(server.caller, NewTask("Count", state={"n": 0})))
            return
        row = rows[which % len(rows)]
        state = {"n": which}
        match move:
            case 1:
                await server.act(tasks.save(server.caller, row.id, f"at {which}", state))
            case 2:
                await server.act(tasks.change(server.caller, row.id, state))
            case _:
                done = tasks.complete if which % 2 else tasks.fail
                outcome: Any = which if which % 2 else f"no {which}"
                args = (state, outcome) if which % 2 else (outcome, state)
                await server.act(done(server.caller, row.id, *args))

    # --- go on

    async def let_go(self, which: int) -> None:
        held = [known for known in self._server.known if known.plot in self._server.gates]
        if held:
            self._server.gates.release(held[which % len(held)].plot)

    async def pause(self, which: int, *, now: bool) -> None:
        row = await self._one(which, lambda row: row.status not in TERMINAL)
        if row is not None:
            await self._server.act(self._pause(row, now=now), of=row.id)

    def _pause(self, row: Execution, *, now: bool = False) -> Coroutine[Any, Any, Any]:
        server = self._server
        return server.services.executions.pause(server.caller, row.id, now=now, reason="Wait.")

    async def resume(self, which: int) -> None:
        """As it stands: what is paused always goes on, the rest unless another turn is live."""
        server = self._server
        wanted = (Status.PAUSED, Status.FAILED, Status.CANCELLED)
        row = await self._one(which, lambda row: row.status in wanted)
        if row is None:
            return
        answer = await server.act(server.services.executions.resume(server.caller, row.id))
        if _has_answered(row):
            assert isinstance(answer, OutlastError)
        elif isinstance(answer, Conflict):
            assert isinstance(answer, ConversationBusy)
            assert row.status in TERMINAL

    async def roll_back(self, which: int, place: int) -> None:
        """To any checkpoint; a superseded one is refused."""
        server = self._server
        fits = (Status.PAUSED, *TERMINAL)
        row = await self._one(which, lambda row: row.status in fits)
        if row is None:
            return
        checkpoints = await server.services.executions.checkpoints(server.caller, row.id)
        if not checkpoints:
            return
        chosen = checkpoints[place % len(checkpoints)]
        steps = await server.api.core.store.executions.steps(server.caller.workspace_id, row.id)
        void = [s for s in steps if isinstance(s, ToolStep) and not chosen.covers(s.number)]
        server.tools.said.extend((step.call.id, ROLLED_BACK) for step in void)
        answer = await server.act(
            server.services.executions.resume(server.caller, row.id, chosen.id)
        )
        if chosen.superseded or _has_answered(row):
            assert isinstance(answer, OutlastError)
        elif isinstance(answer, Conflict):
            assert isinstance(answer, ConversationBusy)

    # --- decide

    async def decide(self, which: int, how: str) -> None:
        questions = await self._server.questions()
        if questions:
            await self._decide(questions[which % len(questions)], how)

    async def _decide(self, question: Wait, how: str) -> Any:
        return await self._server.act(self._deciding(question, how))

    async def _deciding(self, question: Wait, how: str) -> Wait:
        server, decision = self._server, _decision(question, how)
        if decision.approved and not decision.has_result:
            server.tools.said.append((question.tool_call_id, APPROVED))
        at = await self._place(question)
        decided = await server.services.approvals.decide(
            server.caller, at, question.tool_call_id, decision
        )
        self._decided.append((question.execution_id, question.tool_call_id, decision))
        return decided

    async def _place(self, question: Wait) -> str:
        """Where it is decided: at the execution that asks, or at the root of its tree."""
        row = await self._server.row(question.execution_id)
        return row.tree if question.requested_at % 2 else row.id

    async def decide_twice(self, which: int) -> None:
        """The same again is the same answer; another is refused, unless it is requested again."""
        server, questions = self._server, await self._server.questions()
        if not questions:
            return
        question = questions[which % len(questions)]
        first = await self._decide(question, "approve")
        if isinstance(first, OutlastError):
            return
        await server.settle()
        if any(one.tool_call_id == question.tool_call_id for one in await server.questions()):
            return
        again = await self._decide(question, "approve")
        assert not isinstance(again, Conflict)
        other = await self._decide(question, "deny")
        assert isinstance(other, OutlastError)

    # --- answer

    async def answer(self, which: int, how: str) -> None:
        """The client gives what is awaited of it."""
        calls = await self._awaited()
        if calls:
            await self._server.act(self._answering(calls[which % len(calls)], how))

    async def _awaited(self) -> list[Wait]:
        """What is awaited of the client."""
        live = {row.id for row in await self._server.rows() if row.status not in TERMINAL}
        calls = await self._server.client_calls()
        return [one for one in calls if one.is_open and one.execution_id in live]

    async def _answering(self, call: Wait, how: str) -> Wait:
        server, number = self._server, next(self._server.plots)
        given = _given(call, how, number)
        at = await self._place(call)
        return await server.services.client_calls.answer(
            server.caller, at, call.tool_call_id, given
        )

    async def answer_late(self, which: int) -> None:
        """What is not awaited any more is refused, unless it is what was given."""
        server = self._server
        live = {row.id for row in await server.rows() if row.status not in TERMINAL}
        calls = await server.client_calls()
        late = [one for one in calls if not (one.is_open and one.execution_id in live)]
        if not late:
            return
        call = late[which % len(late)]
        other = await server.act(self._answering(call, "result"))
        assert isinstance(other, OutlastError)
        if call.decided_by is None or call.superseded:
            return
        given = CallResult(call.result, is_error=call.is_error)
        answer = server.services.client_calls.answer
        await server.act(answer(server.caller, call.execution_id, call.tool_call_id, given))

    # --- end

    async def cancel(self, which: int) -> None:
        row = await self._one(which, lambda row: row.status not in TERMINAL)
        if row is not None:
            await self._server.act(self._cancel(row), of=row.id)

    def _cancel(self, row: Execution) -> Coroutine[Any, Any, Any]:
        return self._server.services.executions.cancel(self._server.caller, row.id)

    async def delete(self, which: int) -> None:
        """All of it is gone, also its words."""
        server = self._server
        row = await self._one(which, lambda _: True)
        if row is None:
            return
        answer = await server.act(server.services.executions.delete(server.caller, row.id))
        if answer is None:
            assert (await server.api.get(f"/v1/executions/{row.id}")).status_code == 404

    # --- at once

    async def race(self, which: int, moves: Sequence[int], place: int) -> None:
        """Several moves on one execution at the same time."""
        server = self._server
        row = await self._one(which, lambda _: True)
        if row is None:
            return
        questions = [q for q in await server.questions() if q.execution_id == row.id]
        calls = [one for one in await self._awaited() if one.execution_id == row.id]
        checkpoints = await server.services.executions.checkpoints(server.caller, row.id)
        resume = server.services.executions.resume
        works: list[Coroutine[Any, Any, Any]] = []
        for number, move in enumerate(moves):
            match move:
                case 0:
                    works.append(self._pause(row))
                case 1:
                    works.append(self._cancel(row))
                case 2 | 3 if questions:
                    how = ("approve", "deny", "edit")[(place + number) % 3]
                    works.append(self._deciding(questions[place % len(questions)], how))
                case 4 if checkpoints:
                    server.tools.said.extend(
                        (run.call_id, ROLLED_BACK) for run in server.tools.runs
                    )
                    chosen = checkpoints[place % len(checkpoints)]
                    works.append(resume(server.caller, row.id, chosen.id))
                case 5:
                    works.append(self._let_go(row.id))
                case 6 | 7 if calls:
                    how = ("result", "error")[number % 2]
                    works.append(self._answering(calls[place % len(calls)], how))
                case _:
                    works.append(resume(server.caller, row.id))
        await asyncio.gather(*(server.act(work, of=row.id) for work in works))

    async def _let_go(self, execution_id: str) -> None:
        self._server.gates.release(self._server.of(execution_id).plot)

    # --- fate

    async def wait(self, seconds: int) -> None:
        server = self._server
        server.clock.advance(seconds)
        await server.act(server.api.core.maintenance.run(DUE_WAITS))
        await server.act(server.api.core.maintenance.run(DUE_TASKS))

    async def restart(self, *, open_gates: bool) -> None:
        """A planned one; what waits to be let go is let go meanwhile, or cut off."""
        server = self._server
        if open_gates:
            leaving = asyncio.ensure_future(server.api.core.engine.stop(1.0))
            await asyncio.sleep(0)
            server.gates.release_all()
            await leaving
        await server.reopen()

    async def end(self) -> None:
        """Let everything go, decide all questions, resume all pauses: then all must end."""
        server = self._server
        server.gates.open = True
        for _ in range(200):
            server.gates.release_all()
            await server.check()
            live = [row for row in await server.rows() if row.status not in TERMINAL]
            if not live:
                return
            questions, calls = await server.questions(), await self._awaited()
            for question in questions:
                await self._decide(question, "approve")
            for call in calls:
                await server.act(self._answering(call, "result"))
            for row in live:
                if row.status is Status.PAUSED:
                    await server.act(server.services.executions.resume(server.caller, row.id))
                elif row.is_client_driven:
                    work = server.services.tasks.complete(server.caller, row.id, None, "End.")
                    await server.act(work)
        raise AssertionError(f"never ends: {await server.rows()}")

    async def _one(self, which: int, fits: Callable[[Execution], bool]) -> Execution | None:
        found = [row for row in await self._server.rows() if fits(row)]
        return found[which % len(found)] if found else None


def _has_answered(row: Execution) -> bool:
    """Whether the call that it carries out has its result."""
    return row.tool_call_id is not None and row.status in TERMINAL


def _decision(question: Wait, how: str) -> Decision:
    match how:
        case "approve":
            return Decision(approved=True)
        case "edit":
            return Decision(approved=True, parameters=edited(question.parameters))
        case "tell" if question.kind is WaitKind.UNKNOWN_OUTCOME:
            return Decision(approved=True, result={"did": "so they say"})
        case _:
            return Decision(approved=False, reason="No.")


def _given(call: Wait, how: str, number: int) -> CallResult:
    """What the client gives; no result is ever the same twice."""
    if call.request is None:
        if how == "error":
            return CallResult(f"It failed, says {number}.", is_error=True)
        return CallResult({"call": call.tool_call_id, "number": number})
    if how == "error":
        return CallResult({"action": ("decline", "cancel")[number % 2]})
    return CallResult({"action": "accept", "content": {"value": number}})
