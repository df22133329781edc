"""The kind `builtin`: the tools included in Outlast."""

from collections.abc import Iterator
from typing import Any, Final, Literal

from outlast.agents.port import ToolContext
from outlast.agents.problem import Problem
from outlast.agents.tools.builtin import BUILTINS, builtin_spec, call_builtin
from outlast.agents.tools.kind import Draft, Resources, ToolEntry, ToolKind
from outlast.model.agent import ToolSpec


class BuiltinRunner:
    """Runs builtin tools."""

    def __init__(self, resources: Resources) -> None:
        self._clock = resources.clock

    async def call(self, spec: ToolSpec, arguments: dict[str, Any], _context: ToolContext) -> Any:
        assert spec.builtin is not None
        return call_builtin(spec.builtin, arguments, self._clock)

    async def warm_up(self) -> None:
        pass

    async def close(self) -> None:
        pass


def _make(_entry: ToolEntry, name: str, _draft: Draft) -> ToolSpec:
    return builtin_spec(name)


def _problems(spec: ToolSpec) -> Iterator[Problem]:
    if spec.builtin not in BUILTINS:
        yield Problem((), f"there is no builtin tool {spec.builtin!r}")


BUILTIN: Final = ToolKind(
    "builtin",
    Literal["calculator", "datetime"],
    _make,
    BuiltinRunner,
    problems=_problems,
    own_keys=("parameters", "effect", "timeout"),
)
