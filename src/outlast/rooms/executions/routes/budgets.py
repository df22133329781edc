"""Budgets: list, read, set, remove; with their models."""

from enum import StrEnum
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response
from typing_extensions import TypedDict

from outlast.http.call import Call
from outlast.http.endpoint import Answer, Endpoint
from outlast.http.spool import json_response
from outlast.model.budget import MOST_BOUND, Amounts, Bounds, BudgetKind, OwnedBudget, Period
from outlast.model.clock import iso, iso_or_none
from outlast.model.error import BudgetNotFound, InvalidField
from outlast.model.price import NANO, credits_of
from outlast.model.workspace import Scope
from outlast.rooms.executions.schemas import CAMEL
from outlast.services.all import Services
from outlast.services.budgets import BudgetPage, SetBudget

_OWNER: Final = {"owner": "`workspace`, or the id of a key, a conversation or an execution."}
_MOST_TOKENS: Final = 10**15
_LONGEST_ZONE: Final = 64


class Kind(StrEnum):
    """Whose budgets are listed."""

    WORKSPACE = "workspace"
    KEY = "key"
    CONVERSATION = "conversation"
    TREE = "tree"


_KINDS: Final = {kind: BudgetKind[kind.name] for kind in Kind}
_NAMES: Final = {known: kind for kind, known in _KINDS.items()}


class SetBudgetBody(BaseModel):
    """The whole budget of an owner: at least one bound; those left out, or null, are none."""

    model_config = CAMEL | ConfigDict(
        strict=True,
        json_schema_extra={"examples": [{"maxCredits": 500, "period": "month"}]},
    )

    max_tokens: Annotated[int, Field(ge=0, le=_MOST_TOKENS)] | None = None
    max_credits: Annotated[float, Field(ge=0, le=MOST_BOUND)] | None = None
    max_steps: Annotated[int, Field(ge=0, le=_MOST_TOKENS)] | None = None
    max_seconds: Annotated[
        Annotated[float, Field(ge=0, le=MOST_BOUND)] | None,
        Field(description="Time in which anything works; of keys and the workspace, all of it."),
    ] = None
    period: Annotated[
        Annotated[Period, Field(strict=False)],
        Field(description="How often it begins anew."),
    ] = Period.NONE
    time_zone: Annotated[
        str,
        Field(
            max_length=_LONGEST_ZONE, description="Where days and months begin.", examples=["UTC"]
        ),
    ] = "UTC"


class BudgetsQuery(BaseModel):
    """Page of the budgets."""

    model_config = CAMEL

    kind: Annotated[Kind | None, Field(description="Budgets of these owners only.")] = None
    after: Annotated[
        str | None, Field(max_length=128, description="`nextCursor` of the page before.")
    ] = None
    limit: Annotated[int, Field(ge=1, le=100)] = 20


class BudgetAmounts(TypedDict):
    """Tokens, credits, steps and seconds; null where there is no bound."""

    tokens: int | None
    credits: float | None
    steps: int | None
    seconds: float | None


class BudgetObject(TypedDict):
    """A budget, and what is left of it in the current period."""

    owner: Annotated[str, Field(examples=["ws_01k6zj3t7hf2a9q1x5m8r4c0vb"])]
    kind: Kind
    max: Annotated[BudgetAmounts, Field(description="The bounds.")]
    spent: BudgetAmounts
    reserved: Annotated[
        BudgetAmounts, Field(description="What requests and tool calls that run may cost.")
    ]
    remaining: Annotated[
        BudgetAmounts, Field(description="Neither spent nor reserved; null without a bound.")
    ]
    period: Period
    timeZone: str
    startsAt: Annotated[str | None, Field(description="Start of the period; null without one.")]
    resetsAt: Annotated[str | None, Field(description="Start of the next period.")]


class BudgetList(TypedDict):
    """A page of the budgets, by owner."""

    data: list[BudgetObject]
    hasMore: bool
    nextCursor: Annotated[str | None, Field(description="For `after`.")]


async def list_budgets(call: Call, services: Services) -> Response:
    """The workspace's budgets by owner: its own, and those of keys, conversations and trees.

    An execution with a `budget` that has called no agent is in no list.
    """
    query = call.query_as(BudgetsQuery)
    kind = None if query.kind is None else _KINDS[query.kind]
    page = BudgetPage(query.limit, query.after, kind)
    found, more = await services.budgets.page(call.principal, page)
    last = found[-1].owner if more else None
    answer: BudgetList = {
        "data": [_budget(one) for one in found],
        "hasMore": more,
        "nextCursor": last,
    }
    return json_response(answer)


