"""What a request's scope carries for those who have no Call: its principal."""

from starlette.types import Scope

from outlast.model.workspace import Principal

_PRINCIPAL = "outlast.principal"


def note_principal(scope: Scope, principal: Principal) -> None:
    """Say who makes the request."""
    scope[_PRINCIPAL] = principal


def principal_of(scope: Scope) -> Principal | None:
    """Who makes the request; None before that is known."""
    found: Principal | None = scope.get(_PRINCIPAL)
    return found
