"""Secret values of a tool's call, hidden in its results, errors and logs.

An error hides every value filled in from the environment, and all forwarded headers. A good result
is data: only environment values and headers with credentials are hidden, and no text so short that
the result would only be garbled.
"""

import re
from base64 import b64encode
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote

import orjson

_TELLING: Final = 6
"""A shorter value is not hidden: that would only garble the text."""
_HIDDEN: Final = "***"
_CREDENTIAL: Final = re.compile(
    r"auth|cookie|credential|csrf|jwt|key|passw|secret|session|signature|token", re.IGNORECASE
)
"""Names of headers whose values are credentials."""
_PARAMETER: Final = re.compile(
    r"(?:(?:access|api|auth|client|private|secret|subscription)[-_]?)(?:key|secret|token)"
    r"|jwt|passwd|password|secret|sig|signature|token",
    re.IGNORECASE,
)
"""Names of parameters of a query whose values are credentials."""
_LONG_KEY: Final = 16
"""Length from which the value of a parameter called just `key` counts as a credential."""
_PLAIN_KEYS: Final = frozenset({"idempotency-key"})
_SCHEME: Final = re.compile(r"(?:basic|bearer|digest|token|apikey)\s+", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Secrets:
    """Secrets of one call, longest first."""

    of_errors: tuple[str, ...] = field(default=(), repr=False)
    of_results: tuple[str, ...] = field(default=(), repr=False)

    def hide(self, text: str) -> str:
        """Return an error's text without secrets."""
        return _hide(text, self.of_errors)

    def hide_in_result(self, result: Any, raw: bytes | None = None) -> Any:
        """Return a result without secrets, in keys and values.

        `raw` are the bytes that it was read from: if they hold none, it is not searched.
        """
        if not self.of_results or (raw is not None and not self._may_hold(raw)):
            return result
        return _without(result, self.of_results)

    def _may_hold(self, raw: bytes) -> bool:
        """Whether the bytes may hold a secret; JSON may escape any character."""
        return b"\\" in raw or any(secret.encode() in raw for secret in self.of_results)


_NONE: Final = Secrets()


def secrets_of(
    filled: Iterable[str], own: Mapping[str, str], forwarded: Mapping[str, str]
) -> Secrets:
    """Return the secrets among environment values, a tool's own headers and forwarded ones."""
    variables = set(filled)
    if not (variables or own or forwarded):
        return _NONE
    headers = [*own.items(), *forwarded.items()]
    credentials = {part for name, value in headers for part in _credentials(name, value)}
    shared = _telling(variables | credentials)
    errors = variables | _telling(forwarded.values()) | shared
    return Secrets(_sorted(errors), _sorted(shared))


def login_secrets(user: str, password: str) -> set[str]:
    """Return the secrets of a login: the password, and the pair as `Basic` encodes it."""
    pair = b64encode(f"{user}:{password}".encode()).decode()
    return {password, pair} if password else {user, pair}


def parameter_secrets(parameters: Iterable[tuple[str, str]]) -> set[str]:
    """Return the values of a query that are credentials by their parameters' names."""
    return {
        value
        for name, value in parameters
        if is_credential(name) or (name.lower() == "key" and len(value) >= _LONG_KEY)
    }


def is_credential(name: str) -> bool:
    """Whether a parameter or field of this name holds a credential."""
    return _PARAMETER.fullmatch(name) is not None


def _credentials(name: str, value: str) -> set[str]:
    """Return a header's credential with and without its scheme; nothing for other headers."""
    if not _CREDENTIAL.search(name) or name.lower() in _PLAIN_KEYS:
        return set()
    return {value, _SCHEME.sub("", value, count=1)}


def _telling(values: Iterable[str]) -> set[str]:
    """Return the values that are long enough to hide, also as JSON and URLs encode them."""
    long = {value for value in values if len(value) >= _TELLING}
    return long and (
        long
        | {quote(value, safe="") for value in long}
        | {orjson.dumps(value).decode()[1:-1] for value in long}
    )


def _sorted(values: set[str]) -> tuple[str, ...]:
    return tuple(sorted(values - {""}, key=len, reverse=True))


def _hide(text: str, secrets: tuple[str, ...]) -> str:
    for secret in secrets:
        text = text.replace(secret, _HIDDEN)
    return text


def _without(value: Any, secrets: tuple[str, ...]) -> Any:
    match value:
        case str():
            return _hide(value, secrets)
        case dict():
            return {_hide(key, secrets): _without(item, secrets) for key, item in value.items()}
        case list():
            return [_without(item, secrets) for item in value]
        case int() | float() if not isinstance(value, bool):
            return _HIDDEN if str(value) in secrets else value
        case _:
            return value
