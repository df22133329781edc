"""Logs: their shape, and that no secret goes through."""

import asyncio
import io
import logging
from collections.abc import Iterator
from typing import Any

import orjson
import pytest
import structlog

from outlast import logs

KEY = "sk_outlast_FKg408_V8twna6-q9uPMsmgIiQ3DnjsthdNz"


@pytest.fixture(autouse=True)
def _afterwards_as_before() -> Iterator[None]:
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    yield
    structlog.reset_defaults()
    root.handlers[:] = before
    root.setLevel(level)


def _written(stream: io.StringIO) -> list[dict[str, Any]]:
    return [orjson.loads(line) for line in stream.getvalue().splitlines()]


@pytest.mark.parametrize(
    "name",
    [
        "key",
        "api_key",
        "apiKey",
        "X-Api-Key",
        "authorization",
        "Authorization",
        "token",
        "access_token",
        "clientSecret",
        "password",
        "Set-Cookie",
        "credentials",
        "ticket",
    ],
)
def test_a_field_named_like_a_secret_is_hidden(name: str) -> None:
    assert logs.hide_secrets(None, "info", {name: "opensesame"}) == {name: logs.HIDDEN}


@pytest.mark.parametrize(
    "name", ["tokens", "input_tokens", "keys", "key_id", "monkey", "event", "toolCallId"]
)
def test_a_field_that_only_looks_like_one_is_kept(name: str) -> None:
    assert logs.hide_secrets(None, "info", {name: "12"}) == {name: "12"}


@pytest.mark.parametrize(
    "text",
    [
        f"bad key {KEY}",
        "Authorization: Bearer opensesame-123456",
        "Incorrect API key provided: sk-proj-abcdefgh12345678",
        "GET https://u:opensesame@host/path",
        "?ticket=opensesame&x=1",
        '{"api_key": "opensesame"}',
        "token='opensesame'",
    ],
)
def test_a_secret_inside_a_text_is_hidden(text: str) -> None:
    hidden = logs.hide(text)

    assert logs.HIDDEN in hidden
    for secret in ("opensesame", KEY[11:], "abcdefgh12345678"):
        assert secret not in hidden


def test_hiding_twice_changes_nothing_more() -> None:
    once = logs.hide(f"Authorization: Bearer {KEY} api_key={KEY}")

    assert logs.hide(once) == once


def test_secrets_in_nested_values_and_objects_are_hidden() -> None:
    class Request:
        def __str__(self) -> str:
            return f"Request({KEY})"

    event = {
        "headers": {"authorization": KEY, "accept": "*/*"},
        "list": [KEY, b"x"],
        "request": Request(),
        "count": 3,
    }

    assert logs.hide_secrets(None, "info", event) == {
        "headers": {"authorization": logs.HIDDEN, "accept": "*/*"},
        "list": ["sk-" + logs.HIDDEN, "x"],
        "request": f"Request(sk-{logs.HIDDEN})",
        "count": 3,
    }


def test_json_logs_bind_ids_and_hide_the_secret_of_a_traceback() -> None:
    stream = io.StringIO()
    logs.configure("info", "json", stream)
    with structlog.contextvars.bound_contextvars(request="req_1", execution="exec_1"):
        try:
            orjson.loads(KEY)
        except ValueError as error:
            error.add_note(f"no such key: {KEY}")
            structlog.get_logger("test").exception("request.failed")

    (line,) = _written(stream)
    assert line["event"] == "request.failed"
    assert (line["request"], line["execution"], line["level"]) == ("req_1", "exec_1", "error")
    assert line["timestamp"].endswith("Z")
    assert "no such key: sk-" in line["exception"]
    assert KEY not in stream.getvalue()


def test_the_standard_librarys_loggers_go_the_same_way() -> None:
    stream = io.StringIO()
    logs.configure("info", "json", stream)

    logging.getLogger("uvicorn.error").error("failed with %s", KEY)
    logging.getLogger("httpx2").info("HTTP Request: POST https://provider.example")

    (line,) = _written(stream)
    assert (line["event"], line["level"]) == (f"failed with sk-{logs.HIDDEN}", "error")


def test_text_is_for_terminals_and_json_for_everything_else() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal, pipe = Terminal(), io.StringIO()
    for stream in (terminal, pipe):
        logs.configure("warning", "auto", stream)
        structlog.get_logger("test").info("unheard")
        structlog.get_logger("test").warning("heard", key=KEY)

    assert "heard" in terminal.getvalue()
    assert not terminal.getvalue().startswith("{")
    assert "unheard" not in terminal.getvalue()
    assert KEY not in terminal.getvalue()
    assert [line["event"] for line in _written(pipe)] == ["heard"]


@pytest.mark.parametrize("format", ["json", "text"])
@pytest.mark.parametrize(
    "value", ["caf\udce9.txt", "\ud83d", {"deep": ["\ude00"]}, 2**70, {1: "a"}, float("nan")]
)
def test_what_json_or_the_stream_cannot_hold_is_logged_all_the_same(
    format: str, value: object
) -> None:
    stream = io.TextIOWrapper(io.BytesIO(), "utf-8", errors="strict", write_through=True)
    logs.configure("info", format, stream)
    structlog.get_logger("test").warning("odd", value=value)
    logs.line("info", "odd", lambda: {"value": value})
    logs.flush()

    stream.seek(0)
    written = stream.read()
    assert written.count("odd") == 2
    if format == "json":  # every line is JSON to strict readers too
        assert [orjson.loads(line)["event"] for line in written.splitlines()] == ["odd", "odd"]


def test_lines_stand_in_the_order_in_which_they_were_logged() -> None:
    async def said() -> None:
        logs.line("info", "first", dict)
        structlog.get_logger("test").info("second")
        logs.line("info", "third", dict)
        logging.getLogger("uvicorn.error").warning("fourth")

    stream = io.StringIO()
    logs.configure("info", "json", stream)
    asyncio.run(said())

    found = _written(stream)
    assert [line["event"] for line in found] == ["first", "second", "third", "fourth"]
    assert sorted(line["timestamp"] for line in found) == [line["timestamp"] for line in found]


def test_a_line_below_the_level_is_not_made() -> None:
    def never() -> dict[str, Any]:
        raise AssertionError

    stream = io.StringIO()
    logs.configure("warning", "json", stream)
    logs.line("info", "unheard", never)
    logs.flush()
    assert stream.getvalue() == ""
    assert not logs.enabled("info")
    assert logs.enabled("error")


async def _two_lines(stream: io.StringIO) -> None:
    async with asyncio.timeout(10):
        for _ in range(2):
            before = stream.tell()
            logs.line("info", "line", dict)
            while stream.tell() == before:  # noqa: ASYNC110 - a stream has no event
                await asyncio.sleep(0)


def test_a_line_is_written_soon_also_by_a_second_event_loop() -> None:
    stream = io.StringIO()
    logs.configure("info", "json", stream)
    for count in (2, 4):
        asyncio.run(_two_lines(stream))
        assert len(_written(stream)) == count


def test_a_log_that_cannot_be_written_ends_nothing() -> None:
    stream = io.StringIO()
    logs.configure("info", "json", stream)
    stream.close()
    logs.line("info", "lost", dict)
    structlog.get_logger("test").error("lost")


def test_without_a_configuration_of_ours_lines_go_as_the_process_has_set_up() -> None:
    logs.unconfigure()
    with structlog.testing.capture_logs() as captured:
        logs.line("info", "heard", lambda: {"a": 1})
    assert captured == [{"event": "heard", "a": 1, "log_level": "info"}]
    structlog.reset_defaults()
    logs.line("info", "unheard", dict)
