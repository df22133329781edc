"""A provider's refusal, as an error of ours: what it said, short and without any key.

429                                  ModelRateLimited, with the wait that was asked for
400 saying the context is too long   ContextTooLong
408, 409, 425, 5xx                   ModelUnavailable: the same request may pass later
everything else                      ModelRejected
"""

import re
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any

import orjson

from outlast.model.error import (
    ContextTooLong,
    ModelRateLimited,
    ModelRejected,
    ModelUnavailable,
    Upstream,
)

LONGEST = 300
"""Characters of a provider's own words that an error shows."""

_PASSING = {408, 409, 425}
_SECRET = re.compile(
    r"Bearer\s+[^\s\"',;]+|\b(?:sk|pk|rk|gsk|xai|key)-[\w*-]{6,}|\bAIza[\w*-]{20,}", re.IGNORECASE
)
_BLOT = "[hidden]"
_TOO_LONG = re.compile(
    r"context_length_exceeded|maximum context length|context (?:window|length|size)"
    r"|prompt is too long|input token count.{0,40}exceeds",
    re.IGNORECASE,
)


def scrub(text: str, key: str | None = None) -> str:
    """The text on one line, without keys, at most LONGEST characters."""
    if key:
        text = text.replace(key, _BLOT)
    text = " ".join(_SECRET.sub(_BLOT, text).split())
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


def refusal(
    model: str,
    status: int,
    body: bytes,
    *,
    key: str | None = None,
    headers: Mapping[str, str] | None = None,
    now: int = 0,
) -> Upstream:
    """The error for an answer of this status; headers in lower case, now in ms since the epoch."""
    code, text = said(body)
    shown = scrub(text, key)
    message = f"{model}: the provider answered {status}" + (f": {shown}" if shown else ".")
    if status == 429:  # noqa: PLR2004  Too Many Requests
        return ModelRateLimited(message, retry_after=wait_asked(headers or {}, now))
    if status in {400, 413, 422} and _TOO_LONG.search(f"{code} {text}"):
        return ContextTooLong(message)
    if status >= 500 or status in _PASSING:  # noqa: PLR2004  the server's own errors
        return ModelUnavailable(message)
    return ModelRejected(message)


def broken_off(model: str, error: Any, *, key: str | None = None) -> Upstream:
    """The error for `{"error": …}` in the middle of a stream."""
    code, text = said(orjson.dumps({"error": error}))
    message = f"{model}: the provider broke off: {scrub(text, key)}"
    if _TOO_LONG.search(f"{code} {text}"):
        return ContextTooLong(message)
    if "rate_limit" in code or code == "429":
        return ModelRateLimited(message)
    return ModelUnavailable(message)


def said(body: bytes) -> tuple[str, str]:
    """The code and the words of an error body, in the shapes that providers use."""
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        return "", body.decode("utf-8", "replace")
    if isinstance(value, list) and value:  # Google wraps its error in a list
        value = value[0]
    error = value.get("error", value) if isinstance(value, dict) else value
    if not isinstance(error, dict):
        return "", error if isinstance(error, str) else body.decode("utf-8", "replace")
    text = error.get("message") or error.get("detail") or orjson.dumps(error).decode()
    return str(error.get("code") or error.get("type") or ""), str(text)


def wait_asked(headers: Mapping[str, str], now: int) -> float | None:
    """Seconds to wait: `retry-after-ms`, or `Retry-After` (RFC 9110, 10.2.3: seconds or a date)."""
    if (millis := _number(headers.get("retry-after-ms"))) is not None:
        return millis / 1000
    text = headers.get("retry-after")
    if text is None or (seconds := _number(text)) is not None:
        return None if text is None else seconds
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - now / 1000)
    except ValueError:
        return None


def _number(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if 0 <= value < float("inf") else None
