"""`outlast init`: what it writes runs as it is written."""

from signal import SIGTERM

import pytest
import yaml

from tests.support.command_line import CommandLine
from tests.support.databases import SQLITE

pytestmark = pytest.mark.only(SQLITE)


@pytest.fixture
def empty(command_line: CommandLine) -> CommandLine:
    """A folder with nothing in it, and no setting in the environment."""
    for file in command_line.folder.iterdir():
        file.unlink()
    for name in ("OUTLAST_DATA_DIR", "OUTLAST_AGENTS"):
        del command_line.environment[name]
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL"):
        command_line.environment[name] = ""
    return command_line


def test_a_new_project_runs_in_the_terminal_and_over_http_and_keeps_its_data_to_itself(
    empty: CommandLine,
) -> None:
    code, out, _ = empty.run("init")
    assert code == 0
    assert out.splitlines()[-1] == "  outlast serve --open --reload"
    code, out, err = empty.run("run", "assistant", "What is 6 * 7?")
    assert (code, "That is 42." in out) == (0, True), err
    empty.data = empty.folder / ".outlast"
    server = empty.serve("--strict")
    answer = server.client(empty.key).post("/v1/agents/assistant/execute", json={"input": "Hello"})
    assert answer.json()["status"] == "completed"
    assert answer.json()["output"].startswith("You said: Hello")
    assert server.stop(SIGTERM)[0] == 0
    assert (empty.folder / ".outlast" / "outlast.db").exists()
    assert (empty.folder / ".outlast" / ".gitignore").read_text() == "*\n"
    assert not (empty.folder / ".outlast" / ".outlast").exists()


def test_init_overwrites_nothing_and_writes_nothing_beside_what_is_there(
    empty: CommandLine,
) -> None:
    (empty.folder / "outlast.toml").write_text("port = 1\n")
    code, _, err = empty.run("init")
    assert code == 2
    assert "Already there: outlast.toml" in err
    assert [file.name for file in empty.folder.iterdir()] == ["outlast.toml"]
    code, out, _ = empty.run("init", "a b/new")
    assert code == 0
    assert "cd 'a b/new' && outlast serve" in out
    assert empty.run("init", "a b/new")[0] == 2


def test_a_folder_that_cannot_be_written_is_one_clear_line(empty: CommandLine) -> None:
    (empty.folder / "file").write_text("")
    code, _, err = empty.run("init", "file/sub")
    assert code == 2
    assert err.count("\n") == 1


@pytest.mark.parametrize("variable", ["OPENAI_API_KEY", "OPENAI_BASE_URL"])
def test_with_a_provider_in_the_environment_the_agent_asks_it(
    empty: CommandLine, variable: str
) -> None:
    assert empty.run("init", **{variable: "http://127.0.0.1:9/v1"})[0] == 0
    (agent,) = yaml.safe_load((empty.folder / "agents.yaml").read_text())["agents"]
    assert agent["model"] == "openai-chat:gpt-5-mini"
    assert not (empty.folder / "script.yaml").exists()
