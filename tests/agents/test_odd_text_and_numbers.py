"""Text and numbers of an agent that no JSON can spell are refused where it is defined."""

from math import inf, nan
from pathlib import Path
from typing import Any

import pytest

from outlast import Agent, Limits, settings
from outlast.agents.loader import load
from outlast.model.agent import Expiry, HttpCall, ToolSpec
from outlast.model.error import Misconfigured

HALF = "half of a surrogate pair is no character; write the character itself"
AGENT = '{"agents": [{"name": "a", "model": "m:x", %s}]}'


def loaded(folder: Path, name: str, text: str) -> str:
    """What is wrong with the file."""
    file = folder / name
    file.write_text(text)
    with pytest.raises(Misconfigured) as raised:
        load(str(file))
    return raised.value.message.removeprefix(f"{file}")


@pytest.mark.parametrize("name", ["a.json", "a.yaml"])
@pytest.mark.parametrize(
    "more",
    [
        r'"instructions": "caf\udce9"',
        r'"description": "\ud83d"',
        r'"tools": [{"builtin": "calculator", "description": "\ude00\ud83d"}]',
        r'"settings": {"stop": ["\ud83d"]}',
        r'"tools": [{"name": "t", "http": {"url": "http://x.example", "body": {"\ud83d": 1}}}]',
    ],
)
def test_half_a_surrogate_pair_in_a_file_names_file_and_line(
    tmp_path: Path, name: str, more: str
) -> None:
    assert loaded(tmp_path, name, "\n" + AGENT % more) == f":2: {HALF}"


@pytest.mark.parametrize("name", ["a.json", "a.yaml"])
def test_two_halves_in_a_file_are_their_character(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text(AGENT % r'"instructions": "\ud83d\ude00 ok", "description": "é"')
    (spec,) = load(str(tmp_path / name)).specs
    assert (spec.instructions, spec.description) == ("😀 ok", "é")


@pytest.mark.parametrize("key", ["instructions", "description", "model"])
@pytest.mark.parametrize("text", ["caf\udce9", "m:\ud83d"])
def test_half_a_surrogate_pair_in_python_names_the_key(key: str, text: str) -> None:
    with pytest.raises(Misconfigured) as raised:
        Agent(**({"name": "a", "model": "m:x"} | {key: text}))  # type: ignore[arg-type]
    assert raised.value.message == f'agent "a", {key}: {HALF}'


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity"])
@pytest.mark.parametrize(
    "more", ['"settings": {"temperature": %s}', '"limits": {"maxSeconds": %s}']
)
def test_a_json_file_holds_no_numbers_that_json_does_not_have(
    tmp_path: Path, number: str, more: str
) -> None:
    expected = loaded(tmp_path, "a.json", AGENT % (more % number))
    assert expected == f": not JSON: {number} is no number of JSON"


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ("settings: {temperature: 1e999}", "settings.temperature: "),
        ("limits: {maxSeconds: 1e999}", "limits.maxSeconds: "),
        ("limits: {maxTokens: 100000000000000000000}", "limits.maxTokens: "),
        ("tools: [{name: t, http: {url: http://x.example, timeout: 1e999}}]", "http.timeout: "),
        ("tools: [{name: t, http: {url: http://x.example, body: {a: [1e999]}}}]", "http.body.a[0]"),
    ],
)
def test_numbers_of_a_file_are_finite(tmp_path: Path, more: str, expected: str) -> None:
    text = f"agents:\n  - name: a\n    model: m:x\n    {more}\n"
    assert expected in loaded(tmp_path, "a.yaml", text)


SCHEMA: dict[str, Any] = {"type": "object", "properties": {}}


@pytest.mark.parametrize("number", [nan, inf, -inf])
@pytest.mark.parametrize(
    ("given", "key"),
    [
        (lambda n: {"settings": {"temperature": n}}, "settings.temperature"),
        (lambda n: {"settings": {"top_p": n}}, "settings.top_p"),
        (lambda n: {"limits": Limits(max_seconds=n)}, "limits.max_seconds"),
        (lambda n: {"limits": Limits(max_tokens=n)}, "limits.max_tokens"),
        (
            lambda n: {"tools": [ToolSpec("t", "", SCHEMA, builtin="datetime", timeout=n)]},
            "timeout",
        ),
        (
            lambda n: {"tools": [ToolSpec("t", "", SCHEMA, builtin="datetime", expiry=Expiry(n))]},
            "expiry",
        ),
        (
            lambda n: {"tools": [ToolSpec("t", "", SCHEMA | {"x": n}, builtin="datetime")]},
            "parameters.x",
        ),
        (
            lambda n: {"tools": [ToolSpec("t", "", SCHEMA, http=HttpCall("http://x", timeout=n))]},
            "http.timeout",
        ),
        (
            lambda n: {"tools": [ToolSpec("t", "", SCHEMA, http=HttpCall("http://x", body=[n]))]},
            "http.body[0]",
        ),
    ],
)
def test_numbers_of_an_agent_in_python_are_finite(given: Any, key: str, number: float) -> None:
    with pytest.raises(Misconfigured) as raised:
        Agent("a", model="m:x", **given(number))
    assert f"{key}: " in raised.value.message


@pytest.mark.parametrize("number", ["nan", "inf", "-Infinity", "1e999"])
@pytest.mark.parametrize(
    "name", ["drain_seconds", "takeover_seconds", "request_head_seconds", "concurrency"]
)
def test_settings_are_finite_numbers(tmp_path: Path, name: str, number: str) -> None:
    kind = "a whole number" if name == "concurrency" else "a number"
    variable = f"OUTLAST_{name.upper()}"
    with pytest.raises(Misconfigured) as raised:
        settings.load({}, {variable: number}, tmp_path)
    assert raised.value.message == f"{variable}: {number!r} is not {kind}."


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("OUTLAST_API_KEY", "k\udce9", "is not UTF-8"),
        ("OUTLAST_API_KEY", "schlüssel", "contains a character that is not ASCII"),
        ("OUTLAST_HOST", "h\udcff", "is not UTF-8"),
        ("OUTLAST_SECRET_KEY", "\udc80", "is not UTF-8"),
    ],
)
def test_a_variable_that_is_no_text_is_named(
    tmp_path: Path, name: str, value: str, expected: str
) -> None:
    with pytest.raises(Misconfigured) as raised:
        settings.load({}, {name: value}, tmp_path)
    assert raised.value.message == f"{name} {expected}."
