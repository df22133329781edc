"""A provider's refusal in odd shapes: a clear error of ours, with the wait that it asks for."""

from typing import Any

import orjson
import pytest

from outlast.agents.models.refusal import broken_off, refusal, retry_after
from outlast.model.error import ModelRateLimited, ModelRejected, ModelUnavailable

NOW = 1_772_000_000_000


def refused(status: int, body: Any = b"", **headers: str) -> Any:
    written = body if isinstance(body, bytes) else orjson.dumps(body)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return refusal("m", status, written, headers=named, now=NOW)


@pytest.mark.parametrize(
    "body",
    [
        {"error": {"code": "insufficient_quota", "message": "You exceeded your quota."}},
        {"error": {"type": "insufficient_quota", "code": None, "message": "x"}},
        [{"error": {"code": "billing_hard_limit_reached"}}],
    ],
)
def test_a_quota_that_is_spent_is_not_tried_again(body: Any) -> None:
    error = refused(429, body, retry_after="1")
    assert type(error) is ModelRateLimited
    assert not error.passing
    assert refused(429, {"error": {"code": "rate_limit_exceeded"}}, retry_after="1").passing


@pytest.mark.parametrize(
    ("wait", "expected"),
    [
        ("3600", "in 3600 s, at 2026-02-25T07:13:20Z."),
        ("Wed, 25 Feb 2026 07:13:20 GMT", "in 3600 s, at 2026-02-25T07:13:20Z."),
        ("9" * 400, "no retry within a year."),
        ("Fri, 01 Jan 9999 00:00:00 GMT", "no retry within a year."),
    ],
)
def test_a_long_wait_says_when(wait: str, expected: str) -> None:
    for status in (429, 503):
        error = refused(status, retry_after=wait)
        assert error.message.endswith(expected)
        assert error.retry_after > 30


@pytest.mark.parametrize("wait", ["9" * 20, "9" * 400, "99999999999.5"])
def test_a_long_wait_in_milliseconds_says_when_too(wait: str) -> None:
    error = refused(429, retry_after_ms=wait)
    assert error.message.endswith("no retry within a year.")


@pytest.mark.parametrize(
    ("error", "shown"), [(5, "5"), ([1, {"a": [2]}], '[1,{"a":[2]}]'), (True, "true"), ("no", "no")]
)
def test_an_error_in_mid_stream_that_is_no_object_is_shown(error: Any, shown: str) -> None:
    assert broken_off("m", error).message == f"m: the provider broke off: {shown}"


@pytest.mark.parametrize(
    "wait",
    ["", "soon", "-5", "NaN", "inf", "1e999", "1_000", "٣", "Mon, 99 Foo", "\udc80", "0x10", "[1]"],
)
def test_a_wait_that_is_none_is_not_waited_for(wait: str) -> None:
    assert retry_after({"retry-after": wait, "retry-after-ms": wait}, NOW) is None
    assert refused(429, retry_after=wait).retry_after is None


@pytest.mark.parametrize(
    "body",
    [
        b'{"error": ' + b'{"a":' * 500 + b"1" + b"}" * 500 + b"}",
        b'{"error": {"message": ["a", "\\ud83d"], "code": {"a": 1}}}',
        b'{"error": "half \\ud83d"}',
        b'{"error": 5}',
        b"[]",
        b"[[]]",
        b'"\\ud83d',
        b"null",
        b"\xff\xfe\x00",
        b"<html>" * 10_000,
        b'{"error": {"message": "' + b"x" * 60_000 + b'"}}',
    ],
)
def test_an_odd_body_is_reported_in_short(body: bytes) -> None:
    for status, kind in ((400, ModelRejected), (500, ModelUnavailable), (429, ModelRateLimited)):
        error = refused(status, body)
        assert type(error) is kind
        assert len(error.message) < 400
        error.message.encode()
