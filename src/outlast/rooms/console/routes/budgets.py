"""Budgets: the list, and one of them, which is set and removed here."""

from typing import Final

from starlette.responses import RedirectResponse, Response

from outlast.http.call import Call
from outlast.model.budget import Bounds, Period
from outlast.model.error import BudgetNotFound, InvalidField
from outlast.model.price import NANO
from outlast.model.workspace import Scope
from outlast.rooms.console.render.budgets import (
    BOUNDS,
    ShownBudget,
    empty_budget,
    shown_budget,
)
from outlast.rooms.console.render.commands import commands
from outlast.rooms.console.render.frame import ROOT
from outlast.rooms.console.render.page import page
from outlast.rooms.console.routes.endpoints import page_at
from outlast.rooms.console.routes.forms import Form, form_of
from outlast.services.all import Services
from outlast.services.budgets import BudgetPage, SetBudget, owner_of

_ROWS: Final = 50
_LONGEST_ZONE: Final = 64
_READ: Final = Scope.EXECUTIONS_READ
_MANAGE: Final = Scope.KEYS_MANAGE


async def budgets(call: Call, services: Services) -> Response:
    """The budgets by owner, each with how much of it is left."""
    after = call.query_params.get("after", "") or None
    found, more = await services.budgets.page(call.principal, BudgetPage(_ROWS, after))
    return page(
        call,
        "budgets.html",
        rows=[shown_budget(one, call.principal.workspace_id) for one in found],
        older=found[-1].owner if more and found else "",
        is_first=after is None,
        workspace=call.principal.workspace_id,
        may_manage=_MANAGE in call.principal.scopes,
        problem="",
        now=services.clock.now(),
    )


async def named(call: Call, services: Services) -> Response:
    """Leads to the budget of the owner that a field names."""
    del services
    owner = owner_of(call.principal, call.query_params.get("owner", "").strip())
    return RedirectResponse(call.link(f"{ROOT}/budgets/{owner}"), 303)


async def budget(call: Call, services: Services) -> Response:
    """One budget, or the form that sets one where there is none."""
    return await _shown(call, services)


async def set_budget(call: Call, services: Services) -> Response:
    """Sets the budget as a whole, or removes it."""
    form, owner = await form_of(call), _owner(call)
    if form.get("do") == "remove":
        await services.budgets.remove(call.principal, owner)
        return RedirectResponse(call.link(f"{ROOT}/budgets"), 303)
    try:
        await services.budgets.set(call.principal, owner, _wanted(form))
    except InvalidField as error:
        return await _shown(call, services, form=form, problem=error.message, status=422)
    return RedirectResponse(call.link(f"{ROOT}/budgets/{owner}"), 303)


async def _shown(
    call: Call,
    services: Services,
    *,
    form: Form | None = None,
    problem: str = "",
    status: int = 200,
) -> Response:
    owner, own = _owner(call), call.principal.workspace_id
    try:
        found = shown_budget(await services.budgets.get(call.principal, owner), own)
    except BudgetNotFound:
        found = empty_budget(owner, own)
    fields = {name: value for name, _, value in found.fields}
    fields |= {"period": found.period, "zone": found.zone}
    if form is not None:
        fields = {name: form.get(name) for name in fields}
    return page(
        call,
        "budget.html",
        status,
        found=found,
        fields=fields,
        periods=[one.value for one in Period],
        problem=problem,
        may_manage=_MANAGE in call.principal.scopes,
        code=commands(call, _offered(call, found), owner=_named(found)),
        now=services.clock.now(),
    )


def _named(found: ShownBudget) -> str:
    """Return the owner as requests name it."""
    return "workspace" if found.is_workspace else found.owner


def _offered(call: Call, found: ShownBudget) -> list[str]:
    """Return the actions that the page offers."""
    if not found.may_change or _MANAGE not in call.principal.scopes:
        return []
    return ["set_budget", "remove_budget"] if found.exists else ["set_budget"]


def _owner(call: Call) -> str:
    return owner_of(call.principal, call.path_text("owner", BudgetNotFound))


def _wanted(form: Form) -> SetBudget:
    """Return the budget of a form. Raises InvalidField."""
    given = {name: form.number(name, word) for name, word in BOUNDS.items()}
    credits_, seconds = given["credits"], given["seconds"]
    bounds = Bounds(
        None if given["tokens"] is None else int(given["tokens"]),
        None if credits_ is None else round(credits_ * NANO),
        None if given["steps"] is None else int(given["steps"]),
        None if seconds is None else round(seconds * 1000),
    )
    if not bounds:
        raise InvalidField("A budget has at least one bound.", param="credits")
    period = form.get("period")
    if period not in set(Period):
        raise InvalidField("This is no period.", param="period")
    return SetBudget(bounds, Period(period), form.get("zone").strip()[:_LONGEST_ZONE] or "UTC")


PAGES: Final = (
    page_at("/budgets", budgets, "Budgets", scope=_READ),
    page_at("/budget", named, "NamedBudget", scope=_READ),
    page_at("/budgets/{owner}", budget, "Budget", scope=_READ),
    page_at("/budgets/{owner}", set_budget, "SetBudget", scope=_MANAGE, method="POST"),
)
