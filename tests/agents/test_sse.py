"""Server-sent events as WHATWG HTML reads them, cut anywhere."""

import pytest

from outlast.agents.models.sse import ErrorData, EventData

BOM = b"\xef\xbb\xbf"


def read(*parts: bytes) -> list[bytes]:
    events = EventData()
    found = [event for part in parts for event in events.feed(part)]
    return [*found, *events.finish()]


@pytest.mark.parametrize(
    ("stream", "expected"),
    [
        (b"data: a\n\ndata: b\n\n", [b"a", b"b"]),
        (b"data: a\r\n\r\ndata: b\r\n\r\n", [b"a", b"b"]),
        (b"data: a\r\rdata: b\r\r", [b"a", b"b"]),
        (b"data: a\r\n\rdata: b\n\r\n", [b"a", b"b"]),
        (BOM + b"data: a\n\n", [b"a"]),
        (BOM + BOM + b"data: a\n\ndata: b\n\n", [b"b"]),
        (b"data: " + BOM + b"a\n\n", [BOM + b"a"]),
        (b": comment\n\n:\ndata: a\n: more\n\n", [b"a"]),
        (b"data: a\ndata:b\ndata:  c\n\n", [b"a\nb\n c"]),
        (b"data\n\ndata:\n\ndata: \n\n", [b"", b"", b""]),
        (b"data: a\nid: 3\nevent: x\nretry: 9\nother: z\n\n", [b"a"]),
        (b"id: 3\n\nevent: x\n\ndata: a\n\n", [b"a"]),
        (b"\n\n\ndata: a\n\n\n\n\ndata: b\n\n", [b"a", b"b"]),
        (b"database: x\ndata : y\n data: z\n\n", []),
        ("data: é😀\n\n".encode(), ["é😀".encode()]),
        (b"data: a\n\ndata: cut off", [b"a", b"cut off"]),
        (b"", []),
        (BOM, []),
    ],
)
def test_a_stream_cut_anywhere_gives_the_same_events(stream: bytes, expected: list[bytes]) -> None:
    for size in (1, 2, 3, 5, len(stream) + 1):
        parts = [stream[at : at + size] for at in range(0, len(stream), size)]
        assert read(*parts) == expected
    for at in range(len(stream)):
        assert read(stream[:at], b"", stream[at:]) == expected


def test_an_event_is_passed_on_as_soon_as_its_empty_line_has_come() -> None:
    for end in (b"\n\n", b"\r\r"):
        events = EventData()
        assert events.feed(b"data: a" + end) == [b"a"]
        assert events.feed(b"data: b" + end) == [b"b"]


def test_the_type_of_an_event_tells_an_error() -> None:
    (plain, error) = read(b"event: message\ndata: a\n\nevent:error\ndata: b\n\n")
    assert not isinstance(plain, ErrorData)
    assert isinstance(error, ErrorData)
    assert not isinstance(read(b"event: error\nevent: x\ndata: b\n\n")[0], ErrorData)


def test_what_has_not_ended_is_counted() -> None:
    events = EventData()
    for _ in range(100):
        events.feed(b"data: " + b"x" * 994)
    assert events.held == 100_000
