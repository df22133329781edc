# ruff: noqa: E501 - an exact message stands on one line
"""The agents file: what it gives, and the exact words for what is wrong with it."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from outlast.agents.loader import load
from outlast.model.agent import AgentSpec, Effect, HttpCall, Limits, ToolSpec
from outlast.model.error import Misconfigured
from outlast.model.spec_json import spec_digest

FULL = """
agents:
  - name: support
    description: Answers order questions
    model: openai-chat:gpt-5-mini
    instructions: You help customers.
    tools:
      - name: lookup_order
        description: Look up an order
        parameters: {type: object, properties: {orderId: {type: string}}, required: [orderId]}
        http: {url: "https://shop.example/lookup", headers: {Authorization: "Bearer ${SHOP_TOKEN}"}, timeout: 10}
        effect: read_only
      - name: refund
        python: shop_tools_of_test:refund
        approval: true
      - builtin: calculator
    toolChoice: lookup_order
    limits: {maxSteps: 5, maxTokens: 1000, maxSeconds: null}
    settings: {temperature: 0, maxTokens: 100, topP: 0.5, stop: [no], seed: 1}
  - {name: second, model: "local:smollm2"}
"""

SHOP = '''
"""A shop."""
from outlast import tool

@tool(effect="idempotent", timeout=3)
def refund(order_id: str) -> str:
    """Refund an order."""
    return order_id

number = 1
'''


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    (tmp_path / "shop_tools_of_test.py").write_text(SHOP)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    for name in [name for name in sys.modules if name.endswith("_of_test")]:
        del sys.modules[name]


def test_every_key_of_a_full_file_reaches_the_spec(folder: Path) -> None:
    (folder / "agents.yaml").write_text(FULL)
    loaded = load("agents.yaml")
    support, second = loaded.specs
    assert second == AgentSpec("second", "local:smollm2")
    assert support.tool_choice == "lookup_order"
    assert support.limits == Limits(5, 1000, None)
    assert support.settings == {
        "temperature": 0,
        "max_tokens": 100,
        "top_p": 0.5,
        "stop": ["no"],
        "seed": 1,
    }
    lookup, refund, calculator = support.tools
    schema = {
        "type": "object",
        "properties": {"orderId": {"type": "string"}},
        "required": ["orderId"],
    }
    headers = {"Authorization": "Bearer ${SHOP_TOKEN}"}
    http = HttpCall("https://shop.example/lookup", headers, 10.0)
    assert lookup == ToolSpec(
        "lookup_order", "Look up an order", schema, Effect.READ_ONLY, timeout=10.0, http=http
    )
    assert (refund.description, refund.effect, refund.approval, refund.timeout) == (
        "Refund an order.",
        Effect.IDEMPOTENT,
        True,
        3.0,
    )
    assert calculator.builtin == "calculator"
    assert list(loaded.functions) == ["shop_tools_of_test:refund"]


def test_an_unchanged_file_has_unchanged_digests(folder: Path) -> None:
    (folder / "agents.yaml").write_text(FULL)
    first = [spec_digest(spec) for spec in load("agents.yaml").specs]
    assert [spec_digest(spec) for spec in load("agents.yaml").specs] == first


def agent(lines: str) -> str:
    return "agents:\n  - name: a\n    model: m\n" + "".join(f"    {x}\n" for x in lines.split("\n"))


def tool(lines: str) -> str:
    return agent("tools:\n  - " + lines.replace("\n", "\n    "))


BAD = {
    "empty file": ("", "x.yaml: the file is empty; it begins with agents:"),
    "no mapping": ("[1]", "x.yaml:1: this must be a mapping of keys, not a list"),
    "no agents": (
        "agents: []",
        "x.yaml:1: agents: must not be empty",
    ),
    "no yaml": (
        "agents: [",
        "x.yaml:1: not YAML: expected the node content, but found '<stream end>'",
    ),
    "a tag": (
        "agents: !!python/object:os.system {}",
        "x.yaml:1: not YAML: could not determine a constructor for the tag 'tag:yaml.org,2002:python/object:os.system'",
    ),
    "a key twice": (
        "agents:\n- name: a\n  name: b",
        "x.yaml:3: the key name is written twice, see line 2",
    ),
    "a key that is no text": (
        "agents:\n- 1: a",
        'x.yaml:2: a key must be text; write it in quotes: "1"',
    ),
    "a loop": ("agents: &a [*a]", "x.yaml:1: a value contains itself"),
    "an unknown top key": (
        "agent: []",
        "x.yaml:1: the key agents is missing\nx.yaml:1: agent: unknown key; did you mean agents?",
    ),
    "no model": ("agents:\n- name: a", 'x.yaml:2: agent "a": the key model is missing'),
    "no name": ("agents:\n- model: a", "x.yaml:2: agents[0]: the key name is missing"),
    "a misspelt key": (
        agent("instruction: x"),
        'x.yaml:4: agent "a", instruction: unknown key; did you mean instructions?',
    ),
    "snake case": (
        agent("tool_choice: x"),
        'x.yaml:4: agent "a", tool_choice: unknown key; did you mean toolChoice?',
    ),
    "a far key": (
        agent("limits: {zzz: 1}"),
        'x.yaml:4: agent "a", limits.zzz: unknown key; known keys: maxSteps, maxTokens, maxSeconds',
    ),
    "a wrong type": (
        agent("limits: {maxSteps: many}"),
        'x.yaml:4: agent "a", limits.maxSteps: must be a whole number, not "many"',
    ),
    "a limit of nothing": (
        agent("limits: {maxSteps: 0}"),
        'x.yaml:4: agent "a", limits.maxSteps: must be greater than 0, not 0',
    ),
    "a name": (
        "agents:\n- name: a b\n  model: m",
        "x.yaml:2: agent \"a b\", name: 'a b' is not an agent's name: 1 to 64 letters, digits, _ and -",
    ),
    "agents of one name": (
        "agents:\n- {name: a, model: m}\n- {name: a, model: m}",
        "x.yaml:3: agent \"a\", name: two agents are called 'a'; rename one",
    ),
    "tools of one name": (
        agent("tools: [{builtin: datetime}, {name: datetime, builtin: calculator}]"),
        'x.yaml:4: agent "a", tool "datetime", name: two tools are called \'datetime\'; give one another name',
    ),
    "a tool's name": (
        tool("name: ä\nbuiltin: datetime"),
        'x.yaml:5: agent "a", tool "ä", name: \'ä\' is not a tool\'s name: 1 to 64 letters, digits, _ and -',
    ),
    "a tool called auto": (
        tool("name: auto\nbuiltin: datetime"),
        'x.yaml:5: agent "a", tool "auto", name: \'auto\' has a meaning in a tool choice; take another name',
    ),
    "an unknown choice": (
        agent("toolChoice: x\ntools: [{builtin: datetime}]"),
        "x.yaml:4: agent \"a\", toolChoice: there is no tool 'x'; the agent's tools: datetime; or write auto, none or required",
    ),
    "an unknown sub-agent": (
        tool("agent: b"),
        "x.yaml:5: agent \"a\", tools[0], agent: there is no agent 'b'; the agents: a",
    ),
    "MCP": (
        tool("name: t\nmcp: {uri: x}"),
        'x.yaml:6: agent "a", tool "t", mcp.uri: unknown key; did you mean url?',
    ),
    "a later builtin": (
        tool("builtin: browser"),
        'x.yaml:5: agent "a", tools[0], builtin: a browser has a key of its own; write browser: {}',
    ),
    "no such builtin": (
        tool("builtin: x"),
        'x.yaml:5: agent "a", tools[0], builtin: must be calculator or datetime, not "x"',
    ),
    "no kind": (
        tool("name: t"),
        'x.yaml:5: agent "a", tool "t": a tool has exactly one of http, python, builtin, agent, client, openapi, mcp, webFetch, webSearch and browser; found none of them',
    ),
    "two kinds": (
        tool("builtin: datetime\npython: x:y"),
        'x.yaml:5: agent "a", tools[0]: a tool has exactly one of http, python, builtin, agent, client, openapi, mcp, webFetch, webSearch and browser; found python and builtin',
    ),
    "an effect": (
        tool("name: t\neffect: safe\nhttp: {url: http://x}"),
        'x.yaml:6: agent "a", tool "t", effect: must be read_only, idempotent or destructive, not "safe"',
    ),
    "a schema": (
        tool(
            "name: t\nhttp: {url: http://x}\nparameters: {type: object, properties: {n: {type: numbr}}}"
        ),
        'x.yaml:7: agent "a", tool "t", parameters: this is not a valid JSON Schema: properties.n.type: "numbr" is not valid under any of the schemas listed in the \'anyOf\' keyword',
    ),
    "a remote schema": (
        tool(
            "name: t\nhttp: {url: http://x}\nparameters: {type: object, $ref: http://127.0.0.1:9/x}"
        ),
        'x.yaml:7: agent "a", tool "t", parameters: this is not a valid JSON Schema: Resource \'http://127.0.0.1:9/x\' is not present in a registry and retrieving it failed: ValueError: only references inside the schema are resolved, not http://127.0.0.1:9/x',
    ),
    "a schema of no object": (
        tool("name: t\nhttp: {url: http://x}\nparameters: {type: string}"),
        'x.yaml:7: agent "a", tool "t", parameters: the schema\'s type must be object, as arguments are one',
    ),
    "a URL": (
        tool("name: t\nhttp:\n  url: ftp://x"),
        'x.yaml:7: agent "a", tool "t", http.url: a tool\'s URL begins with http:// or https:// and a host',
    ),
    "a variable in a URL": (
        tool("name: t\nhttp:\n  url: http://${H-x}/"),
        'x.yaml:7: agent "a", tool "t", http.url: a variable is written ${NAME}, of letters, digits and _',
    ),
    "a header of ours": (
        tool("name: t\nhttp:\n  url: http://x\n  headers:\n    Idempotency-Key: x"),
        'x.yaml:9: agent "a", tool "t", http.headers.Idempotency-Key: this header is written by Outlast; remove it',
    ),
    "a broken variable": (
        tool("name: t\nhttp:\n  url: http://x\n  headers:\n    X-Key: s3cret ${A-B}"),
        'x.yaml:9: agent "a", tool "t", http.headers.X-Key: a variable is written ${NAME}, of letters, digits and _',
    ),
    "a header that is no text": (
        tool("name: t\nhttp:\n  url: http://x\n  headers:\n    X-Key: [s3cret]"),
        'x.yaml:9: agent "a", tool "t", http.headers.X-Key: must be text, not a list',
    ),
    "an HTTP tool without a name": (
        tool("http: {url: http://x}"),
        'x.yaml:5: agent "a", tools[0]: an HTTP tool needs the key name',
    ),
    "a timeout in the wrong place": (
        tool("name: t\ntimeout: 3\nhttp: {url: http://x}"),
        'x.yaml:6: agent "a", tool "t", timeout: an HTTP tool\'s timeout is written under http',
    ),
    "a key under http": (
        tool("name: t\nhttp: {url: http://x, retry: 3}"),
        'x.yaml:6: agent "a", tool "t", http.retry: unknown key; did you mean retries?',
    ),
    "a schema for a builtin": (
        tool("builtin: datetime\neffect: read_only"),
        'x.yaml:6: agent "a", tools[0], effect: a builtin tool brings its own effect; remove this key',
    ),
    "no such module": (
        tool("python: no_such_module:f"),
        "x.yaml:5: agent \"a\", tools[0], python: module no_such_module cannot be imported: ModuleNotFoundError: No module named 'no_such_module'",
    ),
    "no such function": (
        tool("python: shop_tools_of_test:f"),
        'x.yaml:5: agent "a", tools[0], python: module shop_tools_of_test has no function f',
    ),
    "no function": (
        tool("python: shop_tools_of_test:number"),
        'x.yaml:5: agent "a", tools[0], python: shop_tools_of_test:number is not a function',
    ),
    "no reference": (
        tool("python: shop"),
        "x.yaml:5: agent \"a\", tools[0], python: 'shop' is not of the form module:function",
    ),
    "two problems": (
        agent("x1: 1\nx2: 2"),
        'x.yaml:4: agent "a", x1: unknown key; known keys: name, model, description, instructions, tools, toolChoice, limits, settings, fallbackOn, schedule, memoryStores, images\nx.yaml:5: agent "a", x2: unknown key; known keys: name, model, description, instructions, tools, toolChoice, limits, settings, fallbackOn, schedule, memoryStores, images',
    ),
}


@pytest.mark.parametrize(("text", "message"), BAD.values(), ids=BAD.keys())
def test_a_bad_file_is_refused_in_these_words(folder: Path, text: str, message: str) -> None:
    (folder / "x.yaml").write_text(text)
    with pytest.raises(Misconfigured) as raised:
        load("x.yaml")
    assert raised.value.message == message
    assert "s3cret" not in f"{raised.value.message} {raised.value.__cause__}"


def test_dates_and_yes_stay_text(folder: Path) -> None:
    parameters = "{type: object, properties: {no: {const: 2026-03-15}, n: {const: 1e3}}}"
    (folder / "x.yaml").write_text(
        tool(f"name: t\nhttp: {{url: http://x}}\nparameters: {parameters}")
    )
    properties = load("x.yaml").specs[0].tools[0].parameters["properties"]
    assert properties == {"no": {"const": "2026-03-15"}, "n": {"const": 1000.0}}


PYTHON = """
from outlast import Agent, tool

