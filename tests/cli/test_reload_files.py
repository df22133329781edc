"""`outlast serve --reload`: a written file is put into use, and nothing that runs is disturbed."""

import os
from pathlib import Path

import pytest

from outlast.cli.file_watch import FileWatch
from tests.cli.test_reload import LOOKS, PYTHON, names, run
from tests.support.command_line import AGENTS, CommandLine
from tests.support.databases import SQLITE

pytestmark = [pytest.mark.only(SQLITE), pytest.mark.anyio]


def test_a_written_agents_file_is_in_use_and_a_running_execution_goes_on(
    command_line: CommandLine,
) -> None:
    server = command_line.serve("--reload")
    client = server.client(command_line.key)
    body = {"input": "hold on", "background": True}
    held = client.post("/v1/agents/demo/execute", json=body).json()["id"]
    file = command_line.folder / "agents.yaml"

    file.write_text("agents: [")
    server.process.err.until(r"agents\.not_reloaded")
    assert names(client) == {"demo", "careful"}
    file.write_text(AGENTS.replace("name: careful", "name: thorough"))
    server.process.err.until(r"agents\.reloaded")
    assert names(client) == {"demo", "thorough"}
    (command_line.folder / "script.yaml").write_text('turns: [{steps: [{text: "Anew: {input}"}]}]')
    server.process.err.until(r"(?s)agents\.reloaded.*agents\.reloaded")
    assert run(client, "thorough")["output"] == "Anew: hi"
    assert client.get(f"/v1/executions/{held}").json()["status"] == "running"


def test_a_module_that_the_agents_file_imports_is_imported_anew(command_line: CommandLine) -> None:
    folder = command_line.folder
    (folder / "looker.py").write_text(PYTHON)
    (folder / "look.yaml").write_text(LOOKS)
    _written(folder / "sibling.py", "ANSWER = 'before'\n", nanoseconds=10**9)
    server = command_line.serve("--reload", "--agents", "looker.py")
    client = server.client(command_line.key)
    assert run(client, "looker")["output"] == "before"
    _written(folder / "sibling.py", "ANSWER = 'behind'\n", nanoseconds=10**9 + 1)
    server.process.err.until(r"agents\.reloaded")
    assert run(client, "looker")["output"] == "behind"


def _written(file: Path, text: str, *, nanoseconds: int) -> None:
    """Write a file with this time; Python's compiled files know it to the second, and its size."""
    new = file.with_suffix(".new")
    new.write_text(text)
    os.utime(new, ns=(nanoseconds, nanoseconds))
    new.replace(file)


async def test_only_the_project_s_own_files_count(tmp_path: Path) -> None:
    changes: list[int] = []
    watch = FileWatch(tmp_path, tmp_path / "data", lambda: changes.append(1))
    for name in ("data/a.json", ".git/b.py", "node_modules/c.json", "venv/d.py", "notes.txt"):
        file = tmp_path / name
        file.parent.mkdir(exist_ok=True)
        file.write_text("")
    await watch.compare()
    assert changes == []
    (tmp_path / "tools").mkdir()
    (tmp_path / "tools" / "e.py").write_text("")
    await watch.compare()
    await watch.compare()
    assert changes == [1]
    os.utime(tmp_path / "tools" / "e.py", (1, 1))
    await watch.compare()
    (tmp_path / "tools" / "e.py").unlink()
    await watch.compare()
    assert changes == [1, 1, 1]
