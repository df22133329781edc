"""Every accepted execution ends: tries without progress are bounded, what cannot be read fails."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from structlog.testing import capture_logs

from outlast.agents.port import Answer
from outlast.app import Core
from outlast.model.agent import Effect, Limits
from outlast.model.error import Overloaded, Refused
from outlast.model.event import ExecutionFailed
from outlast.model.execution import TERMINAL, Execution, Status
from outlast.model.usage import Usage
from outlast.model.workspace import Principal
from outlast.store.driver import Driver
from outlast.store.executions.lists import ExecutionFilter
from outlast.store.executions.store import ExecutionStore
from outlast.store.executions.values import (
    Advance,
    Advanced,
    Created,
    ForcedFailure,
    NewExecution,
    Resume,
)
from outlast.store.page import Page
from outlast.store.store import Store
from outlast.testing import FakeClock, NamedModels, owner
from tests.support.crashes import Crash
from tests.support.databases import POSTGRESQL, SQLITE, Database
from tests.support.engine import start_request
from tests.support.models import FakeModel, by_turn
from tests.support.tools import FakeTools, call, spec, tool
from tests.support.waiting import BOUND, between_looks, lives_until, until_found

pytestmark = pytest.mark.anyio
_START = 1_772_000_000_000
GIVEN_UP = "execution.given_up"


async def ready(core: Core, agent: Any = None) -> Principal:
    caller = await owner(core)
    agent = agent or spec(limits=Limits(max_seconds=None))
    await core.services.agents.put(caller.workspace_id, [(agent, "1")])
    return caller


async def settled(
    core: Core, caller: Principal, execution_id: str, clock: FakeClock | None = None
) -> Execution:
    """The execution once it has ended, with time going on."""

    async def ended() -> Execution | None:
        found = await core.store.executions.get(caller.workspace_id, execution_id)
        if found.status in TERMINAL:
            return found
        if clock is not None:
            clock.advance(31)
        return None

    return await until_found(ended)


async def tried(store: "Ill", times: int, clock: FakeClock, seconds: int = 31) -> None:
    """Return once the store was tried so often, with time going on."""

    async def often() -> bool:
        if store.tried < times:
            clock.advance(seconds)
        return store.tried >= times

    await until_found(often)


class Pill:
    """A tool in whose middle the process dies, as often as it is called, until it is healed."""

    def __init__(self) -> None:
        self.reached = asyncio.Event()
        self.healed = False

    async def take(self, _: dict[str, Any]) -> str:
        if not self.healed:
            self.reached.set()
            await asyncio.Event().wait()
        return "swallowed"


PILL = spec(tool("take", Effect.IDEMPOTENT))


def pill_models() -> NamedModels:
    return NamedModels({"actor": FakeModel(by_turn([call(1, "take")], ["Done"]))})


async def one_life(database: Database, pill: Pill, life: int, **settings: Any) -> Execution:
    """Run until the tool is reached, then die without a word; the row as it is left.

    Every life writes twice: its begin, and the answer or what the last crash has left open.
    """
    crash = Crash(2, commits_last=False)
    pill.reached.clear()
    tools = FakeTools(take=pill.take)
    core_of = database.core(
        models=pill_models(),
        tools=tools,
        clock=FakeClock(_START + 60_000 * life),
        store=crash.store,
        drain_seconds=0,
        **settings,
    )
    async with asyncio.timeout(BOUND), core_of as core:
        caller = await ready(core, PILL)
        if not life:
            await core.services.executions.start(caller, "agent", start_request())
        [one] = await core.store.executions.page(caller.workspace_id, ExecutionFilter(), Page(1))
        await lives_until(pill.reached, settled(core, caller, one.id))
        return await core.store.executions.get(caller.workspace_id, one.id)


@pytest.mark.parametrize("most", [1, 3])
async def test_an_execution_that_ends_its_process_each_time_fails_after_its_tries(
    database: Database, most: int
) -> None:
    pill = Pill()
    left = [await one_life(database, pill, 0, max_tries=most)]
    while left[-1].status is Status.RUNNING:
        left.append(await one_life(database, pill, len(left), max_tries=most))
        assert len(left) < 10
    assert [found.tries for found in left] == [0, *range(1, most + 1), 0]
    failed = left[-1]
    assert failed.status is Status.FAILED
    assert failed.error is not None
    assert failed.error.code == "internal_error"
    times = "once" if most == 1 else f"{most} times"
    assert f"was tried {times} without progress" in failed.error.message

    pill.healed = True  # whoever resumes it gives it all its tries again
    async with database.core(
        models=pill_models(), tools=FakeTools(take=pill.take), max_tries=most
    ) as core:
        caller = await ready(core, PILL)
        await core.store.executions.resume(
            Resume(caller.workspace_id, failed.id, failed.updated_at)
        )
        assert (await settled(core, caller, failed.id)).output == "Done"


async def test_a_server_that_leaves_is_no_try(database: Database) -> None:
    pill = Pill()
    tools = FakeTools(take=pill.take)
    more = {"models": pill_models(), "tools": tools, "drain_seconds": 0, "max_tries": 2}
    async with asyncio.timeout(BOUND), database.core(**more) as core:
        caller = await ready(core, PILL)
        started = await core.services.executions.start(caller, "agent", start_request())
        execution_id = started.execution.id
        await pill.reached.wait()
    for _ in range(4):
        pill.reached.clear()
        async with asyncio.timeout(BOUND), database.core(**more):
            await pill.reached.wait()
    pill.healed = True
    async with database.core(**more) as core:
        assert (await settled(core, caller, execution_id)).status is Status.COMPLETED


class Ill(ExecutionStore):
    """Refuses what a test says, however often."""

    def __init__(self, driver: Driver) -> None:
        super().__init__(driver)
        self.advances: Exception | None = None
        self.ends: Exception | None = None
        self.is_away = False
        self.refuses = ""
        """Of the texts and outputs of this execution's steps, what the database does not take."""
        self.tried = 0

    async def create(self, new: NewExecution, *, begins: bool = False) -> Created:
        del begins  # each begin is a move
        return await super().create(new)

    async def advance(self, move: Advance) -> Advanced:
        if self.refuses and self.refuses in str((move.steps, move.texts)):
            raise Refused(f"no {self.refuses}")
        if self.advances is not None:
            self.tried += 1
            raise self.advances
        return await super().advance(move)

    async def force_failure(self, failure: ForcedFailure) -> bool:
        if self.ends is not None:
            raise self.ends
        return await super().force_failure(failure)


