"""Chains of models, and settings of today's models: read from files and Python, and stored."""

from pathlib import Path
from typing import Any

import pytest

from outlast import Agent, ModelChoice
from outlast.agents.check import agent_problems, operators_only
from outlast.agents.loader import load
from outlast.agents.models import local_prompt
from outlast.agents.models.assemble import OPENAI_ID, sent_ids
from outlast.agents.models.chat_request import encode
from outlast.agents.port import ModelRequest
from outlast.model.agent import AgentSpec
from outlast.model.error import Misconfigured
from outlast.model.message import AssistantMessage, ToolCall, UserMessage
from outlast.model.spec_json import spec_digest, spec_from_dict, spec_to_dict
from outlast.model.text import read_json

CHAIN = """
agents:
  - name: a
    model:
      - openrouter:gpt-5
      - {name: scripted:x.yaml, contextTokens: 200000}
    fallbackOn: [model_unavailable, model_rejected]
    settings: {reasoningEffort: high, maxCompletionTokens: 900}
"""


@pytest.fixture
def chained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AgentSpec:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "agents.yaml").write_text(CHAIN)
    loaded = load("agents.yaml")
    assert loaded.models == ["openrouter:gpt-5", f"scripted:{tmp_path / 'x.yaml'}"]
    return loaded.specs[0]


def test_a_chain_of_a_file_has_its_models_in_their_order(
    chained: AgentSpec, tmp_path: Path
) -> None:
    assert chained.model == "openrouter:gpt-5"
    assert chained.models == (
        ModelChoice("openrouter:gpt-5"),
        ModelChoice(f"scripted:{tmp_path / 'x.yaml'}", 200_000),
    )
    assert chained.fallback_on == ("model_unavailable", "model_rejected")
    assert chained.settings == {"reasoning_effort": "high", "max_completion_tokens": 900}


def test_python_writes_a_chain_as_a_list(chained: AgentSpec) -> None:
    spec = Agent(
        "a",
        model=["openrouter:gpt-5", *chained.chain[1:]],
        fallback_on=["model_unavailable", "model_rejected"],
        settings={"reasoning_effort": "high", "max_completion_tokens": 900},
    ).spec
    assert spec == chained
    assert Agent("a", model="m").spec.models == (ModelChoice("m"),)


def test_a_chain_survives_json_and_an_agent_without_one_is_stored_as_before(
    chained: AgentSpec,
) -> None:
    again = spec_from_dict(spec_to_dict(chained))
    assert again == chained
    assert spec_digest(again) == spec_digest(chained)
    single = AgentSpec("second", "local:smollm2")
    assert {"chain", "fallback_on"} & {*spec_to_dict(single)} == set()
    assert spec_digest(single) == DIGEST
    assert spec_from_dict(spec_to_dict(single)) == single


DIGEST = "4cca9ed55147cf3e050777bae49e2102ac9f2036faaca9caa5d6348c31460711"
"""As 0.2.0 has stored it."""


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ("model: []", "model: this is empty"),
        ("model: [m, m]", "model[1]: 'm' is in the chain already"),
        ("model: [m, '']", "model[1]: this is empty"),
        ("model: [m, {name: n, contextTokens: 0}]", "contextTokens"),
        ("model: [m, {name: n, size: 5}]", "size"),
        ("model: 5", "model: "),
        ("model: m\n    fallbackOn: [model_rejected]", "fallbackOn: there is no other model"),
        ("model: [m, n]\n    fallbackOn: [rejected]", "fallbackOn"),
        ("model: m\n    settings: {reasoningEffort: huge}", "settings.reasoningEffort"),
        (
            "model: m\n    settings: {maxTokens: 1, maxCompletionTokens: 1}",
            "settings.maxCompletionTokens: max_tokens is set too",
        ),
        (f"model: {[str(n) for n in range(9)]}", "model: a chain has at most 8 models"),
    ],
)
def test_a_chain_that_cannot_be_is_refused_by_its_key(
    changes: str, says: str, tmp_path: Path
) -> None:
    (tmp_path / "agents.yaml").write_text(f"agents:\n  - name: a\n    {changes}\n")
    with pytest.raises(Misconfigured) as refused:
        load(str(tmp_path / "agents.yaml"))
    assert says in refused.value.message


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"model": []}, "model: this is empty"),
        ({"model": ["m", 5]}, "model: should be text, not int"),
        ({"model": ["m", "n"], "fallback_on": ["x"]}, "fallback_on: 'x' is none of"),
        ({"model": "m", "settings": {"reasoning_effort": "x"}}, "reasoning_effort: 'x' is none of"),
        ({"model": "m", "settings": {"web_search": "yes"}}, "web_search: true or false"),
        (
            {"model": ["m", "local:smollm2"], "settings": {"web_search": True}},
            "local:smollm2 cannot search by itself; give the agent the tool web_search",
        ),
    ],
)
def test_a_chain_of_python_is_checked_too(arguments: dict[str, Any], says: str) -> None:
    with pytest.raises(Misconfigured) as refused:
        Agent("a", **arguments)
    assert says in refused.value.message


def test_no_model_of_a_callers_chain_is_a_file_of_the_server() -> None:
    spec = AgentSpec("a", "m", chain=(ModelChoice("m"), ModelChoice("scripted:/etc/passwd")))
    assert not list(agent_problems(spec))
    assert [problem.path for problem in operators_only(spec)] == [("model",)]


# --- what is sent


def request(**settings: Any) -> ModelRequest:
    return ModelRequest("", (UserMessage("Hello"),), settings=settings)


@pytest.mark.parametrize("limit_name", ["max_tokens", "max_completion_tokens"])
def test_reasoning_effort_and_completion_tokens_are_sent_by_their_names(limit_name: str) -> None:
    sent = read_json(
        encode("m", request(reasoning_effort="low", max_completion_tokens=9), limit_name)
    )
    assert (sent["reasoning_effort"], sent["max_completion_tokens"]) == ("low", 9)
    assert "max_tokens" not in sent


def test_a_search_of_the_provider_is_requested_by_its_name() -> None:
    sent = read_json(encode("m", request(web_search=True)))
    assert sent["web_search_options"] == {}
    for none in (request(web_search=False), request()):
        assert not {"web_search", "web_search_options"} & set(read_json(encode("m", none)))


def test_what_is_left_of_a_budget_bounds_completion_tokens() -> None:
    sent = read_json(encode("m", request(max_tokens=4, max_completion_tokens=9)))
    assert (sent["max_completion_tokens"], "max_tokens" in sent) == (4, False)
    sent = read_json(encode("m", request(max_tokens=40, max_completion_tokens=9)))
    assert sent["max_completion_tokens"] == 9


def test_a_local_model_is_bounded_by_either_name() -> None:
    def limit(**settings: Any) -> Any:
        return local_prompt.body(request(**settings), None)["max_tokens"]

    assert (limit(), limit(max_tokens=7), limit(max_completion_tokens=8)) == (256, 7, 8)


def test_the_id_of_a_call_is_that_of_its_provider_where_the_next_one_accepts_it() -> None:
    long = "chatcmpl-tool-" + "0" * 32
    message = AssistantMessage(
        (
            ToolCall("tc_1", "look", {}, provider_id="functions.look:0"),
            ToolCall("tc_2", "look", {}, provider_id=long),
        )
    )
    assert sent_ids([message]) == {"tc_1": "functions.look:0", "tc_2": long}
    assert sent_ids([message], OPENAI_ID) == {"tc_1": "functions.look:0", "tc_2": "tc_2"}
