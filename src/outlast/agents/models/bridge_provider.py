"""A provider of pydantic-ai with the operator's URL, key, proxy and certificate authorities."""

import inspect
from collections.abc import Callable
from typing import Any, Final

from outlast.agents.outgoing import trust
from outlast.model.error import Misconfigured
from outlast.model.provider import ProviderSpec

_SPELLED: Final = {
    "base_url": "baseUrl",
    "api_key": "apiKey",
    "headers": "headers",
    "extra_body": "extraBody",
    "http_client": "proxy or caFile",
}
_EXTRAS: Final = frozenset({"anthropic", "google", "google-cloud", "groq", "mistral"})
"""Kinds that accept extra headers and body fields; those with an OpenAI client do too."""


def provider_factory(spec: ProviderSpec) -> Callable[[str], Any]:
    """Return a factory of pydantic-ai's provider of a kind, with the operator's settings.

    The factory raises Misconfigured if the kind does not support a given setting.
    """

    def made(kind: str) -> Any:
        from pydantic_ai.exceptions import UserError
        from pydantic_ai.providers import infer_provider_class

        try:
            provider = infer_provider_class(kind)
        except ValueError as error:
            raise UserError(f"Unknown model: {kind}") from error  # as pydantic-ai itself says
        taken = inspect.signature(provider.__init__).parameters
        given: dict[str, Any] = {"base_url": spec.base_url, "api_key": spec.api_key}
        given = {name: value for name, value in given.items() if value is not None}
        if spec.proxy is not None or spec.ca_file is not None:
            given["http_client"] = _client(spec)
        for name in given:
            # An SDK that stands on the older httpx takes no client of httpx2.
            if name not in taken or str(taken[name].annotation).startswith("httpx."):
                raise _refused(spec, name)
        _check_requests(spec, openai="openai_client" in taken)
        return provider(**given)

    return made


def request_settings(spec: ProviderSpec | None) -> dict[str, Any]:
    """Return the settings of each request of the provider."""
    if spec is None:
        return {}
    found = {"extra_headers": dict(spec.headers), "extra_body": dict(spec.extra_body)}
    return {name: value for name, value in found.items() if value}


def _check_requests(spec: ProviderSpec, *, openai: bool) -> None:
    if openai or spec.kind in _EXTRAS:
        return
    if spec.headers or spec.extra_body:
        raise _refused(spec, "headers" if spec.headers else "extra_body")


def _refused(spec: ProviderSpec, name: str) -> Misconfigured:
    return Misconfigured(
        f"The provider {spec.name}: the kind {spec.kind} takes no {_SPELLED[name]}; remove it, or "
        "use kind: openai-chat where the provider speaks OpenAI's chat completions."
    )


def _client(spec: ProviderSpec) -> Any:
    import httpx2

    verify = trust(spec.ca_file) if spec.ca_file is not None else True
    seconds = 300.0 if spec.timeout is None else spec.timeout
    return httpx2.AsyncClient(
        proxy=spec.proxy or None,
        trust_env=spec.proxy is None,
        verify=verify,
        timeout=httpx2.Timeout(seconds, connect=10.0),
    )
