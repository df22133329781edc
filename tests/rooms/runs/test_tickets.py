"""Stream tickets: a URL that opens one execution's stream for a while, and nothing else."""

import asyncio
import re
import stat
from pathlib import Path

import pytest

from outlast.model.clock import SystemClock
from outlast.model.error import ExecutionNotFound, MissingScope
from outlast.model.moment import moment
from outlast.model.workspace import Principal
from outlast.seal import DecryptionFailed, Seal
from outlast.services.tickets import LIFE_SECONDS
from outlast.testing import FakeClock
from tests.support.api import MakeApi, read_until
from tests.support.models import FakeModel, by_turn
from tests.support.runs_room import PATH, post, user
from tests.support.waiting import BOUND

pytestmark = pytest.mark.anyio


async def test_a_ticket_opens_one_stream_in_any_room_while_it_lives(make_api: MakeApi) -> None:
    clock = FakeClock()
    api = await make_api(clock=clock)
    run, other = [(await post(api, user("Hi"))).headers["x-execution-id"] for _ in "ab"]
    issued = (await api.client.post(f"/v1/executions/{run}/stream-ticket")).json()
    assert set(issued) == {"ticket", "expiresAt"}
    assert moment(issued["expiresAt"]) == clock.now() + LIFE_SECONDS * 1000
    ticket = issued["ticket"]
    del api.client.headers["authorization"]
    for path in (PATH, "/v1/executions"):
        opened = await api.get(f"{path}/{run}/stream", ticket=ticket)
        assert (opened.status_code, opened.headers["x-execution-id"]) == (200, run)
        for closed in (f"{path}/{other}/stream", f"{path}/{run}"):
            assert (await api.get(closed, ticket=ticket)).status_code == 401
        assert (await api.get(f"{path}/{run}/stream", ticket="x")).status_code == 401
        assert (await api.get(f"{path}/{run}/stream", ticket="")).status_code == 401
    clock.advance(LIFE_SECONDS + 1)
    late = await api.get(f"{PATH}/{run}/stream", ticket=ticket)
    assert late.status_code == 401


async def test_a_ticket_is_given_for_what_the_key_may_read(make_api: MakeApi) -> None:
    api = await make_api()
    run = (await post(api, user("Hi"))).headers["x-execution-id"]
    tickets, caller = api.core.services.tickets, api.caller
    with pytest.raises(MissingScope):
        await tickets.issue(Principal(caller.key_id, caller.workspace_id, frozenset()), run)
    with pytest.raises(ExecutionNotFound):
        await tickets.issue(Principal(caller.key_id, "ws_other", caller.scopes), run)


# --- the secret behind them


def test_the_secret_is_made_once_for_its_owner_alone_and_stays(tmp_path: Path) -> None:
    file = tmp_path / "secret_key"
    Seal("", file, SystemClock()).prepare()
    made = file.read_text()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    Seal("", file, SystemClock()).prepare()
    assert file.read_text() == made
    assert [path.name for path in tmp_path.iterdir()] == ["secret_key"]


def test_what_is_sealed_opens_with_the_same_secret_and_purpose_alone(tmp_path: Path) -> None:
    file, clock = tmp_path / "secret_key", FakeClock()
    sealed = Seal("", file, clock).seal("one", {"a": "plain text"})
    assert "plain" not in sealed
    assert Seal("", file, clock).open("one", sealed) == {"a": "plain text"}
    for other, purpose in ((Seal("", file, clock), "two"), (Seal("other", file, clock), "one")):
        with pytest.raises(DecryptionFailed):
            other.open(purpose, sealed)
    with pytest.raises(DecryptionFailed):
        Seal("", file, clock).open("one", "é")


def test_the_operator_s_secret_needs_no_file(tmp_path: Path) -> None:
    seal = Seal("the operator's", tmp_path / "none" / "secret_key", FakeClock())
    assert seal.open("one", seal.seal("one", 1)) == 1
    assert not (tmp_path / "none").exists()


# --- who may open what


async def test_a_ticket_is_taken_by_streams_that_say_so_and_by_no_other_route(
    make_api: MakeApi,
) -> None:
    api = await make_api()
    run = (await post(api, user("Hi"))).headers["x-execution-id"]
    document = (await api.get("/openapi.json")).json()
    with_ticket = {
        path
        for path, methods in document["paths"].items()
        for method in methods.values()
        if any(parameter["name"] == "ticket" for parameter in method.get("parameters", ()))
    }
    assert with_ticket == {
        "/v1/executions/{executionId}/stream",
        "/run/api/executions/{executionId}/stream",
    }
    ticket = (await api.client.post(f"/v1/executions/{run}/stream-ticket")).json()["ticket"]
    del api.client.headers["authorization"]
    for path, methods in document["paths"].items():
        if path in with_ticket or not path.startswith(("/v1", "/run", "/api")):
            continue
        for method in methods:
            url = re.sub(r"\{\w+\}", run, path)
            answer = await api.client.request(method, url, params={"ticket": ticket})
            assert answer.status_code == 401, (method, path)


