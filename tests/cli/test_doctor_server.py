"""What a server finds of itself, for the console's System page: what `outlast doctor` finds."""

import sys
from pathlib import Path

import pytest

from outlast.agents.loader import load
from outlast.cli.composition import compose
from outlast.cli.doctor_server import examine_running
from outlast.services.findings import Level
from outlast.settings import Settings
from tests.support.databases import POSTGRESQL, Database
from tests.support.mcp_servers import ODD, free_port

pytestmark = pytest.mark.anyio

FILE = """
agents:
  - name: clerk
    model: "scripted:script.yaml"
    tools:
      - {name: odd, mcp: {command: "PYTHON", args: [-B, "ODD", "FOLDER", plain]}}
      - {name: broken, mcp: {command: "PYTHON", args: [-B, "ODD", "FOLDER", crashes]}}
  - name: stranger
    model: stranger:model
"""


async def test_a_server_finds_of_itself_what_the_doctor_finds(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "script.yaml").write_text("turns: [{steps: [{text: Hello}]}]")
    text = FILE.replace("PYTHON", sys.executable).replace("ODD", ODD)
    (tmp_path / "agents.yaml").write_text(text.replace("FOLDER", str(tmp_path)))
    loaded = load("agents.yaml")
    settings = Settings(database_url=database.url, data_dir=tmp_path, agents="agents.yaml")
    composed = compose(settings, loaded)
    await composed.core.open()
    try:
        await composed.core.start()
        port = free_port()
        examining = examine_running(composed, loaded, f"http://127.0.0.1:{port}")
        found = {one.check: one async for one in examining}
    finally:
        await composed.core.close()
    assert found["database"].level is Level.OK
    assert found["agents"].text == "agents.yaml: clerk, stranger"
    assert [one.text for name, one in found.items() if "script.yaml" in name] == ["is ready"]
    assert found["model stranger:model"].level is Level.FAIL
    assert found["MCP server odd of clerk"].text == "lists 1 tool"
    assert "there is no licence" in found["MCP server broken of clerk"].text
    assert f":{port} is free; no server answers" in found["port"].text
    assert "integrity" not in found, "it would read the whole file"
    if database.kind == POSTGRESQL:
        assert found["workers"].text == "1 alive"
