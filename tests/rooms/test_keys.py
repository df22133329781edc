"""API keys over HTTP: what they may give, who sees them, what becomes of their secret."""

import asyncio
from typing import Any

import httpx2
import pytest

from outlast.model.clock import SystemClock, iso
from outlast.model.error import Unauthenticated
from outlast.model.workspace import ApiKey, Scope
from outlast.services.keys import Keys
from outlast.store.keys import KeyStore
from outlast.testing import FakeClock, NamedModels
from tests.rooms.conftest import MakeApi
from tests.support.api import Api
from tests.support.databases import Database
from tests.support.waiting import BOUND

pytestmark = pytest.mark.anyio

PATH = "/v1/keys"
READER = {"name": "reader", "scopes": ["agents:read"]}
ONCE = {"Idempotency-Key": "once"}


async def made(api: Api, headers: dict[str, str] | None = None, **more: Any) -> dict[str, Any]:
    answer = await api.client.post(PATH, json=READER | more, headers=headers)
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


def by(secret: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {secret}"}


async def key_of(api: Api, *scopes: Scope, workspace: str | None = None) -> dict[str, str]:
    """The header of a key with these scopes."""
    owner = workspace or api.caller.workspace_id
    created = await api.core.services.keys.create(owner, "some", frozenset(scopes))
    return by(created.secret)


def refusal(answer: httpx2.Response) -> tuple[int, str, str | None]:
    error = answer.json()["error"]
    return answer.status_code, error["code"], error["param"]


async def test_a_new_key_opens_what_it_was_given_and_nothing_else(api: Api) -> None:
    key = await made(api)
    assert key["scopes"] == ["agents:read"]
    assert (await api.client.get("/v1/agents", headers=by(key["key"]))).status_code == 200
    refused = await api.client.get("/v1/executions", headers=by(key["key"]))
    assert refusal(refused) == (403, "insufficient_scope", None)


async def test_a_secret_is_shown_once_and_a_hash_never(
    make_api: MakeApi, database: Database
) -> None:
    api = await make_api()
    key = await made(api, ONCE)
    (row,) = database.rows(f"SELECT hash FROM keys WHERE id = '{key['id']}'")
    for path in (PATH, f"{PATH}/{key['id']}"):
        text = (await api.get(path)).text
        assert key["id"] in text
        assert key["key"] not in text
        assert row[0] not in text
        assert "hash" not in text


async def test_a_new_key_is_where_its_location_says(api: Api) -> None:
    answer = await api.client.post(PATH, json=READER)
    shown = {name: value for name, value in answer.json().items() if name != "key"}
    assert (await api.get(answer.headers["location"])).json() == shown


@pytest.mark.parametrize("own", [(Scope.KEYS_MANAGE,), (Scope.KEYS_MANAGE, Scope.EXECUTIONS_READ)])
async def test_a_key_gives_no_scope_that_it_lacks(api: Api, own: tuple[Scope, ...]) -> None:
    headers = await key_of(api, *own)
    for scopes in (["agents:read"], [*own, "agents:execute"], sorted(Scope)):
        answer = await api.client.post(
            PATH, json={"name": "more", "scopes": scopes}, headers=headers
        )
        assert refusal(answer) == (403, "insufficient_scope", "scopes")
    answer = await api.client.post(PATH, json={"name": "same", "scopes": own}, headers=headers)
    assert answer.status_code == 201


@pytest.mark.parametrize("agent", ["agent", "unknown", "agt_01kj9pwe00e008000000000003", "{id}"])
async def test_a_key_learns_of_no_agent_by_naming_it_in_a_new_key(api: Api, agent: str) -> None:
    ref = agent.format(id=(await api.get("/v1/agents")).json()["data"][0]["id"])
    body = {"name": "more", "scopes": ["keys:manage"], "agentId": ref}
    blind = await key_of(api, Scope.KEYS_MANAGE, Scope.EXECUTIONS_READ)
    answer = await api.client.post(PATH, json=body, headers=blind)
    assert refusal(answer) == (403, "insufficient_scope", "agentId")
    for scope in (Scope.AGENTS_READ, Scope.AGENTS_EXECUTE):
        seeing = await key_of(api, Scope.KEYS_MANAGE, scope)
        known = await api.client.post(PATH, json=body, headers=seeing)
        assert known.status_code == (201 if agent in ("agent", "{id}") else 404)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({}, (400, "missing_required_field", "name")),
        ({"name": "a"}, (400, "missing_required_field", "scopes")),
        ({"name": "", "scopes": ["agents:read"]}, (422, "invalid_field_value", "name")),
        ({"name": "a" * 257, "scopes": ["agents:read"]}, (422, "invalid_field_value", "name")),
        ({"name": "a", "scopes": []}, (422, "invalid_field_value", "scopes")),
        ({"name": "a", "scopes": "agents:read"}, (422, "invalid_field_value", "scopes")),
        ({"name": "a", "scopes": ["agents:own"]}, (422, "invalid_field_value", "scopes.0")),
        ({"name": "a", "scopes": ["agents:read", 7]}, (422, "invalid_field_value", "scopes.1")),
        (READER | {"agentId": "unknown"}, (404, "agent_not_found", "agentId")),
        (READER | {"agentId": 7}, (422, "invalid_field_value", "agentId")),
        (READER | {"expiresAt": "2020-01-01"}, (422, "invalid_field_value", "expiresAt")),
        *(
            (READER | {"expiresAt": text}, (422, "invalid_field_value", "expiresAt"))
            for text in (
                "9999-12-31T23:59:59-14:00",
                "9999-12-31T23:59:00-00:01",
                "0001-01-01T00+14",
            )
        ),
        (READER | {"expiresAt": "soon"}, (422, "invalid_field_value", "expiresAt")),
        (READER | {"expiresAt": 7}, (422, "invalid_field_value", "expiresAt")),
    ],
)
async def test_a_key_that_cannot_be_is_refused_by_its_field(
    api: Api, body: dict[str, Any], expected: tuple[int, str, str]
) -> None:
    assert refusal(await api.client.post(PATH, json=body)) == expected
    assert len((await api.get(PATH)).json()["data"]) == 1


