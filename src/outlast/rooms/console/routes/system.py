"""The server: its processes, database, versions and settings; and the keys of the workspace."""

from typing import Final

from starlette.responses import RedirectResponse, Response

from outlast.http.call import Call
from outlast.model.error import InvalidId, KeyNotFound
from outlast.model.ids import KEY, parse
from outlast.model.workspace import Scope
from outlast.rooms.console.render.commands import commands
from outlast.rooms.console.render.frame import ROOT
from outlast.rooms.console.render.page import page
from outlast.rooms.console.render.system import facts, found_of, shown_settings
from outlast.rooms.console.routes.endpoints import page_at
from outlast.services.all import Services
from outlast.services.executions import Page

_ROWS: Final = 50
_MANAGE: Final = Scope.KEYS_MANAGE


async def system(call: Call, services: Services) -> Response:
    """What the server is and does, to keys of the operator's workspace; its version to others."""
    seen = await services.system.seen(call.principal)
    return page(
        call,
        "system.html",
        seen=seen,
        facts=facts(seen, call.app.state.version),
        settings=shown_settings(services.system.settings) if seen.operator else [],
        found=[] if seen.examined is None else found_of(seen.examined, services.system.settings),
        now=services.clock.now(),
    )


async def examine(call: Call, services: Services) -> Response:
    """Examines the server as `outlast doctor` does, and leads back to what was found."""
    await services.system.examine(call.principal)
    return RedirectResponse(call.link(f"{ROOT}/system#examined"), 303)


async def keys(call: Call, services: Services) -> Response:
    """The keys of the workspace, newest first."""
    after = call.query_params.get("after", "")
    try:
        start = parse(KEY, after) if after else None
    except InvalidId:
        start = None
    found, more = await services.keys.page(call.principal, Page(_ROWS, start))
    return page(
        call,
        "keys.html",
        keys=found,
        older=found[-1].id if more and found else "",
        is_first=start is None,
        own=call.principal.key_id,
        now=services.clock.now(),
    )


async def key(call: Call, services: Services) -> Response:
    """One key, and the form that revokes it."""
    found = await services.keys.get(call.principal, _key_id(call))
    own = found.id == call.principal.key_id
    code = commands(call, [] if found.revoked_at else ["revoke"], key=found.id)
    return page(call, "key.html", key=found, own=own, code=code, now=services.clock.now())


async def revoke(call: Call, services: Services) -> Response:
    """Revokes a key at once and for good."""
    await services.keys.withdraw(call.principal, _key_id(call))
    return RedirectResponse(call.link(f"{ROOT}/system/keys"), 303)


def _key_id(call: Call) -> str:
    return call.path_id("keyId", KEY, KeyNotFound)


PAGES: Final = (
    page_at("/system", system, "System", scope=_MANAGE),
    page_at("/system/examine", examine, "ExamineSystem", scope=_MANAGE, method="POST"),
    page_at("/system/keys", keys, "Keys", scope=_MANAGE),
    page_at("/system/keys/{keyId}", key, "Key", scope=_MANAGE),
    page_at("/system/keys/{keyId}/revoke", revoke, "RevokeKey", scope=_MANAGE, method="POST"),
)
