"""Requests that cannot be right get a clear error in the room's shape, never a 500."""

import asyncio
import gzip
import json
import zlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.support.api import Api
from tests.support.waiting import BOUND

pytestmark = pytest.mark.anyio
PATH = "/v1/agents/agent/execute"


def deep(levels: int) -> bytes:
    return b'{"input":"Hi","metadata":' + b'{"a":' * levels + b"1" + b"}" * levels + b"}"


@pytest.mark.parametrize(
    ("content", "status", "code", "param"),
    [
        (b"{", 400, "invalid_request", "body"),
        (b"not json", 400, "invalid_request", "body"),
        (b'"text"', 400, "invalid_request", "body"),
        (b"[]", 400, "invalid_request", "body"),
        (b"null", 400, "invalid_request", "body"),
        (b'{"input":"\xff\xfe"}', 400, "invalid_request", "body"),
        (b'{"input":"\\ud800"}', 400, "invalid_request", "body"),
        (b'{"input":NaN}', 400, "invalid_request", "body"),
        (b"[" * 10_000, 400, "invalid_request", "body"),
        (b'{"a":' * 10_000 + b"1" + b"}" * 10_000, 400, "invalid_request", "body"),
        (deep(64), 400, "invalid_request", "body"),
        (b"{}", 400, "missing_required_field", "input"),
        (b'{"inputs":"Hi"}', 400, "missing_required_field", "input"),
        (b'{"input":null}', 422, "invalid_field_value", "input"),
        (b'{"input":7}', 422, "invalid_field_value", "input"),
        (b'{"input":""}', 422, "invalid_field_value", "input"),
        (b'{"input":"a\\u0000b"}', 422, "invalid_field_value", "input"),
        (b'{"input":"Hi","stream":"yes"}', 422, "invalid_field_value", "stream"),
        (b'{"input":"Hi","onBusy":"panic"}', 422, "invalid_field_value", "onBusy"),
        (b'{"input":"Hi","metadata":[]}', 422, "invalid_field_value", "metadata"),
        (
            b'{"input":"Hi","metadata":{"a":["\\u0000"]}}',
            422,
            "invalid_field_value",
            "metadata.a.0",
        ),
        (b'{"input":"Hi","memory":{"session":7}}', 422, "invalid_field_value", "memory.session"),
        (
            b'{"input":"Hi","budget":{"maxTokens":0}}',
            422,
            "invalid_field_value",
            "budget.maxTokens",
        ),
        (
            b'{"input":"Hi","budget":{"maxSteps":123456789012345678901234567890}}',
            400,
            "invalid_request",
            "budget.maxSteps",
        ),
        (
            b'{"input":"Hi","budget":{"maxCredits":1e10}}',
            422,
            "invalid_field_value",
            "budget.maxCredits",
        ),
        (b'{"input":"Hi","memoryStores":"mem_1"}', 422, "invalid_field_value", "memoryStores"),
        (
            b'{"input":"Hi","memoryStores":["mem_1"]}',
            404,
            "memory_store_not_found",
            "memoryStores.0",
        ),
    ],
    ids=lambda value: value[:40].decode("latin-1") if isinstance(value, bytes) else None,
)
async def test_a_bad_body_is_reported_by_field(
    api: Api, content: bytes, status: int, code: str, param: str
) -> None:
    response = await api.client.post(PATH, content=content)
    assert response.status_code == status, response.text
    error = response.json()["error"]
    assert (error["code"], error["param"]) == (code, param)
    assert error["requestId"] == response.headers["x-request-id"]
    assert (await api.get("/v1/executions")).json()["data"] == []


@pytest.mark.parametrize(
    "extra",
    [
        b'"memoryStores":[]',
        b'"memory":{}',
        b'"memory":null',
        b'"stream":null,"metadata":null,"budget":null',
        b'"unknown":{"x":1}',
        b'"metadata":{"huge":18446744073709551615,"e":1e308}',
    ],
)
async def test_harmless_bodies_are_taken(api: Api, extra: bytes) -> None:
    response = await api.client.post(PATH, content=b'{"input":"Hi",' + extra + b"}")
    assert response.status_code == 200, response.text


async def test_64_levels_are_not_too_deep(api: Api) -> None:
    assert (await api.client.post(PATH, content=deep(63))).status_code == 200