async def test_a_key_may_expire_in_the_last_moment_that_can_be_written(api: Api) -> None:
    last = "9999-12-31T23:59:59.999Z"
    assert (await made(api, expiresAt=last))["expiresAt"] == last
    assert (await api.get(PATH)).json()["data"][0]["expiresAt"] == last


async def test_an_unknown_field_of_a_new_key_is_named_in_a_warning(api: Api) -> None:
    answer = await api.client.post(PATH, json=READER | {"colour": "red"})
    assert answer.headers["outlast-warning"] == "unknown: colour"
    strict = await api.client.post(f"{PATH}?strict=true", json=READER | {"colour": "red"})
    assert refusal(strict) == (422, "invalid_field_value", "colour")


@pytest.mark.parametrize("by_name", [True, False])
async def test_a_keys_agent_is_the_agent_of_requests_that_name_none(
    api: Api, by_name: bool
) -> None:
    agent = (await api.get("/v1/agents/agent")).json()
    key = await made(api, scopes=["agents:execute"], agentId="agent" if by_name else agent["id"])
    assert key["agentId"] == agent["id"]
    known = await api.core.services.keys.authenticate(key["key"])
    assert known.agent_id == agent["id"]


async def test_a_key_opens_nothing_from_the_moment_that_it_expires(make_api: MakeApi) -> None:
    clock = FakeClock(1_773_570_600_000)
    api = await make_api(clock=clock)
    key = await made(api, expiresAt="2026-03-15T10:31:00Z")
    assert (await api.client.get("/v1/agents", headers=by(key["key"]))).status_code == 200
    clock.advance(60)
    expired = await api.client.get("/v1/agents", headers=by(key["key"]))
    assert refusal(expired) == (401, "expired_api_key", None)


async def test_a_revoked_key_opens_nothing_at_once_and_stays_in_the_list(api: Api) -> None:
    key = await made(api)
    one = f"{PATH}/{key['id']}"
    assert (await api.client.get("/v1/agents", headers=by(key["key"]))).status_code == 200
    for _ in range(2):
        assert (await api.client.delete(one)).status_code == 204
        answer = await api.client.get("/v1/agents", headers=by(key["key"]))
        assert refusal(answer) == (401, "invalid_api_key", None)
    revoked = (await api.get(one)).json()["revokedAt"]
    assert revoked is not None
    assert [one["revokedAt"] for one in (await api.get(PATH)).json()["data"]] == [revoked, None]


