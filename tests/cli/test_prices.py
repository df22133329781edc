"""`outlast prices`: what each model costs, by which price; and the doctor's word on it."""

from collections.abc import Callable
from typing import Any

import orjson
import pytest

from outlast.agents.prices import genai
from tests.support.command_line import CommandLine
from tests.support.databases import SQLITE

Outlast = Callable[..., tuple[int, str, str]]
pytestmark = pytest.mark.only(SQLITE)
FILE = """
[prices]
creditsPerDollar = 1000
[prices.providers]
gw = "openai"
wrong = "open-ai"
[prices.models."openai-chat:gpt-5"]
input = 1
output = 2
cacheRead = 0.5
"""
AGENTS = """
providers:
  gw: {baseUrl: "http://127.0.0.1:1/v1"}
agents:
  - {name: a, model: "openai-chat:gpt-5"}
  - {name: b, model: "gw:gpt-5-mini"}
  - {name: c, model: "gw:gpt-5-mini"}
"""


@pytest.fixture
def priced(command_line: CommandLine) -> CommandLine:
    (command_line.folder / "outlast.toml").write_text(FILE)
    (command_line.folder / "agents.yaml").write_text(AGENTS)
    command_line.environment["OPENAI_API_KEY"] = "unused"
    return command_line


def test_each_model_of_the_agents_is_shown_with_its_price_and_where_it_is_from(
    outlast: Outlast, priced: CommandLine
) -> None:
    code, out, err = outlast("prices")
    assert (code, err) == (0, "")
    own, listed = (line.split("\t") for line in out.splitlines())
    assert own == ["openai-chat:gpt-5", "1", "2", "0.5", "1", "outlast.toml"]
    assert listed[:5] == ["gw:gpt-5-mini", "250", "2000", "25", "250"]
    assert listed[5].startswith("genai-prices 0.")
    assert listed[5].endswith(": openai gpt-5-mini")


def test_models_that_are_named_are_shown_with_their_tiers_and_a_missing_price_exits_with_1(
    outlast: Outlast, priced: CommandLine
) -> None:
    names = ("google:gemini-2.5-pro", "local:smollm2", "wrong:gpt-5")
    code, out, _ = outlast("prices", "--json", *names)
    found: dict[str, Any] = {one["model"]: one for one in orjson.loads(out)}
    assert code == 1
    assert found["google:gemini-2.5-pro"]["input"] == 1250
    assert found["google:gemini-2.5-pro"]["tiers"] == [
        {
            "aboveInputTokens": 200_000,
            "input": 2500,
            "output": 15_000,
            "cacheRead": 250,
            "cacheWrite": 2500,
        }
    ]
    assert found["local:smollm2"]["source"] == "default"
    assert found["local:smollm2"]["output"] == 1000
    assert found["wrong:gpt-5"]["problem"] == "genai-prices has no provider 'open-ai'"
    assert outlast("prices", "local:smollm2") == (
        1,
        "local:smollm2\t1000\t1000\t1000\t1000\tdefault\n",
        "",
    )


def test_the_doctor_names_models_without_a_price_and_a_provider_that_the_list_lacks(
    outlast: Outlast, priced: CommandLine
) -> None:
    (priced.folder / "agents.yaml").write_text(
        AGENTS + '  - {name: d, model: "wrong:gpt-5"}\n  - {name: e, model: "local:smollm2"}\n'
    )
    rows = {row["check"]: row for row in orjson.loads(outlast("doctor", "--json")[1])}
    assert rows["list prices"]["level"] == "fail"
    assert rows["list prices"]["text"] == "genai-prices has no provider 'open-ai'"
    assert rows["models without a price"]["level"] == "warn"
    assert rows["models without a price"]["text"].startswith("wrong:gpt-5, local:smollm2: no price")
    assert "[prices.models]" in rows["models without a price"]["remedy"]


def test_without_the_package_a_start_is_refused_and_the_install_is_named(
    outlast: Outlast, priced: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(genai, "find_spec", lambda _: None)
    for command in (("serve",), ("prices",), ("run", "a", "hello")):
        code, _, err = outlast(*command)
        assert code == 2
        assert "prices.creditsPerDollar needs an extra: pip install '.[prices]'" in err
    rows = {row["check"]: row for row in orjson.loads(outlast("doctor", "--json")[1])}
    assert "pip install '.[prices]'" in rows["list prices"]["text"]


def test_nothing_to_show_says_what_to_name(
    outlast: Outlast, command_line: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OUTLAST_AGENTS", raising=False)
    del command_line.environment["OUTLAST_AGENTS"]
    code, _, err = outlast("prices")
    assert code == 2
    assert "name one, or an agents file with --agents FILE" in err
