"""What is a JSON Schema at a glance is one for the validator too, which is then not loaded."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outlast.agents.tools import plain_schema
from outlast.agents.tools.arguments import compile_schema
from outlast.agents.tools.plain_schema import is_plain

TEXTS = st.sampled_from(["", "a", "b", "object", "string", "null", "date", "text"])
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXTS
VALUES = st.recursive(
    SCALARS,
    lambda below: st.lists(below, max_size=3) | st.dictionaries(TEXTS, below, max_size=3),
    max_leaves=6,
)
PLAIN: dict[str, Any] = {
    "type": "object",
    "description": "An order.",
    "properties": {
        "id": {"type": "string", "minLength": 1, "maxLength": 26, "format": "ulid"},
        "kind": {"enum": ["new", None, 3], "default": "new", "title": "Kind"},
        "lines": {
            "type": "array",
            "items": {"type": "object", "additionalProperties": {"type": "number"}},
            "minItems": 1,
            "maxItems": 9,
        },
        "note": {"anyOf": [{"type": "string"}, {"type": "null"}], "default": None},
        "share": {"type": "number", "minimum": 0, "maximum": 1.5},
    },
    "required": ["id", "kind"],
    "additionalProperties": False,
}


def schemas() -> st.SearchStrategy[Any]:
    """Dictionaries of known keywords whose values fit, nearly fit or do not."""

    def keywords(below: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
        values = VALUES | below | st.lists(below, max_size=3)
        values |= st.dictionaries(TEXTS, below, max_size=3) | st.lists(TEXTS, max_size=3)
        return st.dictionaries(st.sampled_from(sorted(plain_schema._KEYWORDS)), values, max_size=4)

    return st.recursive(st.fixed_dictionaries({}), keywords, max_leaves=8)


@given(schemas())
def test_what_is_a_schema_at_a_glance_is_one_for_the_validator(schema: Any) -> None:
    if is_plain(schema):
        compile_schema(schema)


@pytest.mark.parametrize("key", sorted(plain_schema._KEYWORDS))
@given(value=VALUES)
def test_each_keyword_takes_no_value_that_the_validator_refuses(key: str, value: Any) -> None:
    if is_plain({key: value}):
        compile_schema({key: value})


def test_the_schemas_that_tools_have_are_known_at_a_glance() -> None:
    assert is_plain(PLAIN)


@pytest.mark.parametrize(
    "change",
    [
        {"$ref": "#"},
        {"pattern": "("},
        {"type": "numbr"},
        {"type": ["object"]},
        {"required": ["a", "a"]},
        {"properties": {"a": True}},
        {"items": []},
        {"minLength": True},
        {"minimum": float("inf")},
        {"enum": "abc"},
        {"anyOf": []},
        {"x": 1},
    ],
)
def test_any_other_is_for_the_validator(change: dict[str, Any]) -> None:
    assert not is_plain(PLAIN | change)


@pytest.mark.parametrize(("more", "loaded"), [("", False), (", pattern: '^a'", True)])
def test_the_validator_is_loaded_for_a_schema_that_needs_it_alone(
    tmp_path: Path, more: str, *, loaded: bool
) -> None:
    agents = tmp_path / "agents.yaml"
    agents.write_text(
        "agents:\n"
        "- name: shop\n"
        "  model: scripted:x.yaml\n"
        "  tools:\n"
        "  - name: find\n"
        f"    parameters: {{type: object, properties: {{id: {{type: string{more}}}}}}}\n"
        "    http: {url: 'http://127.0.0.1:9/x'}\n"
    )
    (tmp_path / "x.yaml").write_text("- text: ok\n")
    command = [sys.executable, "-X", "importtime", "-m", "outlast", "tools", "list", "shop"]
    done = subprocess.run(
        [*command, "--agents", str(agents)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr[-500:]
    assert ("jsonschema_rs" in done.stderr) is loaded
