"""The principal in a request's scope, for code without a Call."""

from starlette.types import Scope

from outlast.model.workspace import Principal

_PRINCIPAL = "outlast.principal"


def note_principal(scope: Scope, principal: Principal) -> None:
    """Store the request's principal."""
    scope[_PRINCIPAL] = principal


def principal_of(scope: Scope) -> Principal | None:
    """Return the request's principal; None before authentication."""
    found: Principal | None = scope.get(_PRINCIPAL)
    return found
