"""An agent's spec as JSON, for storing versions, and its digest, for detecting changes."""

import hashlib
from dataclasses import asdict, replace
from typing import Any, Final

import orjson

from outlast.model.agent import AgentSpec, Effect, Expiry, HttpCall, Limits, ModelChoice, ToolSpec
from outlast.model.memory import NamedStore


def spec_to_dict(spec: AgentSpec) -> dict[str, Any]:
    """Return the spec as JSON with every field: a later default changes no stored version.

    What came later is left out where it is empty: versions before it have written it so.
    """
    written = asdict(spec)
    written["tools"] = [_tool_to_dict(tool) for tool in spec.tools]
    for key in ("schedule", "chain", "fallback_on", "memory_stores"):
        if not written[key]:
            del written[key]
    if spec.images is None:
        del written["images"]
    return written


def spec_from_dict(written: dict[str, Any]) -> AgentSpec:
    """Return the spec that spec_to_dict wrote.

    Raises TypeError, KeyError or ValueError for data of another version.
    """
    tools = tuple(_tool_from_dict(tool) for tool in written["tools"])
    chain = tuple(ModelChoice(**one) for one in written.get("chain", ()))
    on = tuple(written.get("fallback_on", ()))
    stores = tuple(NamedStore(**store) for store in written.get("memory_stores", ()))
    read = {
        "tools": tools,
        "limits": Limits(**written["limits"]),
        "chain": chain,
        "fallback_on": on,
        "memory_stores": stores,
    }
    return AgentSpec(**{**written, **read})


def spec_digest(spec: AgentSpec) -> str:
    """Return the spec's SHA-256 in hexadecimal: equal for equal specs, in every process.

    Empty fields are left out, so a field added by a later version changes no digest.
    """
    written = spec_to_dict(spec)
    tools = [_without_empty(tool) for tool in written["tools"]]
    for tool in tools:
        if "http" in tool:
            tool["http"] = _without_defaults(tool["http"])
    content = {**written, "tools": tools, "limits": _without_empty(written["limits"])}
    text = orjson.dumps(_without_empty(content), option=orjson.OPT_SORT_KEYS)
    return hashlib.sha256(text).hexdigest()


_ADDED: Final[dict[str, Any]] = {"method": "POST", "send": ("user",)}
"""Fields of an HTTP tool added by later versions, with the value that reproduces the first."""


def _without_defaults(http: dict[str, Any]) -> dict[str, Any]:
    return {
        key: value
        for key, value in _without_empty(http).items()
        if key not in _ADDED or value != _ADDED[key]
    }


def _tool_to_dict(tool: ToolSpec) -> dict[str, Any]:
    written = {**asdict(tool), "effect": tool.effect.value}
    if not tool.other:
        del written["other"]  # as versions before it have written it
    for key in ("proxy", "ca_file"):
        if tool.http is not None and written["http"][key] is None:
            del written["http"][key]  # the same
    return written


def _tool_from_dict(written: dict[str, Any]) -> ToolSpec:
    http = written["http"]
    call = None if http is None else _call_from_dict(http)
    expiry = written.get("expiry")
    return ToolSpec(
        **{
            **written,
            "effect": Effect(written["effect"]),
            "http": call,
            "expiry": None if expiry is None else Expiry(**expiry),
        }
    )


def _call_from_dict(written: dict[str, Any]) -> HttpCall:
    call = HttpCall(**written)
    return replace(call, send=tuple(call.send))


def _without_empty(fields: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in fields.items() if value not in (None, "", [], {}, ())}
