"""What an MCP server lists, and the tools that an agent has of it."""

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import orjson
import structlog

from outlast.agents.mcp.server import KEY, McpServer
from outlast.agents.tools.arguments import InvalidSchema, check_schema
from outlast.model.agent import SOURCE_SEPARATOR, Effect, ToolSpec
from outlast.model.json_depth import is_too_deep
from outlast.model.text import shortened, storable

MAX_TOOLS: Final = 1000
"""Maximum tools that a server may list."""
MAX_NAME: Final = 64
_ODD: Final = re.compile(r"[^a-zA-Z0-9_-]")
_DIGITS: Final = 8
"""Hexadecimal digits of a name's digest."""
_DESCRIPTION_BYTES: Final = 8_192
_SCHEMA_BYTES: Final = 65_536

logger = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class ListedTool:
    """One tool as the server lists it."""

    name: str
    description: str
    parameters: dict[str, Any]
    effect: Effect
    """By its annotations; DESTRUCTIVE if they say nothing."""


@dataclass(frozen=True, slots=True)
class Listing:
    """A server's tools at one time."""

    tools: tuple[ListedTool, ...]
    names: frozenset[str]
    at: float
    """Monotonic time, in seconds."""
    seconds: float
    """How long it may be used."""
    specs: dict[bytes, tuple[ToolSpec, ...]] = field(default_factory=dict)
    """The specs made of it, by what they were made for."""


def effect_of(annotations: Mapping[str, Any] | None) -> Effect:
    """Return a tool's effect by its annotations; missing ones mean destructive."""
    hints = annotations or {}
    if hints.get("readOnlyHint") is True:
        return Effect.READ_ONLY
    return Effect.IDEMPOTENT if hints.get("idempotentHint") is True else Effect.DESTRUCTIVE


def tool_specs(source: ToolSpec, listing: Listing, taken: frozenset[str]) -> tuple[ToolSpec, ...]:
    """Return the tools of a source; their names are none of those `taken`."""
    key = orjson.dumps([_identity(source), sorted(taken)])
    found = listing.specs.get(key)
    if found is None:
        found = listing.specs[key] = tuple(_specs(source, listing, taken))
    return found


def _identity(source: ToolSpec) -> list[Any]:
    expiry = source.expiry and [source.expiry.seconds, source.expiry.approve]
    return [source.name, source.other, source.approval, source.timeout, expiry]


def _specs(source: ToolSpec, listing: Listing, taken: frozenset[str]) -> Iterator[ToolSpec]:
    stored = source.other[KEY]
    server = McpServer.of(stored)
    used = set(taken)
    for tool in listing.tools:
        if server.tools is not None and tool.name not in server.tools:
            continue
        if (problem := _problem(tool.parameters)) is not None:
            logger.warning(
                "mcp.tool_dropped", server=source.name, tool=tool.name[:80], cause=problem
            )
            continue
        name = tool_name(source.name, tool.name, used)
        used.add(name)
        yield replace(
            source,
            name=name,
            description=shortened(storable(tool.description), _DESCRIPTION_BYTES),
            parameters=tool.parameters,
            effect=_effect(server, tool),
            approval=_approval(server, tool.name, source.approval),
            other={KEY: {"server": stored, "source": source.name, "tool": tool.name}},
        )


def tool_name(source: str, tool: str, used: set[str]) -> str:
    """Return the name that a model sees: `source__tool`, at most 64 letters, digits, _ and -.

    One that has to be changed ends with a digest of the server's, so it is the same in each list.
    """
    prefix = f"{source}{SOURCE_SEPARATOR}"
    plain = f"{prefix}{tool}"
    if len(plain) <= MAX_NAME and not _ODD.search(tool) and tool and plain not in used:
        return plain
    digest = hashlib.sha256(tool.encode(errors="replace")).hexdigest()[:_DIGITS]
    room = MAX_NAME - len(prefix) - _DIGITS - 1
    return f"{prefix}{_ODD.sub('_', tool)[:room]}_{digest}"


def _effect(server: McpServer, tool: ListedTool) -> Effect:
    given = server.effects.get(tool.name, server.effect)
    if given is not None:
        return Effect(given)
    return tool.effect if server.trust else Effect.DESTRUCTIVE


def _approval(server: McpServer, tool: str, default: bool | str) -> bool | str:
    given = server.approval.get(tool, default)
    return {"always": True, "never": False}.get(given, given) if isinstance(given, str) else given


def _problem(schema: dict[str, Any]) -> str | None:
    """Return why a schema cannot be used; None if it can."""
    if schema.get("type") != "object":
        return "the schema of its arguments is not of an object"
    if is_too_deep(schema) or len(orjson.dumps(schema)) > _SCHEMA_BYTES:
        return "the schema of its arguments is too large"
    try:
        check_schema(schema)
    except InvalidSchema as error:
        return f"the schema of its arguments is not valid: {error}"
    return None


def missing_tools(server: McpServer, listing: Listing) -> Sequence[str]:
    """Return the tools that the agent names and the server does not list."""
    return [name for name in server.tools or () if name not in listing.names]
