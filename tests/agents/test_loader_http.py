"""The keys of an HTTP tool in an agents file: what reaches the spec, and what is refused."""

from pathlib import Path

import pytest

from outlast import Agent
from outlast.agents.loader import load
from outlast.model.agent import AgentSpec, HttpCall, ToolSpec
from outlast.model.error import Misconfigured
from outlast.model.spec_json import spec_digest, spec_from_dict, spec_to_dict

FILE = """
agents:
  - name: a
    model: m
    tools:
      - name: t
        parameters:
          type: object
          properties: {id: {type: string}, tags: {type: array}, note: {type: string}}
        http:
          %s
"""
LOGIN = (
    "a user and a password here would be stored in clear; write them as ${NAME}, or set the "
    "header Authorization"
)


def load_http(folder: Path, text: str) -> HttpCall:
    file = folder / "agents.yaml"
    file.write_text(FILE % text.replace("\n", "\n          "))
    (tool,) = load(str(file)).specs[0].tools
    assert tool.http is not None
    return tool.http


def test_every_key_of_a_request_reaches_the_spec_and_is_stored_whole(tmp_path: Path) -> None:
    call = load_http(
        tmp_path,
        "url: https://x/o/{id}\nmethod: patch\nquery: [tags]\n"
        "body: {the_note: '{note}', deep: [1]}\nsend: [metadata, session, user]",
    )
    assert call == HttpCall(
        "https://x/o/{id}",
        method="PATCH",
        query=["tags"],
        body={"the_note": "{note}", "deep": [1]},
        send=("metadata", "session", "user"),
    )
    spec = AgentSpec("a", "m", tools=(ToolSpec("t", "", {}, http=call),))
    assert spec_from_dict(spec_to_dict(spec)) == spec


def test_a_tool_of_a_file_of_before_keeps_its_version(tmp_path: Path) -> None:
    call = load_http(tmp_path, "url: https://x/o")
    assert call == HttpCall("https://x/o")
    spec = AgentSpec("a", "m", tools=(ToolSpec("t", "", {"type": "object"}, http=call),))
    assert spec_digest(spec) == "a176233355425c81226d75fed6c6059d166b585a07e94118f14510c1a3e76473"
    written = spec_to_dict(spec)
    for key in ("method", "query", "body", "send"):
        del written["tools"][0]["http"][key]
    assert spec_from_dict(written) == spec


@pytest.mark.parametrize(
    "text",
    [
        "url: ${BASE}/o/{id}\nmethod: GET",
        "url: https://${HOST}:${PORT}/o?key=${KEY}",
        "url: https://${USER}:${PASSWORD}@x/o",
        "url: https://x/o\nbody: false\nquery: {all: '{id} {note}', t: '{tags}'}",
    ],
)
def test_variables_may_stand_anywhere_in_a_url(tmp_path: Path, text: str) -> None:
    assert load_http(tmp_path, text).url


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            "url: https://me:pw@x/",
            f"http.url: {LOGIN}",
        ),
        (
            "url: https://token@x/",
            f"http.url: {LOGIN}",
        ),
        (
            "url: https://x/{order}",
            "http.url: there is no parameter 'order'; the parameters: id, tags, note",
        ),
        (
            "url: https://x/?q={q}",
            "http.url: there is no parameter 'q'; the parameters: id, tags, note",
        ),
        (
            "url: https://{id}.x/",
            "http.url: an argument fills the path or the query, not the host",
        ),
        (
            "url: https://x/{tags}",
            "http.url: the parameter 'tags' is an array and cannot be in a path",
        ),
        ("url: https://x/{}", "http.url: a { that names no parameter is written %7B"),
        ("url: https://x/\nmethod: FETCH", "http.method: one of GET, POST, PUT, PATCH, DELETE"),
        (
            "url: https://x/\nmethod: GET\nbody: [id]",
            "http.body: GET has no body; write query",
        ),
        (
            "url: https://x/\nquery: [nothing]",
            "http.query: there is no parameter 'nothing'; the parameters: id, tags, note",
        ),
        (
            "url: https://x/\nquery: id",
            "http.query: a list of arguments' names, or a mapping of names to values",
        ),
        (
            "url: https://x/\nbody: true",
            "http.body: a list of arguments' names, or a mapping of names to values",
        ),
        (
            "url: https://x/{id}\nbody: {t: '{tags}', nOte_x: '{nope}'}",
            "http.body: there is no parameter 'nope'; the parameters: id, tags, note",
        ),
        (
            "url: https://x/{id}\nmethod: GET\nquery: [tags]",
            "http: the parameter 'note' is in neither the URL, the query nor the body",
        ),
        (
            "url: https://x/\nbody: {some_key: '${A-B}'}",
            "http.body.some_key: a variable is written ${NAME}, of letters, digits and _",
        ),
        ("url: https://x/\nsend: [user, input]", "http.send[1]: one of user, metadata, session"),
    ],
)
def test_a_request_that_cannot_be_sent_is_refused_at_load(
    tmp_path: Path, text: str, problem: str
) -> None:
    with pytest.raises(Misconfigured) as raised:
        load_http(tmp_path, text)
    lines = raised.value.message.splitlines()
    assert any(line.endswith(f'agent "a", tool "t", {problem}') for line in lines)


def test_a_body_that_is_no_json_is_refused_where_the_agent_is_defined() -> None:
    call = HttpCall("https://x/", body={"when": object()})
    spec = ToolSpec("t", "", {"type": "object"}, http=call)
    with pytest.raises(Misconfigured, match=r"http\.body: this cannot be written as JSON"):
        Agent("a", model="m:x", tools=[spec])
