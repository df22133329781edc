"""Regular expressions of scripts end soon on any text, or are refused."""

import time

import pytest

from outlast.agents.models.expressions import Expression
from outlast.agents.models.scripted import ScriptedModel
from outlast.model.clock import SystemClock
from outlast.model.error import Misconfigured


@pytest.mark.parametrize(
    "text",
    [
        "(a+)+$",
        "(a*)*b",
        "(?:a|a)*b",
        "(a|ab)+c",
        r"(\w+\s?)*!",
        "((a+)b?)+$",
        "(?=(a+)+$)x",
        "(a?){20,}b",
        "(x(y{0,9})*)z",
        "x*x*x*x*x*x*y",
    ],
)
def test_an_expression_that_may_take_for_ever_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="unbounded time"):
        Expression.read(text)
    with pytest.raises(Misconfigured, match=r"turns\.0\.when.*unbounded time"):
        ScriptedModel.from_data({"turns": [{"when": text, "steps": [{}]}]}, SystemClock())


@pytest.mark.parametrize(
    ("text", "said", "found"),
    [
        (r"order (?P<order>\w+)", "My ORDER 17", "ORDER 17"),
        (r"^(?:foo|bar)+$", "foobar", "foobar"),
        (r"\d{3}-\d{4}", "call 555-1234", "555-1234"),
        (r"([a-z]{2}\d)+", "ab1cd2", "ab1cd2"),
        (r"^fail (?P<code>.*) (.*)", "fail a b", "fail a b"),
        ("", "anything", ""),
    ],
)
def test_any_other_finds_what_it_found(text: str, said: str, found: str) -> None:
    match = Expression.read(text).search(said)
    assert match is not None
    assert match[0] == found


@pytest.mark.parametrize("text", [".*a.*b.*c", r"\w*\w*\w*!", r"\w+!", ".*?a.*?b", "x*x*x*x*x*y"])
def test_several_repeats_end_soon_on_a_long_text(text: str) -> None:
    letter = "x" if "x" in text else "a"
    began = time.perf_counter()
    assert Expression.read(text).search(letter * 1_000_000) is None
    assert time.perf_counter() - began < 5