class HeldBack(KeyStore):
    """Has read a key by its secret long before it says so."""

    def __init__(self, store: KeyStore) -> None:
        super().__init__(store._driver)
        self.has_read, self.says = asyncio.Event(), asyncio.Event()

    async def by_hash(self, secret_hash: str) -> ApiKey | None:
        found = await super().by_hash(secret_hash)
        self.has_read.set()
        await self.says.wait()
        return found


async def test_a_key_that_is_read_while_it_is_revoked_opens_nothing_after(api: Api) -> None:
    store = HeldBack(api.core.store.keys)
    keys = Keys(store, SystemClock())
    made = await keys.create(api.caller.workspace_id, "some")
    async with asyncio.timeout(BOUND):
        before = asyncio.create_task(keys.authenticate(made.secret))
        await store.has_read.wait()
        await keys.revoke(api.caller.workspace_id, made.key.id)
        store.says.set()
        await before
        with pytest.raises(Unauthenticated):
            await keys.authenticate(made.secret)


async def test_a_key_may_revoke_itself(api: Api) -> None:
    key = await made(api, scopes=["keys:manage"])
    answer = await api.client.delete(f"{PATH}/{key['id']}", headers=by(key["key"]))
    assert answer.status_code == 204
    assert (await api.client.get(PATH, headers=by(key["key"]))).status_code == 401


async def test_keys_of_another_workspace_are_not_there(api: Api) -> None:
    key = await made(api)
    other = await api.core.services.workspaces.put("other")
    stranger = await key_of(api, *Scope, workspace=other.id)
    one = f"{PATH}/{key['id']}"
    for method in ("GET", "DELETE"):
        answer = await api.client.request(method, one, headers=stranger)
        assert refusal(answer) == (404, "key_not_found", None)
    listed = (await api.client.get(PATH, headers=stranger)).json()["data"]
    assert key["id"] not in [found["id"] for found in listed]
    theirs = await api.client.post(PATH, json=READER | {"agentId": "agent"}, headers=stranger)
    assert refusal(theirs) == (404, "agent_not_found", "agentId")
    assert (await api.get(one)).json()["revokedAt"] is None


@pytest.mark.parametrize("path", ["none", "key_none", "exec_01k6zj3t7hf2a9q1x5m8r4c0vb"])
async def test_what_is_no_keys_id_is_not_there(api: Api, path: str) -> None:
    for method in ("GET", "DELETE"):
        answer = await api.client.request(method, f"{PATH}/{path}")
        assert refusal(answer) == (404, "key_not_found", None)


async def test_keys_page_both_ways_newest_first(api: Api) -> None:
    ids = [(await made(api, name=f"k{number}"))["id"] for number in range(5)][::-1]
    first = (await api.get(PATH, limit=2)).json()
    assert [one["id"] for one in first["data"]] == ids[:2]
    assert (first["hasMore"], first["nextCursor"]) == (True, ids[1])
    second = (await api.get(PATH, limit=2, after=ids[1])).json()
    assert [one["id"] for one in second["data"]] == ids[2:4]
    back = (await api.get(PATH, limit=2, before=ids[4])).json()
    assert [one["id"] for one in back["data"]] == ids[2:4]
    assert back["nextCursor"] == ids[2]
    last = (await api.get(PATH, limit=100, after=ids[3])).json()
    assert (last["data"][0]["id"], last["hasMore"], last["nextCursor"]) == (ids[4], False, None)


@pytest.mark.parametrize("query", ["after=none", "before=exec_1", "limit=0", "limit=101"])
async def test_a_page_of_keys_that_cannot_be_is_refused_by_its_parameter(
    api: Api, query: str
) -> None:
    answer = await api.client.get(f"{PATH}?{query}")
    assert refusal(answer) == (400, "invalid_field_value", query.partition("=")[0])


# --- repeated requests