class Absent:
    """The driver of a store whose executions are ill: it does not answer while they are away."""

    def __init__(self, driver: Driver, executions: Ill) -> None:
        self._driver = driver
        self._executions = executions

    def __getattr__(self, name: str) -> Any:
        return getattr(self._driver, name)

    async def ping(self) -> None:
        if self._executions.is_away:
            raise Overloaded
        await self._driver.ping()


def ill_store(driver: Driver) -> Store:
    executions = Ill(driver)
    absent: Any = Absent(driver, executions)
    return replace(Store.over(driver), driver=absent, executions=executions)


def ill(core: Core) -> Ill:
    assert isinstance(core.store.executions, Ill)
    return core.store.executions


async def test_a_database_that_is_away_uses_up_no_tries(database: Database) -> None:
    clock = FakeClock()
    models = NamedModels({"actor": FakeModel(by_turn(["Hello"]))})
    async with database.core(
        models=models, tools=FakeTools(), clock=clock, store=ill_store, max_tries=1
    ) as core:
        caller = await ready(core)
        store = ill(core)
        store.advances, store.is_away = Overloaded(), True
        started = await core.services.executions.start(caller, "agent", start_request())
        await tried(store, 3, clock)
        store.advances, store.is_away = None, False
        assert (await settled(core, caller, started.execution.id, clock)).output == "Hello"


@pytest.mark.parametrize("most", [1, 2])
async def test_a_database_that_answers_and_takes_no_move_ends_the_execution(
    database: Database, most: int
) -> None:
    clock = FakeClock()
    models = NamedModels({"actor": FakeModel(by_turn(["Hello"]))})
    async with database.core(
        models=models, tools=FakeTools(), clock=clock, store=ill_store, max_tries=most
    ) as core:
        caller = await ready(core)
        ill(core).advances = Overloaded()
        started = await core.services.executions.start(caller, "agent", start_request())
        failed = await settled(core, caller, started.execution.id, clock)
        assert failed.status is Status.FAILED
        assert ill(core).tried == most
        assert failed.error is not None
        assert "without progress" in failed.error.message
        log = [
            entry.event
            async for entries in core.services.executions.follow(caller, failed.id)
            for entry in entries
        ]
        assert isinstance(log[-1], ExecutionFailed)


@pytest.mark.parametrize("refused", ["poison", "tc_"])
async def test_what_the_database_refuses_for_good_is_tried_once_and_named_nowhere(
    database: Database, refused: str
) -> None:
    model = FakeModel(by_turn(["a ", "poison", call(1, "look")], ["Done"]))
    models = NamedModels({"actor": model})
    tools = FakeTools(look=lambda _: "seen")
    async with database.core(models=models, tools=tools, store=ill_store) as core:
        caller = await ready(core, spec(tool("look")))
        ill(core).refuses = refused
        started = await core.services.executions.start(caller, "agent", start_request())
        failed = await settled(core, caller, started.execution.id)
        assert failed.status is Status.FAILED
        assert failed.error is not None
        assert failed.error.code == "internal_error"
        assert refused not in failed.error.message
        async with asyncio.timeout(BOUND):
            while core.engine.running:
                await between_looks()
        assert len(model.requests) == 1