@tool(effect="read_only")
def look() -> str:
    "Look."
    return "seen"

first = Agent("first", model="m", tools=[look])
second = Agent("second", model="m")
also_second = second
"""


def test_a_python_file_gives_its_agents_in_order_and_their_functions(folder: Path) -> None:
    (folder / "my_agents_of_test.py").write_text(PYTHON)
    loaded = load("my_agents_of_test.py")
    assert [spec.name for spec in loaded.specs] == ["first", "second"]
    assert list(loaded.functions) == ["my_agents_of_test:look"]
    assert load("my_agents_of_test").specs == loaded.specs


def test_a_script_stands_beside_the_file_that_names_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = folder / "inner"
    place.mkdir()
    (place / "x.yaml").write_text(
        "agents:\n- {name: a, model: 'scripted:s.yaml'}\n- {name: b, model: 'scripted:/s.yaml'}"
        "\n- {name: c, model: 'openai-chat:s.yaml'}"
    )
    code = "from outlast import Agent\na = Agent('a', model='scripted:../s.yaml')\n"
    (place / "scripted_agents_of_test.py").write_text(code)
    models = [spec.model for spec in load("inner/x.yaml").specs]
    beside, above = (f"scripted:{place.resolve()}/{name}" for name in ("s.yaml", "../s.yaml"))
    assert models == [beside, "scripted:/s.yaml", "openai-chat:s.yaml"]
    assert load("inner/scripted_agents_of_test.py").specs[0].model == above
    monkeypatch.chdir("/")
    assert load("scripted_agents_of_test").specs[0].model == above


def test_a_list_called_agents_decides(folder: Path) -> None:
    (folder / "listed_agents_of_test.py").write_text(PYTHON + "agents = [second]\n")
    assert [spec.name for spec in load("listed_agents_of_test.py").specs] == ["second"]


BAD_PYTHON = {
    "raises": ("\n1 / 0", "bad_of_test.py:2: ZeroDivisionError: division by zero"),
    "syntax": (
        "\n\nx = (",
        "bad_of_test.py:3: SyntaxError: '(' was never closed (bad_of_test.py, line 3)",
    ),
    "empty": ("", 'bad_of_test.py: there is no agent in it; write one: a = Agent("a", model=…)'),
    "no agent": ("agents = [1]", "bad_of_test.py: agents: int is not an Agent"),
    "ours": (
        "from outlast import Agent\nAgent('a b', model='m')",
        "bad_of_test.py:2: agent \"a b\", name: 'a b' is not an agent's name: 1 to 64 letters, digits, _ and -",
    ),
    "exits": ("import sys\nsys.exit(3)", "bad_of_test.py:2: SystemExit: 3"),
    "twice": (
        "from outlast import Agent\na = Agent('a', model='m')\nb = Agent('a', model='m')",
        "bad_of_test.py: two agents are called 'a'; rename one",
    ),
}


@pytest.mark.parametrize(("text", "message"), BAD_PYTHON.values(), ids=BAD_PYTHON.keys())
def test_a_bad_python_file_is_refused_in_these_words(folder: Path, text: str, message: str) -> None:
    (folder / "bad_of_test.py").write_text(text)
    with pytest.raises(Misconfigured) as raised:
        load("bad_of_test.py")
    assert raised.value.message == message


NO_FILE = "there is no such file (outlast init writes an agents.yaml)"


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("none.yaml", f"none.yaml: {NO_FILE}"),
        ("none.py", f"none.py: {NO_FILE}"),
        ("agents.json", f"agents.json: {NO_FILE}"),
        ("agents-x", "agents-x: agents are in a .yaml, .json or .py file or a package.module"),
    ],
)
def test_a_path_that_leads_nowhere_is_refused(folder: Path, path: str, message: str) -> None:
    with pytest.raises(Misconfigured) as raised:
        load(path)
    assert raised.value.message == message.format(folder)


def test_a_file_whose_name_is_taken_is_refused(folder: Path) -> None:
    (folder / "pytest.py").write_text(PYTHON)
    with pytest.raises(Misconfigured, match="a module pytest is already in use; rename the file"):
        load("pytest.py")
