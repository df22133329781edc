"""npm `ai` reads the `ui` format: its first 6, which takes no unknown key, its newest 6, and 7."""

from pathlib import Path
from typing import Any

import pytest

from outlast.rooms.runs.stream.frames import NumberedFrames
from outlast.rooms.runs.stream.ui import CHUNK_TYPES, UiFold
from tests.support import event_logs, npm

pytestmark = pytest.mark.anyio


def stream(name: str) -> str:
    return b"".join(NumberedFrames(UiFold(event_logs.ID)).add(event_logs.ALL[name])).decode()


async def test_every_chunk_is_one_that_ai_knows_and_makes_the_message(packages: Path) -> None:
    streams = {name: stream(name) for name in event_logs.ALL}
    assert all(f'"type":"{kind}"' in "".join(streams.values()) for kind in CHUNK_TYPES)
    found = await npm.run(packages, "chunks.mjs", streams)
    assert set(found) == {"first", "six", "next"}
    for read in found.values():
        for name, shown in read.items():
            assert shown["problems"] == []
            assert shown["chunks"] == streams[name].count("\ndata: ")
            assert _texts(shown["message"]) == _texts(found["six"][name]["message"])
    assert _texts(found["six"]["approval"]["message"]) == ["Let me see.", "Refunded."]
    refund = _calls(found["six"]["approval"]["message"])["tc_2"]
    assert (refund["state"], refund["input"], refund["output"]) == (
        "output-available",
        {"amount": 4},
        "done",
    )
    denied = _calls(found["six"]["denial"]["message"])["tc_1"]
    assert denied["state"] == "output-denied"


async def test_ai_would_notice_a_key_that_it_does_not_know(packages: Path) -> None:
    wrong = 'data: {"type":"finish","index":3}\n\n'
    found = await npm.run(packages, "chunks.mjs", {"wrong": wrong})
    assert found["first"]["wrong"]["problems"]


def _texts(message: dict[str, Any]) -> list[str]:
    return [part["text"] for part in message["parts"] if part["type"] == "text"]


def _calls(message: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {part["toolCallId"]: part for part in message["parts"] if "toolCallId" in part}