async def test_a_repeated_request_gets_the_first_key_with_its_secret(api: Api) -> None:
    first = await api.client.post(PATH, json=READER, headers=ONCE)
    again = await api.client.post(PATH, json=READER, headers=ONCE)
    assert (again.status_code, again.content) == (201, first.content)
    assert again.headers["location"] == first.headers["location"]
    assert again.headers["idempotency-replayed"] == "true"
    assert len((await api.get(PATH)).json()["data"]) == 2
    other = await api.client.post(PATH, json=READER | {"name": "b"}, headers=ONCE)
    assert refusal(other)[:2] == (422, "idempotency_mismatch")


async def test_repeated_requests_at_once_make_one_key(api: Api) -> None:
    answers = await asyncio.gather(
        *(api.client.post(PATH, json=READER, headers=ONCE) for _ in range(8))
    )
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.content for answer in answers}) == 1
    assert len([one for one in answers if "idempotency-replayed" not in one.headers]) == 1
    assert len((await api.get(PATH)).json()["data"]) == 2


async def test_a_repeated_request_gets_the_first_answer_though_it_could_not_be_made_now(
    make_api: MakeApi,
) -> None:
    clock = FakeClock(1_773_570_600_000)
    api = await make_api(clock=clock)
    body = READER | {"expiresAt": "2026-03-15T10:31:00Z"}
    first = await api.client.post(PATH, json=body, headers=ONCE)
    await api.client.delete(f"{PATH}/{first.json()['id']}")
    clock.advance(3600)
    again = await api.client.post(PATH, json=body, headers=ONCE)
    assert (again.status_code, again.content) == (201, first.content)
    clock.advance(24 * 3600)
    assert refusal(await api.client.post(PATH, json=body, headers=ONCE))[0] == 422


async def test_no_secret_is_in_the_database_in_clear(make_api: MakeApi, database: Database) -> None:
    api = await make_api()
    key = await made(api, ONCE)
    kept = database.rows("SELECT * FROM idempotency")
    assert [row for row in kept if key["id"] in row]
    everything = str([*kept, *database.rows("SELECT * FROM keys")])
    assert key["key"] not in everything
    assert key["key"].removeprefix("sk_outlast_") not in everything


async def test_another_key_with_the_same_idempotency_key_makes_a_key_of_its_own(
    api: Api,
) -> None:
    first = await made(api, ONCE)
    other = await key_of(api, *Scope)
    assert (await made(api, ONCE | other))["id"] != first["id"]


async def test_a_key_says_to_some_minutes_when_it_was_last_used(api: Api) -> None:
    key = await made(api)
    assert key["lastUsedAt"] is None
    clock = FakeClock()
    keys = Keys(api.core.store.keys, clock)

    async def used() -> str | None:
        """Use the key; what is shown once that is noted."""
        await keys.authenticate(key["key"])
        await keys.note_uses()
        shown: str | None = (await api.get(f"{PATH}/{key['id']}")).json()["lastUsedAt"]
        return shown

    first = clock.now()
    assert await used() == iso(first)
    clock.advance(4 * 60)
    assert await used() == iso(first)
    clock.advance(2 * 60)
    assert await used() == iso(clock.now())
    later = Keys(api.core.store.keys, FakeClock())  # a process whose clock is behind
    await later.authenticate(key["key"])
    await later.note_uses()
    listed = (await api.get(PATH)).json()["data"]
    assert [one["lastUsedAt"] for one in listed if one["id"] == key["id"]] == [iso(clock.now())]
    await keys.revoke(api.caller.workspace_id, key["id"])
    clock.advance(60 * 60)
    with pytest.raises(Unauthenticated):
        await keys.authenticate(key["key"])
    await keys.note_uses()
    assert (await api.get(f"{PATH}/{key['id']}")).json()["lastUsedAt"] != iso(clock.now())


async def test_a_server_that_leaves_notes_which_keys_were_used(database: Database) -> None:
    async with database.core(models=NamedModels({})) as core:
        workspace = await core.services.workspaces.put("default")
        key = await core.services.keys.create(workspace.id, "some")
        await core.services.keys.authenticate(key.secret)
    ((at,),) = database.rows(f"SELECT last_used_at FROM keys WHERE id = '{key.key.id}'")
    assert at >= key.key.created_at
