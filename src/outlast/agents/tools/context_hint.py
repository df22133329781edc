"""Finds a tool's parameter for the ToolContext, however its type hint is spelt."""

import types
from typing import Annotated, Any, Final, TypeVar, Union, get_args, get_origin

from typing_extensions import TypeAliasType

from outlast.agents.port import ToolContext
from outlast.model.error import Misconfigured

_UNIONS: Final = (Union, types.UnionType)


def is_context(hint: Any, parameter: str) -> bool:
    """Whether a parameter with this hint gets the context: ToolContext, or ToolContext | None.

    `Annotated`, aliases and NewType are resolved. Raises Misconfigured, naming the parameter,
    for a hint that only mentions ToolContext: a subclass, a union with other types, a list of it.
    """
    members = {*_members(hint)}
    if ToolContext in members and members <= {ToolContext, type(None)}:
        return True
    if any(_mentions(member) for member in members):
        raise Misconfigured(
            f"{parameter} is annotated with {_shown(hint)}; annotate it with ToolContext itself to "
            "be given the call's context"
        )
    return False


def _members(hint: Any) -> list[Any]:
    """Return the types of a union, or the hint itself."""
    hint = _plain(hint)
    if get_origin(hint) in _UNIONS:
        return [member for part in get_args(hint) for member in _members(part)]
    return [hint]


def _plain(hint: Any) -> Any:
    """Return the hint without wrappers around the type."""
    while True:
        if get_origin(hint) is Annotated:
            hint = get_args(hint)[0]
        elif isinstance(hint, TypeAliasType):
            hint = hint.__value__
        elif (supertype := getattr(hint, "__supertype__", None)) is not None:
            hint = supertype
        else:
            return hint


def _mentions(hint: Any) -> bool:
    hint = _plain(hint)
    if isinstance(hint, list | tuple):
        return any(map(_mentions, hint))
    if isinstance(hint, TypeVar):
        return any(_mentions(one) for one in (hint.__bound__, *hint.__constraints__))
    if isinstance(hint, type) and not get_args(hint):
        return issubclass(hint, ToolContext)
    return any(map(_mentions, get_args(hint)))


def _shown(hint: Any) -> str:
    return f"{getattr(hint, '__name__', hint) if isinstance(hint, type) else hint}"[:120]
