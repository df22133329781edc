"""Checks at start: settings and agents that cannot work."""

import asyncio
from collections.abc import Sequence

import structlog

from outlast.agents.loader import LoadedAgents
from outlast.agents.readiness import NotReady, is_slow, not_ready, tools_not_ready
from outlast.app import Core
from outlast.cli.composition import environment_of
from outlast.model.error import Misconfigured
from outlast.services.machine import check_environment

logger = structlog.get_logger(__name__)


def check(core: Core, loaded: LoadedAgents, *, worker: bool, strict: bool) -> None:
    """Warn about what would fail later; with `strict` refuse to start.

    A process that runs no executions needs no models and no variables of tools. Raises
    Misconfigured with all problems found.
    """
    specs = loaded.specs if worker else ()
    prompt = specs if strict else [spec for spec in specs if not is_slow(spec, core.models)]
    environ = environment_of(core.settings)
    found = list(not_ready(prompt, core.models, environ))
    if not strict:
        for spec in specs:
            if is_slow(spec, core.models):
                found += tools_not_ready(spec, environ)
    strange = check_environment()
    if strict and (found or strange):
        lines = [*map(str, found), *strange]
        raise Misconfigured("\n".join(["The start is refused (--strict):", *lines]))
    for text in strange:
        logger.warning("setting.unknown", problem=text)
    warn(found)


async def check_slow(core: Core, loaded: LoadedAgents) -> None:
    """Create models whose SDKs take seconds to import, in a thread, and warn about failures."""
    models, environ = core.models, environment_of(core.settings)
    slow = [spec for spec in loaded.specs if is_slow(spec, models)]
    warn(await asyncio.to_thread(lambda: list(not_ready(slow, models, environ))))


def warn(found: Sequence[NotReady]) -> None:
    """Warn about each agent that could not run."""
    for one in found:
        logger.warning("agent.not_ready", agent=one.agent, problem=one.problem)
