"""The commands that look after a server, and the settings."""

import dataclasses
import re
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import orjson
import pytest

from outlast.cli.commands import serve
from outlast.settings import Settings
from tests.support.command_line import COMMAND, CommandLine
from tests.support.databases import SQLITE

Outlast = Callable[..., tuple[int, str, str]]
DOCUMENT = Path(__file__).parents[2] / "docs" / "operations.md"


def test_help_imports_nothing_heavy() -> None:
    heavy = [
        "sqlalchemy",
        "fastapi",
        "pydantic",
        "uvicorn",
        "rich",
        "structlog",
        "httpx2",
        "orjson",
    ]
    script = f"import sys; sys.argv = ['outlast', '--help']\n{COMMAND[-1].replace('main()', '')}\n"
    script += (
        f"try: main()\nfinally: print([m for m in {heavy} if m in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )

    assert "serve" in done.stdout
    assert done.stderr == "[]\n"


def test_a_server_starts_without_what_it_does_not_need(tmp_path: Path) -> None:
    vendors = {
        "rich.console",
        "alembic",
        "pydantic_ai",
        "xllamacpp",
        "httpx2",
        "jinja2",
        "pygments",
    }
    vendors |= {"mcp", "playwright", "numpy", "trafilatura", "psycopg", "genai_prices"}
    vendors |= {"docstring_parser", "jsonschema_rs"}
    late = {f"outlast.rooms.{name}.routes" for name in ("console", "records", "runs", "tasks")}
    serve = ["outlast", "serve", "--port", "0", "--data-dir", str(tmp_path / "data")]
    command = [sys.executable, "-X", "importtime", "-m", *serve]
    log = tmp_path / "log"
    with (
        log.open("w") as written,
        subprocess.Popen(
            command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=written, text=True
        ) as server,
    ):
        assert server.stdout is not None
        assert "http://127.0.0.1:" in server.stdout.readline()
        server.terminate()
        server.communicate()
    imported = set(re.findall(r"import time:.*\| +(\S+)$", log.read_text(), re.MULTILINE))

    assert {"uvicorn", "outlast.rooms.executions"} <= imported
    assert imported & (vendors | late) == set()


@pytest.mark.only(SQLITE)
def test_the_version_is_written(outlast: Outlast) -> None:
    assert outlast("--version") == (0, "outlast 0.2.0\n", "")


def test_workspaces_and_keys_are_made_listed_and_revoked(outlast: Outlast) -> None:
    assert outlast("workspaces", "create", "acme")[0] == 0
    assert "acme" in outlast("workspaces", "list")[1]

    code, secret, _ = outlast(
        *("keys", "create", "--workspace", "acme", "--name", "ci", "--scope", "executions:read"),
        *("--expires", "2100-01-31"),
    )
    assert code == 0
    assert secret.startswith("sk_outlast_")

    _, out, _ = outlast("keys", "list", "--workspace", "acme", "--json")
    (key,) = orjson.loads(out)
    assert (key["name"], key["state"], key["scopes"]) == ("ci", "open", ["executions:read"])
    assert key["expiresAt"] == "2100-01-31T23:59:59.999Z"
    assert secret.strip() not in out

    assert outlast("keys", "revoke", key["id"], "--workspace", "acme")[0] == 0
    assert "revoked" in outlast("keys", "list", "--workspace", "acme")[1]


@pytest.mark.only(SQLITE)
def test_a_key_that_has_expired_is_listed_as_expired(
    command_line: CommandLine, outlast: Outlast
) -> None:
    assert outlast("keys", "create", "--name", "ci", "--expires", "2100-01-31")[0] == 0
    assert "open" in outlast("keys", "list")[1]
    with closing(sqlite3.connect(command_line.data / "outlast.db")) as database:
        database.execute("UPDATE keys SET expires_at = 5")
        database.commit()
    assert "expired" in outlast("keys", "list")[1]


@pytest.mark.only(SQLITE)
@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("keys", "create", "--scope", "everything"), "agents:execute"),
        (("keys", "create", "--expires", "soon"), "'soon' is not a date"),
        (("keys", "create", "--expires", "9999-12-31T23:59:59-14:00"), "is not a date"),
        (("keys", "create", "--expires", "2001-01-01"), "in the past"),
        (("keys", "list", "--data-dir", "nowhere"), "There is no database at nowhere"),
        (("executions", "list", "--data-dir", "nowhere"), "(outlast serve)"),
        (("serve", "--port", "70000"), "OUTLAST_PORT must be between"),
        (("serve", "--cors-origins", "https://a.example, b.example"), "not 'b.example'"),
        (
            ("serve", "--cors-origins", "https://a.example/app"),
            "OUTLAST_CORS_ORIGINS must be origins",
        ),
        (("serve", "--agents", "missing.yaml"), "(outlast init writes an agents.yaml)"),
        (("serve", "--no-such-flag"), "--no-such-flag is not known here"),
        (("models", "pull", "gpt"), "no model named 'gpt'"),
    ],
)
def test_wrong_usage_exits_with_2_and_says_what_is_wrong(
    outlast: Outlast, arguments: tuple[str, ...], complaint: str
) -> None:
    code, _, err = outlast(*arguments)

    assert code == 2
    assert complaint in err
    assert "Traceback" not in err