async def test_text_that_the_log_refuses_fails_its_execution_at_once(database: Database) -> None:
    class NoText(ExecutionStore):
        async def append_text(self, appends: Any) -> list[bool]:
            raise Refused

    def without_text(driver: Driver) -> Store:
        return replace(Store.over(driver), executions=NoText(driver))

    model = FakeModel(lambda _: ["half", asyncio.Event()])
    models = NamedModels({"actor": model})
    async with database.core(models=models, tools=FakeTools(), store=without_text) as core:
        caller = await ready(core)
        started = await core.services.executions.start(caller, "agent", start_request())
        failed = await settled(core, caller, started.execution.id)
        assert (failed.status, failed.output) == (Status.FAILED, "half")
        assert len(model.requests) == 1
        assert not model.open


@pytest.mark.parametrize("ends", [RuntimeError("odder"), Refused("no"), Overloaded("so it says")])
async def test_an_execution_that_cannot_even_be_failed_is_given_up_for_an_hour(
    database: Database, ends: Exception
) -> None:
    clock = FakeClock()
    models = NamedModels({"actor": FakeModel(by_turn(["Hello"]))})
    async with database.core(
        models=models, tools=FakeTools(), clock=clock, store=ill_store, max_tries=2
    ) as core:
        caller = await ready(core)
        store = ill(core)
        store.advances, store.ends = RuntimeError("odd"), ends
        with capture_logs() as logs:
            started = await core.services.executions.start(caller, "agent", start_request())
            await until_found(lambda: given_up_in(logs, clock))
            for _ in range(20):
                clock.advance(31)
                await between_looks()
            assert store.tried == 2
            given_up = [log["execution"] for log in logs if log["event"] == GIVEN_UP]
            assert given_up == [started.execution.id]
        left = await core.store.executions.get(caller.workspace_id, started.execution.id)
        assert left.status is Status.QUEUED
        if database.kind == POSTGRESQL:  # no job that is missing, and none that is due
            await until_found(lambda: given_back(database, started.execution.id))
        store.advances = store.ends = None
        again = await core.services.executions.start(caller, "agent", start_request())
        assert (await settled(core, caller, again.execution.id, clock)).output == "Hello"


async def given_up_in(logs: list[Any], clock: FakeClock) -> bool:
    """Whether a log says that one was given up; otherwise time goes on."""
    found = any(log["event"] == GIVEN_UP for log in logs)
    if not found:
        clock.advance(31)
    return found


async def given_back(database: Database, execution_id: str) -> bool:
    """Whether the execution's job waits for about an hour."""
    found = database.rows(
        "SELECT status::text, scheduled_at - now() > interval '50 minutes' "
        f"FROM procrastinate_jobs WHERE lock = '{execution_id}'"
    )
    return found == [("todo", True)]


@pytest.mark.only(SQLITE)
async def test_what_was_given_up_is_tried_once_an_hour_and_ends_once_that_works(
    database: Database,
) -> None:
    clock = FakeClock()
    models = NamedModels({"actor": FakeModel(by_turn(["Hello"]))})
    async with database.core(
        models=models, tools=FakeTools(), clock=clock, store=ill_store, max_tries=3
    ) as core:
        caller = await ready(core)
        store = ill(core)
        store.advances, store.ends = RuntimeError("odd"), RuntimeError("odder")
        started = await core.services.executions.start(caller, "agent", start_request())
        for times in (3, 4, 5):
            await tried(store, times, clock, 31 if times == 3 else 3600)
            for _ in range(20):
                clock.advance(31)
                await between_looks()
            assert store.tried == times
        store.advances = store.ends = None
        clock.advance(3600)
        assert (await settled(core, caller, started.execution.id, clock)).output == "Hello"


@pytest.mark.parametrize("tokens", [10**18, 10**19, 2**63])
async def test_usage_that_no_column_holds_ends_the_execution_after_one_request(
    database: Database, tokens: int
) -> None:
    class Odd(FakeModel):
        async def stream(self, request: Any) -> Any:
            async for event in super().stream(request):
                yield replace(event, usage=Usage(tokens, 5)) if isinstance(event, Answer) else event

    model = Odd(lambda _: ["a ", "b"])
    models = NamedModels({"actor": model})
    async with database.core(models=models, tools=FakeTools()) as core:
        caller = await ready(core)
        started = await core.services.executions.start(caller, "agent", start_request())
        ended = await settled(core, caller, started.execution.id)
        assert len(model.requests) == 1
        assert ended.output == "a b" or ended.status is Status.FAILED
        if ended.status is Status.FAILED:
            assert ended.error is not None
            assert ended.error.code == "internal_error"