async def chunks(size: int) -> AsyncIterator[bytes]:
    for _ in range(size // 65_536):
        yield b"x" * 65_536


async def test_5_megabytes_are_413_in_one_piece_and_in_chunks(api: Api) -> None:
    async with api.listening() as client:
        contents: list[Any] = [b"x" * 5_000_000, chunks(5_000_000)]
        for content in contents:
            response = await client.post(PATH, content=content)
            assert response.status_code == 413
            assert response.json()["error"]["code"] == "body_too_large"
        assert (await client.get("/v1/agents")).status_code == 200


async def test_a_chunked_body_is_answered_before_it_has_ended(api: Api) -> None:
    chunk = b"10000\r\n" + b"x" * 65_536 + b"\r\n"
    head = (
        f"POST {PATH} HTTP/1.1\r\nHost: house\r\nX-Api-Key: {api.key}\r\n"
        "Transfer-Encoding: chunked\r\n\r\n"
    )
    async with api.listening() as client, asyncio.timeout(BOUND):
        reader, writer = await asyncio.open_connection(client.base_url.host, client.base_url.port)
        writer.write(head.encode() + chunk * 65)
        status = await reader.readline()
        writer.close()
    assert status.startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({}, "invalid_api_key"),
        ({"Authorization": "Bearer"}, "invalid_api_key"),
        ({"Authorization": "Bearer nonsense"}, "invalid_api_key"),
        ({"X-Api-Key": "\xe9"}, "invalid_api_key"),
    ],
)
async def test_a_bad_key_is_401(api: Api, headers: dict[str, str], code: str) -> None:
    del api.client.headers["authorization"]
    encoded = {name.encode(): value.encode("latin-1") for name, value in headers.items()}
    response = await api.client.get("/v1/agents", headers=encoded)
    assert response.status_code == 401
    assert response.json()["error"]["code"] == code
    assert response.headers["www-authenticate"] == "Bearer"


async def test_an_expired_key_says_so(api: Api) -> None:
    made = await api.core.services.keys.create(api.caller.workspace_id, "old", expires_at=1)
    response = await api.client.get("/v1/agents", headers={"Authorization": made.secret})
    assert response.status_code == 401
    assert response.json()["error"]["code"] == "expired_api_key"


async def test_an_unknown_route_has_the_rooms_shape(api: Api) -> None:
    for path in ("/v1/nothing", "/v1/executions/a/b/c", "/nowhere", "/v1/agents/", "/v1/events/x"):
        response = await api.get(path)
        assert response.status_code == 404
        assert response.json()["error"]["type"] == "not_found_error"
        assert response.headers["x-request-id"]


ROOMS = {
    "/v1/executions": {"error"},
    "/v1/execution": {"error"},
    "/run/api/executions": {"error"},
    "/api/v1/executions": {"code", "name", "message", "feedback", "cta"},
}


@pytest.mark.parametrize(("path", "fields"), ROOMS.items())
async def test_each_room_tells_what_is_wrong_in_its_own_shape(
    api: Api, path: str, fields: set[str]
) -> None:
    unknown = await api.get(f"{path}/a/b/c")
    wrong = await api.client.request("PATCH", path)
    del api.client.headers["authorization"]
    locked = await api.get(f"{path}/exec_01k6zj3t7hf2a9q1x5m8r4c0vb")
    for response, status in ((unknown, 404), (wrong, 405), (locked, 401)):
        assert response.status_code == status
        assert set(response.json()) == fields
        assert response.headers["x-request-id"]


async def test_a_wrong_method_says_which_are_right(api: Api) -> None:
    response = await api.client.put("/v1/conversations/x")
    assert response.status_code == 405
    assert response.headers["allow"] == "DELETE, GET"
    assert response.json()["error"]["code"] == "method_not_allowed"
    response = await api.client.get(PATH)
    assert (response.status_code, response.headers["allow"]) == (405, "POST")


