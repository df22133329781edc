"""A tool's secrets are in no result and no error; an answer's charset is one of a short list."""

import json
from base64 import b64encode
from dataclasses import replace
from typing import Any

import pytest

from outlast.agents.tools.toolbox import ToolBox
from outlast.model.error import ToolFailed
from tests.support.heartbeat import STILL, Heartbeat
from tests.support.http_tools import CONTEXT, HttpToolServer, answer, look

pytestmark = pytest.mark.anyio
BASIC = b64encode(b"me:p4ssw0rd").decode()


@pytest.mark.parametrize(
    ("wire", "result"),
    [
        (b'{"seen": "Bearer s3cret-token", "n": 1}', {"seen": "***", "n": 1}),
        (b'{"seen": "the s3cret-token"}', {"seen": "the ***"}),
        (b'[{"s3cret-token": ["s3cret-token!"]}]', [{"***": ["***!"]}]),
        (b'"s3cret\\u002dtoken"', "***"),
        (b'{"url": "/?key=s3cret-token"}', {"url": "/?key=***"}),
        (b'{"own": "literal-key-1", "plain": "eu-west-1"}', {"own": "***", "plain": "eu-west-1"}),
        (b'["t0ken-of-theirs", "tenant-acme"]', ["***", "tenant-acme"]),
        (b'{"pin": 98765432, "n": 1}', {"pin": "***", "n": 1}),
        (b"true", True),
    ],
)
async def test_a_good_answer_that_echoes_a_secret_is_kept_without_it(
    tool_server: HttpToolServer, box: ToolBox, wire: bytes, result: Any
) -> None:
    tool_server.answers = [answer(wire)]
    headers = {
        "Authorization": "Bearer ${SHOP_TOKEN}",
        "X-Api-Key": "literal-key-1",
        "X-Pin-Token": "98765432",
        "X-Region": "eu-west-1",
    }
    theirs = {"X-Auth": "Bearer t0ken-of-theirs", "X-Tenant": "tenant-acme"}
    context = replace(CONTEXT, headers=theirs)
    assert await box.call(look(tool_server.url, headers=headers), {}, context) == result


@pytest.mark.parametrize("content_type", ["application/json", "text/plain", "text/html"])
async def test_a_login_of_the_url_is_in_no_answer_and_no_error(
    tool_server: HttpToolServer, box: ToolBox, content_type: str
) -> None:
    url = tool_server.url.replace("http://", "http://me:p4ssw0rd@")
    said = f'"p4ssw0rd {BASIC}"'.encode()
    tool_server.answers = [answer(said, content_type=content_type)]
    shown = await box.call(look(url), {}, CONTEXT)
    assert shown.strip('"') == "*** ***"
    tool_server.answers = [answer(said, "403 Forbidden", content_type=content_type)]
    with pytest.raises(ToolFailed) as failed:
        await box.call(look(url), {}, CONTEXT)
    for text in (failed.value.message, failed.value.cause, str(failed.value)):
        assert "p4ssw0rd" not in text
        assert BASIC not in text


async def test_an_error_hides_secrets_wherever_the_server_says_them(
    tool_server: HttpToolServer, box: ToolBox
) -> None:
    spec = look(tool_server.url, headers={"X-Key": "${SHOP_TOKEN}"})
    tool_server.answers = [answer(b"\xff", content_type="x/s3cret-token")]
    with pytest.raises(ToolFailed, match=r"answered with x/\*\*\*, neither JSON nor text"):
        await box.call(spec, {}, CONTEXT)


@pytest.mark.parametrize(
    "charset", ["punycode", "idna", "utf-7", "unicode_escape", "x" * 4000, "rot13", "zlib"]
)
async def test_an_answer_in_a_charset_beyond_the_list_is_refused_at_once(
    tool_server: HttpToolServer, box: ToolBox, charset: str
) -> None:
    tool_server.answers = [answer(b"a" * 200_000, content_type=f"text/plain; charset={charset}")]
    async with Heartbeat() as heart:
        with pytest.raises(ToolFailed) as failed:
            await box.call(look(tool_server.url), {}, CONTEXT)
    assert heart.longest < STILL
    assert "text/plain in a charset that is not read" in failed.value.message
    assert len(failed.value.message) < 200


