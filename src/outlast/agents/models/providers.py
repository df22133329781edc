"""Providers by name, with variables filled in.

The operator's providers win over the environment's. `OPENAI_BASE_URL` and `OPENAI_API_KEY` define
the provider `openai-chat` if there is no other.
"""

from collections.abc import Mapping
from dataclasses import replace
from json import dumps
from typing import Any, Final
from urllib.parse import quote, unquote, urlsplit

from outlast.agents.tools.placeholders import VARIABLE
from outlast.agents.tools.secrets import is_credential
from outlast.model.error import Misconfigured
from outlast.model.provider import OPENAI_CHAT, ProviderSpec, filled_problems

_SHORTEST_SECRET: Final = 6
"""A shorter value is not hidden: that would only garble the text."""


def of_environment(environment: Mapping[str, str]) -> ProviderSpec:
    """Return the provider `openai-chat` of the environment."""
    return ProviderSpec(
        OPENAI_CHAT,
        base_url=environment.get("OPENAI_BASE_URL") or None,
        api_key=environment.get("OPENAI_API_KEY", "").strip() or None,
    )


def filled(spec: ProviderSpec, environment: Mapping[str, str]) -> ProviderSpec:
    """Return the provider with its variables filled in. Raises Misconfigured naming unset ones."""
    missing: list[str] = []
    hidden: list[str] = []

    def fill(text: str | None) -> str | None:
        if text is None:
            return None
        missing.extend(name for name in VARIABLE.findall(text) if not environment.get(name))
        return VARIABLE.sub(lambda match: environment.get(match[1], "").strip(), text)

    def fill_value(value: Any, *, secret: bool = False) -> Any:
        match value:
            case str():
                text = fill(value) or ""
                names = VARIABLE.findall(value)
                hidden.extend(environment.get(name, "").strip() for name in names)
                hidden.extend([text] if secret or names else [])
                return text
            case Mapping():
                return {
                    key: fill_value(one, secret=secret or is_credential(str(key)))
                    for key, one in value.items()
                }
            case list():
                return [fill_value(one, secret=secret) for one in value]
            case _:
                return value

    made = replace(
        spec,
        base_url=fill(spec.base_url),
        api_key=fill(spec.api_key),
        headers={name: fill(value) or "" for name, value in spec.headers.items()},
        extra_body=fill_value(spec.extra_body),
        proxy=fill(spec.proxy),
        ca_file=fill(spec.ca_file),
    )
    made = replace(made, hidden=tuple(hidden))
    if missing:
        names = ", ".join(dict.fromkeys(missing))
        raise Misconfigured(
            f"The provider {spec.name} needs {names} in the environment of the process that runs "
            f"the agent: export {missing[0]}=…"
        )
    if problems := filled_problems(made):
        (key,), text = problems[0]
        raise Misconfigured(f"The provider {spec.name}, its variables filled in: {key}: {text}.")
    return made


def secrets_of(spec: ProviderSpec) -> tuple[str, ...]:
    """Return what no error may show, the longest first.

    These are the key, the values of headers, and each without the scheme before it: a provider that
    refuses `Token abc…` may show `abc…` alone; the logins of the URLs; and of the extra body what
    variables filled in or what has the name of a credential. Each also as JSON and URLs spell it.
    """
    values = {spec.api_key or "", *spec.headers.values(), *spec.hidden}
    values |= {value.partition(" ")[2].strip() for value in values}
    values |= {text for url in (spec.base_url, spec.proxy) if url for text in _login(url)}
    values |= {dumps(value)[1:-1] for value in values} | {quote(value, "") for value in values}
    return tuple(sorted((v for v in values if len(v) >= _SHORTEST_SECRET), key=len, reverse=True))


def _login(url: str) -> tuple[str, ...]:
    """Return user and password of a URL, also as one text; password as written and decoded."""
    login, at, _ = urlsplit(url).netloc.rpartition("@")
    password = login.partition(":")[2]
    return (login, password, unquote(password)) if at else ()