async def get_budget(call: Call, services: Services) -> Response:
    """One budget by its owner, also the `budget` of an execution's request."""
    owner = call.path_text("owner", BudgetNotFound)
    return json_response(_budget(await services.budgets.get(call.principal, owner)))


async def set_budget(call: Call, services: Services) -> Response:
    """Set the budget of the workspace, a key or a conversation; the whole of it, at once.

    What was spent earlier in the period counts: tokens and credits by the ledger, steps and seconds
    from when a budget was first set. Executions that run now spend from it too, from their next
    step on. The body `null` removes it.
    """
    owner = call.path_text("owner", BudgetNotFound)
    if (await call.content()).strip() == b"null":
        await services.budgets.remove(call.principal, owner)
        return Response(status_code=204)
    wanted = _wanted(await call.body_as(SetBudgetBody))
    return json_response(_budget(await services.budgets.set(call.principal, owner, wanted)))


async def remove_budget(call: Call, services: Services) -> Response:
    """Remove a budget: nothing bounds its owner any more. A second time changes nothing."""
    owner = call.path_text("owner", BudgetNotFound)
    await services.budgets.remove(call.principal, owner)
    return Response(status_code=204)


def _wanted(body: SetBudgetBody) -> SetBudget:
    credits_, seconds = body.max_credits, body.max_seconds
    bounds = Bounds(
        body.max_tokens,
        None if credits_ is None else round(credits_ * NANO),
        body.max_steps,
        None if seconds is None else round(seconds * 1000),
    )
    if not bounds:
        raise InvalidField("A budget needs a bound; DELETE removes it.", param="maxCredits")
    return SetBudget(bounds, body.period, body.time_zone)


def _budget(found: OwnedBudget) -> BudgetObject:
    periodic = found.period is not Period.NONE
    return {
        "owner": found.owner,
        "kind": _NAMES[found.kind],
        "max": _bounds(found.bounds),
        "spent": _amounts(found.spent, found.spent_millis),
        "reserved": _amounts(found.reserved, 0),
        "remaining": _bounds(found.remaining),
        "period": found.period,
        "timeZone": found.zone,
        "startsAt": iso(found.starts_at) if periodic else None,
        "resetsAt": iso_or_none(found.resets_at),
    }


def _amounts(found: Amounts, millis: int) -> BudgetAmounts:
    return {
        "tokens": found.tokens,
        "credits": credits_of(found.credits),
        "steps": found.steps,
        "seconds": millis / 1000,
    }


def _bounds(found: Bounds) -> BudgetAmounts:
    return {
        "tokens": found.tokens,
        "credits": None if found.credits is None else credits_of(found.credits),
        "steps": found.steps,
        "seconds": None if found.millis is None else found.millis / 1000,
    }


ENDPOINTS: Final = (
    Endpoint(
        "GET",
        "/v1/budgets",
        list_budgets,
        scope=Scope.EXECUTIONS_READ,
        name="listBudgets",
        summary="List budgets",
        tag="budgets",
        query=BudgetsQuery,
        answers={200: Answer("By owner.", BudgetList)},
        errors=(400,),
    ),
    Endpoint(
        "GET",
        "/v1/budgets/{owner}",
        get_budget,
        scope=Scope.EXECUTIONS_READ,
        name="getBudget",
        summary="Get a budget",
        tag="budgets",
        parameters=_OWNER,
        answers={200: Answer("The budget.", BudgetObject)},
        errors=(404,),
    ),
    Endpoint(
        "PUT",
        "/v1/budgets/{owner}",
        set_budget,
        scope=Scope.KEYS_MANAGE,
        name="setBudget",
        summary="Set a budget",
        tag="budgets",
        parameters=_OWNER,
        body=SetBudgetBody,
        answers={200: Answer("The budget.", BudgetObject), 204: Answer("It is removed.")},
        errors=(400, 404, 409, 422),
    ),
    Endpoint(
        "DELETE",
        "/v1/budgets/{owner}",
        remove_budget,
        scope=Scope.KEYS_MANAGE,
        name="removeBudget",
        summary="Remove a budget",
        tag="budgets",
        parameters=_OWNER,
        answers={204: Answer("There is none.")},
        errors=(404, 409),
    ),
)
