"""Golden transcripts: what is requested, the log that was written, every byte that was answered.

Each room's folder `golden/` holds pairs: NAME.yaml says the agent, its script and the requests,
NAME.txt is the transcript. Time stands still and ids are counted, so the bytes are the same in
every run. `OUTLAST_GOLDEN=write` writes the transcripts anew. What a YAML file may say stands in
`stage.py`.
"""

import os
from pathlib import Path
from typing import Any

import pytest
import yaml

import outlast.rooms
from tests.support.databases import Database
from tests.support.transcripts import Transcript

pytestmark = pytest.mark.anyio
ROOMS = Path(outlast.rooms.__file__).parent
TRANSCRIPTS = sorted(ROOMS.glob("*/golden/*.yaml"))


def test_every_room_has_transcripts() -> None:
    rooms = {path.parent.name for path in ROOMS.glob("*/__init__.py")}
    pages = ROOMS.glob("*/golden/*.html")  # those of the console are tests/rooms/console's
    assert {path.parts[-3] for path in (*TRANSCRIPTS, *pages)} == rooms


@pytest.mark.parametrize("path", TRANSCRIPTS, ids=lambda path: f"{path.parts[-3]}/{path.stem}")
async def test_a_transcript_is_the_same_byte_for_byte(path: Path, database: Database) -> None:
    transcript = await Transcript(_read(path), database).text()
    assert transcript == _golden(path.with_suffix(".txt"), transcript)


def _read(path: Path) -> dict[str, Any]:
    play: dict[str, Any] = yaml.safe_load(path.read_text())
    return play


def _golden(path: Path, transcript: str) -> str:
    if os.environ.get("OUTLAST_GOLDEN") == "write":
        path.write_text(transcript)
    return path.read_text()
