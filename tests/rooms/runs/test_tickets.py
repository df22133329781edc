"""Stream tickets: a URL that opens one execution's stream for a while, and nothing else."""

import stat
from pathlib import Path

import pytest

from outlast.http.request import moment
from outlast.model.clock import SystemClock
from outlast.model.error import ExecutionNotFound, MissingScope
from outlast.model.workspace import Principal
from outlast.seal import Seal, Unsealable
from outlast.services.tickets import LIFE_SECONDS
from outlast.testing import FakeClock
from tests.rooms.conftest import Build
from tests.rooms.runs.desk import PATH, post, user

pytestmark = pytest.mark.anyio


async def test_a_ticket_opens_one_stream_in_any_room_while_it_lives(build: Build) -> None:
    clock = FakeClock()
    house = await build(clock=clock)
    run, other = [(await post(house, user("Hi"))).headers["x-execution-id"] for _ in "ab"]
    issued = (await house.client.post(f"/v1/executions/{run}/stream-ticket")).json()
    assert set(issued) == {"ticket", "expiresAt"}
    assert moment(issued["expiresAt"]) == clock.now() + LIFE_SECONDS * 1000
    ticket = issued["ticket"]
    del house.client.headers["authorization"]
    for path in (PATH, "/v1/executions"):
        opened = await house.get(f"{path}/{run}/stream", ticket=ticket)
        assert (opened.status_code, opened.headers["x-execution-id"]) == (200, run)
        for closed in (f"{path}/{other}/stream", f"{path}/{run}"):
            assert (await house.get(closed, ticket=ticket)).status_code == 401
        assert (await house.get(f"{path}/{run}/stream", ticket="x")).status_code == 401
        assert (await house.get(f"{path}/{run}/stream", ticket="")).status_code == 401
    clock.advance(LIFE_SECONDS + 1)
    late = await house.get(f"{PATH}/{run}/stream", ticket=ticket)
    assert late.status_code == 401


async def test_a_ticket_is_given_for_what_the_key_may_read(build: Build) -> None:
    house = await build()
    run = (await post(house, user("Hi"))).headers["x-execution-id"]
    tickets, caller = house.core.services.tickets, house.caller
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
        with pytest.raises(Unsealable):
            other.open(purpose, sealed)
    with pytest.raises(Unsealable):
        Seal("", file, clock).open("one", "é")


def test_the_operator_s_secret_needs_no_file(tmp_path: Path) -> None:
    seal = Seal("the operator's", tmp_path / "none" / "secret_key", FakeClock())
    assert seal.open("one", seal.seal("one", 1)) == 1
    assert not (tmp_path / "none").exists()