@pytest.mark.parametrize("path", [PATH, "/v1/executions"])
@pytest.mark.parametrize("how", ["revoked here", "revoked elsewhere", "expired"])
async def test_a_ticket_opens_nothing_once_its_key_does_not(
    make_api: MakeApi, path: str, how: str
) -> None:
    clock = FakeClock()
    api = await make_api(clock=clock)
    keys, caller = api.core.services.keys, api.caller
    soon = clock.now() + 60_000
    key = await keys.create(caller.workspace_id, "short", expires_at=soon)
    run = (await post(api, user("Hi"))).headers["x-execution-id"]
    of_key = {"Authorization": key.secret}
    answer = await api.client.post(f"/v1/executions/{run}/stream-ticket", headers=of_key)
    ticket = answer.json()["ticket"]
    del api.client.headers["authorization"]
    assert (await api.get(f"{path}/{run}/stream", ticket=ticket)).status_code == 200
    if how == "revoked here":
        await keys.revoke(caller.workspace_id, key.key.id)
    elif how == "revoked elsewhere":
        await api.core.store.keys.revoke(caller.workspace_id, key.key.id, clock.now())
        clock.advance(1)
    else:
        clock.advance(60)
    answer = await api.get(f"{path}/{run}/stream", ticket=ticket)
    assert answer.status_code == 401


async def test_a_clock_that_steps_back_makes_tickets_live_neither_longer_nor_shorter(
    make_api: MakeApi,
) -> None:
    clock = SteppedClock()
    api = await make_api(clock=clock)
    run = (await post(api, user("Hi"))).headers["x-execution-id"]

    async def issued() -> str:
        answer = await api.client.post(f"/v1/executions/{run}/stream-ticket")
        return str(answer.json()["ticket"])

    async def opens(ticket: str) -> bool:
        path = f"{PATH}/{run}/stream"
        answer = await api.client.get(path, params={"ticket": ticket}, headers=no_key)
        return answer.status_code == 200

    no_key = {"Authorization": ""}
    before = await issued()
    clock.step(-2 * LIFE_SECONDS)
    after = await issued()
    assert await opens(before)
    assert await opens(after)
    clock.advance(LIFE_SECONDS - 10)
    assert await opens(before)
    clock.advance(20)
    assert not await opens(before)
    assert not await opens(after)


class SteppedClock(FakeClock):
    """A clock that is set while others measure spans by it."""

    _by = 0

    def now(self) -> int:
        return super().now() + self._by

    def step(self, seconds: int) -> None:
        self._by += seconds * 1000


# --- streams that are open


@pytest.mark.parametrize("path", [PATH, "/v1/executions"])
@pytest.mark.parametrize("how", ["revoked here", "revoked elsewhere", "expired"])
async def test_an_open_stream_ends_with_its_key_and_the_execution_goes_on(
    make_api: MakeApi, path: str, how: str
) -> None:
    held = asyncio.Event()
    clock = SteppedClock()
    api = await make_api(FakeModel(by_turn(["one ", held, "two"])), clock=clock)
    streams = api.app.state.streams
    streams.look_seconds = streams.keys_seconds = 0.01
    keys, caller = api.core.services.keys, api.caller
    key = await keys.create(caller.workspace_id, "k", expires_at=clock.now() + 60_000)
    run = await api.started()
    async with api.listening() as client, asyncio.timeout(BOUND):
        of_key = {"Authorization": key.secret}
        url = f"{path}/{run}/stream"
        answer = await client.post(f"/v1/executions/{run}/stream-ticket", headers=of_key)
        ticket = {"ticket": answer.json()["ticket"]}
        async with (
            client.stream("GET", url, headers=of_key) as by_key,
            client.stream("GET", url, params=ticket, headers={"Authorization": ""}) as by_ticket,
            client.stream("GET", url) as of_another,
        ):
            ending = by_key.aiter_lines(), by_ticket.aiter_lines()
            others = of_another.aiter_lines()
            for lines in (*ending, others):
                assert await read_until(lines, "one")
            if how == "revoked here":
                await keys.revoke(caller.workspace_id, key.key.id)
            elif how == "revoked elsewhere":
                await api.core.store.keys.revoke(caller.workspace_id, key.key.id, clock.now())
            else:
                clock.step(60)
            for lines in ending:
                assert not any("two" in line for line in await read_until(lines, "never said"))
            assert len(streams) == 1
            held.set()
            assert await read_until(others, "two")
