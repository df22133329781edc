"""Translates a provider's error response: its message, short and without any key.

429                                  ModelRateLimited, with the wait that it names; one of a
                                     spent quota is not tried again
400 saying the context is too long   ContextTooLong
408, 409, 425, 5xx                   ModelUnavailable: the same request may pass later
everything else                      ModelRejected
"""

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final

import orjson

from outlast.model.error import (
    ContextTooLong,
    ModelRateLimited,
    ModelRejected,
    ModelUnavailable,
    Upstream,
)
from outlast.model.text import read_json, storable

LONGEST = 300
"""Characters of a provider's message that an error shows."""

_PASSING = {408, 409, 425}
_PATIENCE: Final = 30.0
"""Maximum seconds that the engine waits before a retry."""
_FAR: Final = 366 * 86_400.0
"""Seconds beyond which an error does not name the end of a wait."""
_LONGEST_WAIT: Final = 2 * _FAR
"""Seconds of a wait that are counted."""
_READ: Final = 16_384
"""Characters of a provider's message that are read."""
_DIGITS = re.compile(r"[0-9]+(?:\.[0-9]*)?", re.ASCII)
_SPENT = re.compile(r"insufficient_quota|insufficient_balance|billing_", re.IGNORECASE)
_SECRET = re.compile(
    r"Bearer\s+[^\s\"',;]+|\b(?:sk|pk|rk|gsk|xai|key)-[\w*-]{6,}|\bAIza[\w*-]{20,}", re.IGNORECASE
)
_BASE64 = re.compile(r"data:[\w/+.-]*;base64,[\w+/=]*|[A-Za-z0-9+/]{256,}={0,2}")
"""Bytes of an image that a provider repeats."""
_BLOT = "[hidden]"
_TOO_LONG = re.compile(
    r"context_length_exceeded|maximum context length|context (?:window|length|size)"
    r"|prompt is too long|input token count.{0,40}exceeds",
    re.IGNORECASE,
)


def scrub(text: str, secrets: Iterable[str] = ()) -> str:
    """Return the text on one line, without keys, `secrets` and bytes of images, cut to LONGEST."""
    text = storable(text[:_READ])
    for secret in secrets:
        text = text.replace(secret, _BLOT)
    text = " ".join(_SECRET.sub(_BLOT, _BASE64.sub(_BLOT, text)).split())
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


def refusal(
    model: str,
    status: int,
    body: bytes,
    *,
    secrets: Iterable[str] = (),
    headers: Mapping[str, str] | None = None,
    now: int = 0,
    url: str = "",
) -> Upstream:
    """Return the error for this status; headers in lower case, `now` in ms since the epoch.

    `url` is shown where nothing was found at it.
    """
    code, text = code_and_text(body)
    shown = scrub(text, secrets)
    where = f" at {scrub(url, secrets)}" if status == 404 and url else ""  # noqa: PLR2004  Not Found
    message = f"{model}: the provider answered {status}{where}" + (f": {shown}" if shown else ".")
    wait = retry_after(headers or {}, now)
    if status == 429:  # noqa: PLR2004  Too Many Requests
        return rate_limited(message, code, wait, now)
    if status in {400, 413, 422} and _TOO_LONG.search(f"{code} {text[:_READ]}"):
        return ContextTooLong(message)
    if status >= 500 or status in _PASSING:  # noqa: PLR2004  the server's own errors
        return ModelUnavailable(_sentences(message, when(wait, now)), retry_after=wait)
    return ModelRejected(message)


def rate_limited(message: str, code: str, wait: float | None, now: int) -> ModelRateLimited:
    """Return the error for too many requests; a spent quota is not retried."""
    if _SPENT.search(code):
        return ModelRateLimited(message, passing=False)
    return ModelRateLimited(_sentences(message, when(wait, now)), retry_after=wait)


def when(wait: float | None, now: int) -> str:
    """Return a sentence on when to retry; `wait` in seconds; empty if it is short or unknown."""
    if wait is None or not wait > _PATIENCE:  # also where it is no number
        return ""
    if wait > _FAR:
        return "It requests no retry within a year."
    moment = datetime.fromtimestamp(now / 1000 + wait, UTC)
    return f"It requests a retry in {wait:.0f} s, at {moment:%Y-%m-%dT%H:%M:%SZ}."


def _sentences(message: str, more: str) -> str:
    if not more:
        return message
    return f"{message} {more}" if message[-1:] in ".!?…" else f"{message}. {more}"


def broken_off(model: str, error: Any, *, secrets: Iterable[str] = ()) -> Upstream:
    """Return the error for `{"error": …}` in the middle of a stream."""
    code, text = _words({"error": error}, error[:_READ] if isinstance(error, str) else _json(error))
    message = f"{model}: the provider broke off: {scrub(text, secrets)}"
    if _TOO_LONG.search(f"{code} {text[:_READ]}"):
        return ContextTooLong(message)
    if "rate_limit" in code or code == "429" or _SPENT.search(code):
        return rate_limited(message, code, None, 0)
    return ModelUnavailable(message)


def cut_short(model: str, reason: str) -> Upstream:
    """Return the error for an answer whose finish reason names a failure."""
    if _TOO_LONG.search(reason.replace("_", " ")):
        return ContextTooLong(f"{model}: the provider ended its answer: {scrub(reason)}")
    return ModelUnavailable(f"{model}: the provider's answer failed: {scrub(reason)}")


def code_and_text(body: bytes) -> tuple[str, str]:
    """Return code and message of an error body, in the shapes that providers use."""
    text = body[:_READ].decode("utf-8", "replace")
    try:
        value = read_json(body)
    except ValueError:
        return "", text
    return _words(value, text)


def _words(value: Any, otherwise: str) -> tuple[str, str]:
    if isinstance(value, list) and value:  # Google wraps its error in a list
        value = value[0]
    error = value.get("error") or value if isinstance(value, dict) else value
    if not isinstance(error, dict):
        return "", error if isinstance(error, str) else otherwise
    text = error.get("message") or error.get("detail")
    codes = (error.get("code"), error.get("type"))
    code = " ".join(str(code) for code in codes if isinstance(code, str | int) and code)
    return code[:LONGEST], text if isinstance(text, str) else _json(text or error)


def _json(value: Any) -> str:
    try:
        return orjson.dumps(storable(value), default=str)[:_READ].decode("utf-8", "replace")
    except (TypeError, RecursionError):  # nested deeper than can be written
        return "an error that cannot be shown"


def retry_after(headers: Mapping[str, str], now: int) -> float | None:
    """Return seconds to wait: `retry-after-ms`, or `Retry-After` (RFC 9110, 10.2.3).

    `Retry-After` holds seconds or a date. None if there is neither header.
    """
    if (millis := _number(headers.get("retry-after-ms"))) is not None:
        return min(millis / 1000, _LONGEST_WAIT)
    text = headers.get("retry-after")
    if text is None:
        return None
    if (seconds := _number(text)) is not None:
        return min(seconds, _LONGEST_WAIT)
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - now / 1000)
    except (ValueError, TypeError, LookupError, OverflowError, OSError):
        return None


def _number(text: str | None) -> float | None:
    if text is None or not _DIGITS.fullmatch(text.strip()):
        return None
    return float(text)