@pytest.mark.parametrize(
    ("charset", "word"),
    [("UTF-8", "Zürich"), ("iso-8859-1", "Zürich"), ("windows-1252", "€"), ("Shift_JIS", "東京")],
)
async def test_charsets_of_the_list_are_read(
    tool_server: HttpToolServer, box: ToolBox, charset: str, word: str
) -> None:
    tool_server.answers = [
        answer(word.encode(charset), content_type=f"text/plain; charset={charset}")
    ]
    assert await box.call(look(tool_server.url), {}, CONTEXT) == word


async def test_json_behind_a_byte_order_mark_is_read(
    tool_server: HttpToolServer, box: ToolBox
) -> None:
    tool_server.answers = [answer(b'\xef\xbb\xbf{"a": 1}')]
    assert await box.call(look(tool_server.url), {}, CONTEXT) == {"a": 1}


async def test_half_a_surrogate_pair_in_an_answer_is_replaced(
    tool_server: HttpToolServer, box: ToolBox
) -> None:
    tool_server.answers = [answer(b'{"a\\udce9": "\\ud83d\\ude00 \\ud83d"}')]
    assert await box.call(look(tool_server.url), {}, CONTEXT) == {"a\ufffd": "\U0001f600 \ufffd"}


@pytest.mark.parametrize(
    ("wire", "said"),
    [
        (b'{"id": 12345678901234567890123}', "in id: 12345678901234567890123"),
        (b'[{"a": [1, -9223372036854775809]}]', "in 0.a.1: -9223372036854775809"),
        (b"18446744073709551616", "64 bits: 18446744073709551616"),
        (b'{"id": 1%b}' % (b"0" * 400), "in id: 1000"),
        (b'\xef\xbb\xbf{"half": "\\ud83d", "id": 99999999999999999999}', "in id: 9999"),
        (b'{"s3cret-token": 99999999999999999999}', r"in \*\*\*: 9999"),
    ],
)
async def test_a_number_that_would_be_rounded_is_the_tools_error(
    tool_server: HttpToolServer, box: ToolBox, wire: bytes, said: str
) -> None:
    tool_server.answers = [answer(wire)]
    spec = look(tool_server.url, headers={"Authorization": "Bearer ${SHOP_TOKEN}"})
    with pytest.raises(ToolFailed, match=said) as failed:
        await box.call(spec, {}, CONTEXT)
    assert "as text" in failed.value.message
    assert failed.value.cause.endswith("answered with a whole number of more than 64 bits.")


@pytest.mark.parametrize(
    "value",
    [2**64 - 1, -(2**63), "12345678901234567890123", 0.12345678901234567, 1e30, [10**18] * 9],
)
async def test_numbers_of_64_bits_are_kept_as_they_came(
    tool_server: HttpToolServer, box: ToolBox, value: Any
) -> None:
    tool_server.answers = [answer(json.dumps({"n": value}).encode())]
    assert await box.call(look(tool_server.url), {}, CONTEXT) == {"n": value}


async def test_a_credential_that_is_written_out_in_a_query_is_hidden_too(
    tool_server: HttpToolServer, box: ToolBox
) -> None:
    google = "AIzaSyD-0123456789"
    tool_server.answers = [answer(f'"abc123 {google} orders 2026-01 in-clear"'.encode())]
    query = f"?api_key=abc123&key={google}&key=orders&page_token=2026-01"
    spec = look(tool_server.url + query, query={"token": "in-clear", "secret": "{orderId}"})
    assert await box.call(spec, {"orderId": "orders"}, CONTEXT) == "*** *** orders 2026-01 ***"