@pytest.mark.only(SQLITE)
def test_prices_that_cannot_be_read_end_the_start_and_are_named(
    command_line: CommandLine, outlast: Outlast
) -> None:
    (command_line.folder / "outlast.toml").write_text("[prices.tools]\nlookup_order = -1")
    code, _, err = outlast("serve", "--port", "0")

    assert code == 2
    assert 'prices.tools."lookup_order": -1 is not between 0 and 1000000 credits' in err
    assert "Traceback" not in err


def test_an_unknown_workspace_exits_with_1_and_says_how_to_make_it(outlast: Outlast) -> None:
    outlast("migrate")
    code, _, err = outlast("keys", "create", "--workspace", "acme")

    assert code == 1
    assert "outlast workspaces create acme" in err


@pytest.mark.only(SQLITE)
def test_models_are_listed_with_what_fetches_them(outlast: Outlast) -> None:
    _, out, _ = outlast("models", "list")
    assert "outlast models pull smollm2" in out
    assert "outlast models pull all-minilm-l6-v2" in out
    _, out, _ = outlast("models", "list", "--json")
    models = [row["model"] for row in orjson.loads(out)]
    assert models == ["local:all-minilm-l6-v2", "local:smollm2"]


def test_executions_are_listed_shown_watched_and_cancelled_through_the_server(
    command_line: CommandLine, outlast: Outlast
) -> None:
    client = command_line.serve().client(command_line.key)
    ended = client.post("/v1/agents/demo/execute", json={"input": "the sum"}).json()["id"]
    body = {"input": "hold on", "background": True}
    held = client.post("/v1/agents/demo/execute", json=body).json()["id"]

    _, out, err = outlast("executions", "list", "--json")
    assert [row["id"] for row in orjson.loads(out)["data"]] == [held, ended]
    assert err == ""
    _, out, _ = outlast("executions", "list", "--status", "completed", "--agent", "demo")
    assert out.split("\t")[:2] == [ended, "completed"]
    _, out, _ = outlast("executions", "show", ended, "--json")
    assert orjson.loads(out) == client.get(f"/v1/executions/{ended}").json()
    assert outlast("executions", "watch", ended) == (
        0,
        "It is 4.\n",
        '→ calculator {"expression":"2+2"}\n← calculator 4\n',
    )
    assert outlast("executions", "cancel", held)[:2] == (0, f"{held} is cancelled.\n")
    code, _, err = outlast("executions", "cancel", held)
    assert code == 1
    assert "cannot be cancelled" in err
    assert outlast("executions", "watch", "exec_01m82yhm37efv952rt6c8ha0y2")[0] == 1


def test_a_list_says_why_an_execution_failed_and_which_agent_ran_it(
    command_line: CommandLine, outlast: Outlast
) -> None:
    client = command_line.serve().client(command_line.key)
    client.post("/v1/agents/demo/execute", json={"input": "fail"})
    client.post("/v1/agents/demo/execute", json={"input": "the sum"})

    _, out, _ = outlast("executions", "list", "--status", "failed")
    row = out.rstrip("\n").split("\t")
    assert (row[1], row[3]) == ("failed", "demo")
    assert row[4] == "model_rejected: scripted: not today"
    _, out, _ = outlast("executions", "list", "--status", "completed")
    assert out.rstrip("\n").split("\t")[3:] == ["demo", "It is 4."]


def test_without_a_server_list_and_show_read_the_database(
    with_worker: CommandLine, outlast: Outlast
) -> None:
    _, out, _ = with_worker.run("run", "demo", "the sum", "--json")
    execution = orjson.loads(out)
    with_worker.environment["OUTLAST_PORT"] = "9"

    code, out, err = outlast("executions", "list", "--json")
    assert (code, orjson.loads(out)) == (
        0,
        {"data": [execution], "hasMore": False, "nextCursor": None},
    )
    assert "Reading the database instead" in err
    assert outlast("executions", "list", "--status", "failed")[1] == ""
    assert orjson.loads(outlast("executions", "show", execution["id"], "--json")[1]) == execution
    assert outlast("executions", "watch", execution["id"])[0] == 1
    assert "demo" in outlast("agents", "list")[1]


@pytest.mark.only(SQLITE)
def test_doctor_finds_nothing_wrong_in_a_good_place(
    command_line: CommandLine, outlast: Outlast
) -> None:
    code, out, _ = outlast("doctor")
    assert code == 0, out
    assert "ok    agents: agents.yaml: demo, careful" in out

    command_line.serve()
    code, out, _ = outlast("doctor")
    assert code == 0, out
    assert "is in use by process" in out
    assert "and takes work" in out


