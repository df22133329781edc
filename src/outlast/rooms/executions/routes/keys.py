"""API keys: create, list, read, revoke; with their models."""

from collections.abc import Sequence
from functools import partial
from typing import Annotated, Final

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from starlette.responses import Response
from typing_extensions import TypedDict

from outlast.http.call import Call, secret_of
from outlast.http.endpoint import IDEMPOTENCY_KEY, Answer, Endpoint
from outlast.http.parameters import Moment, read_id
from outlast.http.replays import mark_replayed
from outlast.http.spool import json_response
from outlast.model.clock import iso, iso_or_none
from outlast.model.error import AgentNotFound, KeyNotFound
from outlast.model.ids import KEY
from outlast.model.workspace import ApiKey, Scope
from outlast.rooms.executions.schemas import CAMEL
from outlast.services.all import Services
from outlast.services.executions import Page
from outlast.services.keys import KeyRequest, NewKey

_KEY: Final = {"keyId": "The key's id."}
_LONGEST_NAME: Final = 256

KeyId = Annotated[str, AfterValidator(partial(read_id, KEY))]


class KeyBody(BaseModel):
    """A new key."""

    model_config = CAMEL | ConfigDict(
        strict=True,
        json_schema_extra={"examples": [{"name": "shop", "scopes": ["agents:execute"]}]},
    )

    name: Annotated[str, Field(min_length=1, max_length=_LONGEST_NAME)]
    scopes: Annotated[
        list[Annotated[Scope, Field(strict=False)]],
        Field(min_length=1, description="What it opens; nothing that the key in use lacks."),
    ]
    agent_id: Annotated[
        str | None, Field(description="The agent of requests that name none, by id or name.")
    ] = None
    expires_at: Annotated[Moment | None, Field(description="It opens nothing from then on.")] = None


class KeysQuery(BaseModel):
    """Page of the keys."""

    model_config = CAMEL

    after: Annotated[KeyId | None, Field(description="Show keys older than this one.")] = None
    before: Annotated[KeyId | None, Field(description="Show keys newer than this one.")] = None
    limit: Annotated[int, Field(ge=1, le=100)] = 20


class Key(TypedDict):
    """An API key without its secret."""

    id: Annotated[str, Field(examples=["key_01k6zj3t7hf2a9q1x5m8r4c0vb"])]
    name: str
    scopes: list[Scope]
    agentId: Annotated[str | None, Field(description="The agent of requests that name none.")]
    createdAt: str
    expiresAt: str | None
    revokedAt: str | None
    lastUsedAt: Annotated[
        str | None, Field(description="To a few minutes; null: never since this is noted.")
    ]


class CreatedKey(Key):
    """A new API key, with its secret, this once."""

    key: Annotated[str, Field(description="The secret; it is not shown again.")]


class KeyPage(TypedDict):
    """A page of the keys, newest first."""

    data: list[Key]
    hasMore: bool
    nextCursor: Annotated[str | None, Field(description="For `after`, or for `before` going back.")]


async def create_key(call: Call, services: Services) -> Response:
    """Create an API key of this workspace and show it, this once.

    A request that is repeated with its Idempotency-Key gets the same key; until then its secret is
    kept encrypted, readable only with the API key of the request. A key outlives the one that made
    it.
    """
    body = await call.body_as(KeyBody)
    promise, own = await call.idempotency(), secret_of(call)
    made = None
    if promise is not None:
        made = await services.keys.repeated(call.principal, promise, own)
    if made is None:
        agent_id = await _agent(call, services, body.agent_id)
        request = KeyRequest(body.name, frozenset(body.scopes), agent_id, body.expires_at)
        made = await services.keys.issue(call.principal, request, promise, own)
    location = {"Location": call.link(f"/v1/keys/{made.key.id}")}
    response = json_response(_created(made), 201, location)
    return mark_replayed(response) if made.replayed else response


async def _agent(call: Call, services: Services, ref: str | None) -> str | None:
    """Return the id of an agent in use. Raises AgentNotFound, MissingScope."""
    if ref is None:
        return None
    try:
        return await services.agents.of_new_key(call.principal, ref)
    except AgentNotFound as error:
        raise AgentNotFound(error.message, param="agentId") from error


async def list_keys(call: Call, services: Services) -> Response:
    """The workspace's keys, newest first, those that are revoked or have expired too."""
    query = call.query_as(KeysQuery)
    page = Page(query.limit, query.after, query.before)
    found, more = await services.keys.page(call.principal, page)
    return json_response(_page(found, more=more, backwards=page.backwards))


async def get_key(call: Call, services: Services) -> Response:
    """One key of the workspace, without its secret."""
    key_id = call.path_id("keyId", KEY, KeyNotFound)
    return json_response(_key(await services.keys.get(call.principal, key_id)))


async def revoke_key(call: Call, services: Services) -> Response:
    """Revoke a key: it is no longer valid and stays in the list; its open streams end.

    Other processes of a fleet notice within a second. A second time changes nothing.
    """
    key_id = call.path_id("keyId", KEY, KeyNotFound)
    await services.keys.withdraw(call.principal, key_id)
    return Response(status_code=204)


def _key(found: ApiKey) -> Key:
    return {
        "id": found.id,
        "name": found.name,
        "scopes": sorted(found.scopes),
        "agentId": found.agent_id,
        "createdAt": iso(found.created_at),
        "expiresAt": iso_or_none(found.expires_at),
        "revokedAt": iso_or_none(found.revoked_at),
        "lastUsedAt": iso_or_none(found.last_used_at),
    }


def _created(made: NewKey) -> CreatedKey:
    return {**_key(made.key), "key": made.secret}


def _page(found: Sequence[ApiKey], *, more: bool, backwards: bool) -> KeyPage:
    last = found[0 if backwards else -1].id if more else None
    return {"data": [_key(one) for one in found], "hasMore": more, "nextCursor": last}


ENDPOINTS: Final = (
    Endpoint(
        "POST",
        "/v1/keys",
        create_key,
        scope=Scope.KEYS_MANAGE,
        name="createKey",
        summary="Create an API key",
        tag="keys",
        headers=(IDEMPOTENCY_KEY,),
        body=KeyBody,
        answers={201: Answer("The key, with its secret.", CreatedKey)},
        errors=(400, 404, 422),
    ),
    Endpoint(
        "GET",
        "/v1/keys",
        list_keys,
        scope=Scope.KEYS_MANAGE,
        name="listKeys",
        summary="List API keys",
        tag="keys",
        query=KeysQuery,
        answers={200: Answer("Newest first.", KeyPage)},
        errors=(400,),
    ),
    Endpoint(
        "GET",
        "/v1/keys/{keyId}",
        get_key,
        scope=Scope.KEYS_MANAGE,
        name="getKey",
        summary="Get an API key",
        tag="keys",
        parameters=_KEY,
        answers={200: Answer("The key.", Key)},
        errors=(404,),
    ),
    Endpoint(
        "DELETE",
        "/v1/keys/{keyId}",
        revoke_key,
        scope=Scope.KEYS_MANAGE,
        name="revokeKey",
        summary="Revoke an API key",
        tag="keys",
        parameters=_KEY,
        answers={204: Answer("It is revoked.")},
        errors=(404,),
    ),
)
