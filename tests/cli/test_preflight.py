"""What cannot work is reported at the start, with the remedy, and `--strict` refuses it."""

from collections.abc import Callable

import orjson
import pytest

from tests.support.command_line import CommandLine
from tests.support.databases import POSTGRESQL, SQLITE

Outlast = Callable[..., tuple[int, str, str]]

BROKEN = """
agents:
  - {name: typo, model: "openai-caht:gpt-5-mini"}
  - {name: keyless, model: "openai-chat:gpt-5-mini"}
  - {name: bridged, model: "anthropic:claude-sonnet-5-5"}
  - {name: unscripted, model: "scripted:none.yaml"}
  - {name: unpulled, model: "local:smollm2"}
  - name: shop
    model: "scripted:script.yaml"
    tools:
      - name: look
        description: Look
        http: {url: "http://127.0.0.1:1/x", headers: {Authorization: "Bearer ${SHOP_TOKEN_X}"}}
"""
REMEDIES = {
    "typo": "Did you mean openai-chat:gpt-5-mini?",
    "keyless": "set OPENAI_API_KEY",
    "bridged": "set ANTHROPIC_API_KEY",
    "unscripted": "none.yaml",
    "unpulled": "outlast models pull smollm2",
    "shop": "SHOP_TOKEN_X",
}


@pytest.fixture
def broken(command_line: CommandLine) -> CommandLine:
    (command_line.folder / "agents.yaml").write_text(BROKEN)
    command_line.environment["OUTLAST_LOG_FORMAT"] = "json"
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "ANTHROPIC_API_KEY"):
        command_line.environment[name] = ""
    return command_line


@pytest.mark.only(SQLITE)
def test_a_start_warns_of_every_agent_that_cannot_run_and_names_the_mend(
    broken: CommandLine,
) -> None:
    server = broken.serve(OUTLAST_DATABSE_URL="x", OUTLAST_WHATEVER="y")
    assert server.client(broken.key).get("/v1/agents").status_code == 200
    for agent, remedy in REMEDIES.items():
        line = server.process.err.until(rf'.*"agent":"{agent}".*\n')[0]
        warning = orjson.loads(line)
        assert (warning["event"], warning["level"]) == ("agent.not_ready", "warning")
        assert remedy in warning["problem"], agent
    err = server.process.err
    assert "did you mean OUTLAST_DATABASE_URL?" in err.until(r".*OUTLAST_DATABSE_URL.*\n")[0]
    assert 'OUTLAST_WHATEVER is not a setting"' in err.until(r".*OUTLAST_WHATEVER.*\n")[0]


@pytest.mark.only(SQLITE)
def test_a_strict_start_is_refused_with_all_of_it_and_leaves_nothing_behind(
    broken: CommandLine,
) -> None:
    code, _, err = broken.run("serve", "--strict", OUTLAST_DATABSE_URL="x")
    assert code == 2
    for agent, remedy in REMEDIES.items():
        assert any(f'agent "{agent}"' in line and remedy in line for line in err.splitlines()), (
            agent
        )
    assert "OUTLAST_DATABSE_URL" in err
    assert not (broken.data / "outlast.db").exists()


@pytest.mark.only(SQLITE)
def test_agents_that_can_run_start_without_a_warning(command_line: CommandLine) -> None:
    server = command_line.serve("--strict")
    assert server.stop(15)[0] == 0
    assert "not_ready" not in server.process.err.whole()


@pytest.mark.only(POSTGRESQL)
def test_a_server_that_runs_no_executions_needs_no_keys(broken: CommandLine) -> None:
    assert broken.serve("--no-worker", "--strict").url


@pytest.mark.only(SQLITE)
def test_doctor_says_the_same(broken: CommandLine, outlast: Outlast) -> None:
    broken.environment["OUTLAST_PROT"] = "1"
    code, out, _ = outlast("doctor", "--json")
    found = {row["check"]: row for row in orjson.loads(out)}
    assert code == 1
    assert REMEDIES["typo"] in found["model openai-caht:gpt-5-mini"]["text"]
    assert REMEDIES["shop"] in found["agent shop"]["text"]
    assert "OUTLAST_PORT" in found["environment"]["text"]


@pytest.mark.only(SQLITE)
def test_doctor_checks_the_embedding_models_of_memory_stores(
    command_line: CommandLine, outlast: Outlast
) -> None:
    (command_line.folder / "agents.yaml").write_text(
        "agents: [{name: a, model: 'echo:'}]\nmemoryStores:\n"
        "- {name: one, embedding: 'openai-embeddings:small'}\n"
        "- {name: two, embedding: 'local:all-minilm-l6-v2'}\n"
        "- {name: three, embedding: 'unknown:small'}\n- {name: four}\n"
    )
    command_line.environment["OPENAI_BASE_URL"] = "http://127.0.0.1:1/v1"
    code, out, _ = outlast("doctor", "--json")
    prefix = "embedding model "
    rows = {row["check"]: row for row in orjson.loads(out) if row["check"].startswith(prefix)}
    assert (code, len(rows)) == (1, 3)
    assert rows[f"{prefix}openai-embeddings:small"]["level"] == "ok"
    assert "outlast models pull" in rows[f"{prefix}local:all-minilm-l6-v2"]["text"]
    assert "No provider is named 'unknown'" in rows[f"{prefix}unknown:small"]["text"]