@pytest.mark.only(SQLITE)
def test_doctor_names_what_is_wrong_and_the_command_that_mends_it(
    command_line: CommandLine, outlast: Outlast
) -> None:
    (command_line.folder / "agents.yaml").write_text(
        "agents: [{name: a, model: 'local:smollm2'}, {name: b, model: 'openai-chat:gpt-5-mini'}]"
    )
    command_line.data.mkdir()
    (command_line.data / "outlast.db").write_text("this is no database, " * 100)
    (command_line.data / "api_key").write_text("key")
    (command_line.data / "api_key").chmod(0o644)

    code, out, _ = outlast("doctor", "--json")

    found = {row["check"]: row for row in orjson.loads(out)}
    assert code == 1
    assert found["database"]["level"] == "fail"
    assert found["key"]["remedy"] == f"chmod 600 {command_line.data / 'api_key'}"
    assert found["model local:smollm2"]["level"] == "fail"
    assert "outlast models pull smollm2" in found["model local:smollm2"]["text"]


@pytest.mark.only(SQLITE)
def test_doctor_names_a_price_that_no_agent_goes_by(
    command_line: CommandLine, outlast: Outlast
) -> None:
    agents = "agents: [{name: a, model: 'openai-chat:gpt-5-mini', tools: [{builtin: calculator}]}]"
    (command_line.folder / "agents.yaml").write_text(agents)
    command_line.environment["OPENAI_API_KEY"] = "unused"

    def prices(model: str, tool: str) -> dict[str, Any]:
        (command_line.folder / "outlast.toml").write_text(
            f'prices.models."{model}" = {{input = 1, output = 2}}\nprices.tools.{tool} = 1'
        )
        rows = orjson.loads(outlast("doctor", "--json")[1])
        return next(row for row in rows if row["check"] == "prices")

    assert prices("openai-chat:gpt-5-mini", "calculator")["level"] == "ok"
    found = prices("gpt-5-mini", "calcul")
    assert found["level"] == "warn"
    assert found["text"].startswith("no agent has gpt-5-mini, calcul;")
    assert found["remedy"].endswith("calculator, openai-chat:gpt-5-mini")


@pytest.mark.only(SQLITE)
def test_flags_win_over_the_environment_which_wins_over_the_file(
    command_line: CommandLine, outlast: Outlast
) -> None:
    def port(*arguments: str) -> str:
        findings = orjson.loads(outlast("doctor", "--json", *arguments)[1])
        return next(str(row["text"]) for row in findings if row["check"] == "port")

    (command_line.folder / "outlast.toml").write_text("port = 8401")
    command_line.environment["OUTLAST_PORT"] = ""
    assert ":8401 " in port()
    command_line.environment["OUTLAST_PORT"] = "8402"
    assert ":8402 " in port()
    assert ":8403 " in port("--port", "8403")


TABLES = {field.name for field in dataclasses.fields(Settings) if field.metadata}
"""Settings of the file alone."""


def test_every_setting_is_a_flag_of_serve() -> None:
    settings = {field.name for field in dataclasses.fields(Settings)} - TABLES
    others = {"return", "worker", "strict", "open_browser", "reload"}

    assert set(serve.__annotations__) - others == settings


def test_every_setting_is_documented_with_its_default_and_no_other_is() -> None:
    text = DOCUMENT.read_text()
    section = text.partition("## Settings")[2].partition("\n## ")[0]
    documented = dict(re.findall(r"^\| `(\w+)` \| (?:`([^`]*)`)? ?\|", section, re.MULTILINE))
    settings = Settings()
    real = {
        field.name: str(getattr(settings, field.name)).replace(str(Path.home()), "~")
        for field in dataclasses.fields(Settings)
        if field.name not in TABLES
    }

    assert documented == real
    assert {name.capitalize() for name in TABLES} <= set(
        re.findall(r"^## (\w+)$", text, re.MULTILINE)
    )


def test_every_metric_is_documented_and_no_other_is() -> None:
    from outlast.metrics import Metrics

    metrics = Metrics()
    read = dict.fromkeys(
        ("running", "backlog", "followers", "taken_over", "orphans", "leads", "retention", "mcp"),
        lambda: 0,
    )
    metrics.watch(**read)
    found = re.findall(r"^# HELP (outlast_\w+)", metrics.render().decode(), re.MULTILINE)
    section = DOCUMENT.read_text().partition("## Metrics")[2].partition("\n## ")[0]

    assert set(re.findall(r"^\| `(\w+)`", section, re.MULTILINE)) == {
        name for name in found if not name.endswith("_created")
    }


@pytest.mark.only(SQLITE)
@pytest.mark.parametrize("name", ["a\x1b[2J", "a\nkey_1\tb", "a\u009b1m", "a\u202eb", "a\tb"])
def test_a_name_neither_steers_the_terminal_nor_forges_a_row(outlast: Outlast, name: str) -> None:
    assert outlast("keys", "create", "--name", name)[0] == 0
    lines = outlast("keys", "list")[1].splitlines()
    (line,) = [line for line in lines if "\ta" in line]
    assert line.count("\t") == 5
    assert line.replace("\t", "").isprintable()