async def test_a_mistake_of_ours_tells_nothing(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(*_: object) -> None:
        raise RuntimeError("secret detail")

    monkeypatch.setattr(api.core.services.executions, "get", broken)
    response = await api.get("/v1/executions/exec_01k6zj3t7hf2a9q1x5m8r4c0vb")
    assert response.status_code == 500
    assert "secret" not in response.text
    assert response.json()["error"]["type"] == "internal_error"


async def test_a_sane_request_id_comes_back_and_another_is_replaced(api: Api) -> None:
    response = await api.client.get("/v1/agents", headers={"X-Request-Id": "my-1:a.b_c"})
    assert response.headers["x-request-id"] == "my-1:a.b_c"
    for insane in (b"a b", b"\xff", b"x" * 129, b""):
        response = await api.client.get("/v1/agents", headers={b"X-Request-Id": insane})
        assert response.headers["x-request-id"].startswith("req_")


# --- what stands before and around JSON


@pytest.mark.parametrize(
    "content",
    [
        b'\xef\xbb\xbf{"input":"Hi"}',
        '\ufeff \n{"input":"Hi","metadata":{"a":"\ufeff"}}'.encode(),
    ],
)
async def test_a_byte_order_mark_before_json_is_read_over(api: Api, content: bytes) -> None:
    assert (await api.client.post(PATH, content=content)).status_code == 200


async def test_a_byte_order_mark_alone_is_no_body(api: Api) -> None:
    answer = await api.client.post("/run/api/executions", content=b"\xef\xbb\xbf")
    assert answer.status_code == 400


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32", "latin-1"])
async def test_another_encoding_than_utf_8_is_400(api: Api, encoding: str) -> None:
    content = '{"input":"Grüße"}'.encode(encoding)
    answer = await api.client.post(PATH, content=content)
    assert answer.status_code == 400
    if encoding in ("utf-16", "utf-32"):
        assert "UTF-8" in answer.json()["error"]["message"]


@pytest.mark.parametrize("path", [PATH, "/run/api/executions", "/v1/execution"])
@pytest.mark.parametrize(
    ("encoding", "content"),
    [
        ("gzip", gzip.compress(b'{"input":"Hi"}', mtime=0)),
        ("GZip", b"not even gzip"),
        ("br", b"\x0b\x02\x80"),
        ("identity, deflate", zlib.compress(b"{}")),
        (None, gzip.compress(b'{"input":"Hi"}', mtime=0)),
        (None, zlib.compress(b'{"input":"Hi"}')),
    ],
)
async def test_a_compressed_body_is_415_and_says_so(
    api: Api, path: str, encoding: str | None, content: bytes
) -> None:
    headers = {} if encoding is None else {"Content-Encoding": encoding}
    answer = await api.client.post(path, content=content, headers=headers)
    assert answer.status_code == 415
    assert answer.headers["accept-encoding"] == "identity"
    assert "uncompressed" in answer.text
    assert (encoding or "").lower() in answer.text


async def test_an_encoding_that_changes_nothing_is_taken(api: Api) -> None:
    for encoding in ("identity", " Identity ", ""):
        headers = {"Content-Encoding": encoding}
        answer = await api.client.post(PATH, content=b'{"input":"Hi"}', headers=headers)
        assert answer.status_code == 200


# --- whole numbers


@pytest.mark.parametrize(
    "number", [2**64, -(2**63) - 1, 10**19 * 2, 10**400, 12345678901234567890123]
)
@pytest.mark.parametrize("place", ["a", "b.c", "d.1"])
async def test_a_whole_number_beyond_64_bits_is_refused_by_name(
    api: Api, number: int, place: str
) -> None:
    given = {"a": '{"a":%d}', "b.c": '{"b":{"c":%d}}', "d.1": '{"d":[1,%d]}'}[place] % number
    content = b'{"input":"Hi","metadata":%b}' % given.encode()
    for path in (PATH, "/v1/execution"):
        answer = await api.client.post(path, content=content)
        assert answer.status_code == 400
        assert str(number)[:40] in answer.text
        assert f'"metadata.{place}"' in answer.text


@pytest.mark.parametrize(
    "number", ["18446744073709551615", "-9223372036854775808", "9007199254740993", "1e30", "0.1"]
)
async def test_numbers_of_64_bits_are_kept_as_they_were_sent(api: Api, number: str) -> None:
    text = '"12345678901234567890123"'
    content = f'{{"input":"Hi","metadata":{{"n":{number},"text":{text}}}}}'
    answer = await api.client.post(PATH, content=content)
    assert answer.status_code == 200
    assert answer.json()["metadata"] == json.loads(f'{{"n":{number},"text":{text}}}')
