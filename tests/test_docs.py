"""What the documents say is so: routes, frames, errors, settings, examples and command lines.

Settings and metrics of docs/operations.md are compared with the code in tests/cli.
"""

import ast
import re
import shlex
import shutil
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import fields
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final, get_args

import pytest
import typer
from pydantic import BaseModel

from outlast import settings
from outlast.agents.agents_file import file_entry
from outlast.agents.loader import LoadedAgents, load
from outlast.agents.models.scripted import ScriptedModel
from outlast.agents.tools.browser_kind import browser_tools
from outlast.agents.tools.toolbox import ToolBox
from outlast.cli.commands import app as commands
from outlast.http.errors import STATUS
from outlast.model import error
from outlast.model.agent import AgentSpec
from outlast.model.client_call import ClientCallNotFound
from outlast.model.clock import SystemClock
from outlast.model.error import OutlastError, StoreLocked, ToolFailed
from outlast.model.execution import Status
from outlast.model.image import ImageNotFound
from outlast.model.price import NANO, ModelPrice
from outlast.model.unreadable import ExecutionUnreadable
from outlast.rooms.executions import schemas
from outlast.rooms.executions.stream import FRAME_TYPES
from outlast.settings import FILE, Settings
from outlast.testing import NamedModels, core_on, owner
from tests.support import command_table
from tests.support.api import Api

ROOT: Final = Path(__file__).parent.parent
HTTP: Final = ROOT / "docs" / "http.md"
AGENTS: Final = ROOT / "docs" / "agents.md"
WORDS: Final = ROOT / "docs" / "words.md"
DOCUMENTS: Final = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
UNLISTED: Final = {
    "GET /openapi.json",
    "GET /docs",
    "GET /docs/errors",
    "GET /docs/errors/{code}",
}
"""Routes that the OpenAPI document does not tell of."""
ROUTE: Final = re.compile(r"`((?:GET|POST|PUT|PATCH|DELETE) /[^`?]+)`")


def section(document: Path, title: str) -> str:
    """A document from this heading to the next of its level or above."""
    found = re.search(
        rf"^(#+) {re.escape(title)}$(.*?)(?=^#{{1,2}} |\Z)",
        document.read_text(),
        re.MULTILINE | re.DOTALL,
    )
    assert found, f"{document.name} has no heading {title!r}"
    return found[2]


def table(text: str, column: int = 0) -> list[str]:
    """The `words` in a column of a section's tables, without their headers."""
    rows = [line.strip("|").split("|") for line in text.splitlines() if line.startswith("| `")]
    return [word for row in rows for word in re.findall(r"`([^`]+)`", row[column])]


def blocks(document: Path, language: str) -> Iterator[str]:
    """The fenced blocks of a language."""
    found = re.finditer(
        rf"^```{language}\n(.*?)^```$", document.read_text(), re.MULTILINE | re.DOTALL
    )
    yield from (block[1] for block in found)


# --- docs/http.md


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[Api]:
    """A server with an agent that says Hello."""
    clock = SystemClock()
    script = ScriptedModel.from_data({"turns": [{"steps": [{"text": "Hello"}]}]}, clock)
    models = NamedModels({"script": script})
    async with core_on(tmp_path, models=models, tools=ToolBox(clock), drain_seconds=1) as core:
        caller = await owner(core)
        key = await core.services.keys.create(caller.workspace_id, "docs")
        await core.services.agents.put(caller.workspace_id, [(AgentSpec("agent", "script"), "1")])
        made = Api(core, caller, key.secret)
        yield made
        await made.client.aclose()


@pytest.mark.anyio
async def test_every_route_is_documented_and_every_documented_route_exists(house: Api) -> None:
    document = (await house.client.get("/openapi.json")).json()
    real = {
        f"{method.upper()} {path}" for path, item in document["paths"].items() for method in item
    }
    named = set(ROUTE.findall(" ".join(HTTP.read_text().split())))

    assert named == real | UNLISTED
    for route in UNLISTED:
        path = route.removeprefix("GET ").format(code="not_found")
        assert (await house.get(path)).status_code == 200


@pytest.mark.anyio
async def test_a_run_without_a_body_answers_as_documented(house: Api) -> None:
    text = section(HTTP, "The background room")
    route = re.search(r"`POST ([^`]+)` without a body", text)
    assert route
    answer = await house.client.post(route[1].format(agentId="agent"))

    assert answer.status_code == 202
    assert set(re.findall(r'"(\w+)":', answer.text)) == {"data", *answer.json()["data"]}
    for name in answer.json()["data"]:
        assert f'"{name}":' in text
    followed = await house.get(f"/v1/executions/{answer.json()['data']['requestId']}/stream")
    assert followed.status_code == 200


def test_every_frame_is_documented_in_order_and_no_other_is() -> None:
    assert tuple(table(section(HTTP, "Streams"))) == FRAME_TYPES


def test_every_field_of_the_body_is_documented_and_no_other_is() -> None:
    documented = {name.partition(".")[0] for name in body_fields()}
    real = {field.alias or name for name, field in schemas.ExecuteBody.model_fields.items()}

    assert documented == real


def body_fields() -> list[str]:
    text = section(HTTP, "Execute")
    return table(text[text.index("| `input`") : text.index("`maxSteps` counts")])


def test_every_filter_of_the_list_is_documented_and_no_other_is() -> None:
    real = {field.alias or name for name, field in schemas.ListQuery.model_fields.items()}

    assert set(table(section(HTTP, "Many executions"))) == real


def test_every_status_of_an_execution_is_documented_and_no_other_is() -> None:
    row = next(line for line in section(HTTP, "Execute").splitlines() if line.startswith("| `stat"))
    assert re.findall(r"`(\w+)`", row)[1:] == [status.value for status in Status]
    assert table(section(WORDS, "Status")) == [status.value for status in Status]


def test_every_error_code_is_documented_with_its_status_and_type_and_no_other_is() -> None:
    text, _, failures = section(HTTP, "Errors").partition(
        "**A run that fails is not an HTTP error.**"
    )
    rows = re.findall(r"^\| (\d+) \| `(\w+)` \| ([^|]+) \|", text, re.MULTILINE)
    named = {(int(s), t, code) for s, t, codes in rows for code in re.findall(r"`(\w+)`", codes)}
    documented_elsewhere = set(re.findall(r"`(\w+)`", text.partition("Known but not answered")[2]))
    real = {(*branch_of(kind), kind.code) for kind in every_error() if branch_of(kind)}
    own = {
        (404, "not_found_error", "not_found"),
        (405, "invalid_request_error", "method_not_allowed"),
    }

    assert named <= real | own | {(500, "internal_error", "internal_error")}
    silent = {code for _, _, code in real} - {code for _, _, code in named} - documented_elsewhere
    assert silent <= set(table(failures, 1)), "a code that no table names"
    ends = {kind.code for kind in every_error() if ends_an_execution(kind)}
    assert ends <= set(table(failures, 1)) <= {kind.code for kind in every_error()}


def ends_an_execution(kind: type[OutlastError]) -> bool:
    """Whether an execution can fail with it; only the model sees a tool's."""
    return kind.__base__ is error.Upstream or (
        branch_of(kind) == () and not issubclass(kind, (ToolFailed, StoreLocked))
    )


def every_error() -> list[type[OutlastError]]:
    found = (*vars(error).values(), ClientCallNotFound, ImageNotFound, ExecutionUnreadable)
    kinds = [kind for kind in found if isinstance(kind, type)]
    return [kind for kind in kinds if issubclass(kind, OutlastError)]


def branch_of(kind: type[OutlastError]) -> tuple[int, str] | tuple[()]:
    """Status and type on the wire; nothing for what only an execution ends with."""
    return next((STATUS[above] for above in kind.__mro__ if above in STATUS), ())


# --- docs/agents.md and README.md


EXAMPLES: Final = [
    (document, language, block.partition("\n")[0].removeprefix("# "))
    for document in DOCUMENTS
    for language in ("yaml", "python")
    for block in blocks(document, language)
]


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder for a document's examples; what they import is forgotten at the end."""
    for _, _, name in EXAMPLES:  # another test may have imported a module of that name
        monkeypatch.delitem(sys.modules, name.removesuffix(".py"), raising=False)
    before = set(sys.modules)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])  # another folder may have it too
    yield tmp_path
    for name in set(sys.modules) - before:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


@pytest.mark.parametrize(
    ("document", "language", "name"), EXAMPLES, ids=[f"{d.name}-{n}" for d, _, n in EXAMPLES]
)
def test_every_example_loads_through_the_real_loader(
    document: Path, language: str, name: str, written: Path
) -> None:
    assert re.fullmatch(r"\w+\.(yaml|py)", name), "an example begins with # and its file's name"
    write_examples(document, written)
    text = (written / name).read_text()
    if re.search(r"^turns:", text, re.MULTILINE):
        ScriptedModel.from_file(written / name, SystemClock())
    elif language == "python" and not re.search(r"Agent\(|@agent\(", text):
        ast.parse(text)
    else:
        assert load(str(written / name)).specs


def write_examples(document: Path, folder: Path) -> None:
    for language in ("yaml", "python"):
        for block in blocks(document, language):
            (folder / block.partition("\n")[0].removeprefix("# ")).write_text(block)
    shutil.copy(ROOT / "tests" / "agents" / "shop.openapi.yaml", folder / "shop.yaml")


def example(written: Path, name: str) -> LoadedAgents:
    write_examples(AGENTS, written)
    return load(str(written / name))


def mappings(annotation: Any) -> Iterator[type[BaseModel]]:
    """Every mapping of the agents file, from the whole of it down."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
        for field in annotation.model_fields.values():
            yield from mappings(field.annotation)
    for part in get_args(annotation):
        yield from mappings(part)


def test_the_example_of_every_key_has_every_key(written: Path) -> None:
    write_examples(AGENTS, written)
    text = re.sub(r"#.*", "", (written / "agents.yaml").read_text())
    real = {
        field.alias or name
        for entry in mappings(file_entry())
        for name, field in entry.model_fields.items()
    }

    assert real - set(re.findall(r"(\w+):", text)) == set()


def test_the_defaults_in_the_examples_are_the_real_ones(written: Path) -> None:
    (full,) = example(written, "agents.yaml").specs
    looked_up, noted, refund, calculator, *notes, order, hub, files, page, search = full.tools[:-12]
    *browser, opinion, pick = full.tools[-12:]
    assert (full.limits.max_steps, full.limits.max_seconds) == (20, 600)
    assert looked_up.http
    assert (looked_up.http.timeout, looked_up.http.max_result_bytes) == (30, 262_144)
    assert noted.http
    assert (noted.http.method, noted.http.send) == ("POST", looked_up.http.send)
    assert (refund.timeout, refund.approval, refund.effect.value) == (60, True, "idempotent")
    assert (calculator.builtin, calculator.effect.value) == ("calculator", "read_only")
    assert [tool.effect.value for tool in notes] == ["read_only", "idempotent"]
    assert (order.name, order.approval) == ("shop_putOrder", True)
    assert (hub.timeout, hub.other["mcp"]["tools"]) == (60, ["search_issues", "add_comment"])
    assert "max_result_bytes" not in hub.other["mcp"]
    assert files.other["mcp"]["command"] == "mcp-files"
    assert page.other["webFetch"]["max_characters"] == 20_000
    assert search.other["webSearch"]["count"] == 5
    assert browser == browser_tools()
    assert opinion.other["agent"]["name"] == full.name
    assert (pick.other, pick.timeout) == ({"client": True}, 600)


# --- command lines and settings of every document


def test_the_tables_that_are_printed_are_read(tmp_path: Path) -> None:
    examples = blocks(ROOT / "docs" / "operations.md", "toml")
    (tmp_path / FILE).write_text("\n".join(examples))
    read = settings.load({}, {}, tmp_path)
    prices = read.prices
    assert read.providers["openrouter"].api_key == "${OPENROUTER_KEY}"
    assert prices.of_model("openai-chat:gpt-5-mini") == ModelPrice(250, 2000, 25, 250)
    assert prices.of_tool("lookup_order") == NANO // 100


def command_lines(document: Path) -> Iterator[str]:
    """Every `outlast …`: in code between backticks, or at the start of a line of code."""
    text = document.read_text()
    quoted = re.findall(r"(?<!`)`(outlast [^`]+)`(?!`)", text)
    printed = re.findall(r"^(?:    )?(outlast .+)$|\$\((outlast [^)]+)\)", text, re.MULTILINE)
    fenced = [line for pair in printed for line in pair if line]
    yield from (line.partition("  #")[0].partition(" #")[0] for line in (*quoted, *fenced))


COMMAND_LINES: Final = sorted(
    {
        (document.name, line)
        for document in DOCUMENTS
        if document != command_table.PAGE  # made from the commands themselves
        for line in command_lines(document)
        if "…" not in line.replace("key_01k…", "")
    }
)


def test_the_documents_have_command_lines_to_check() -> None:
    assert len(COMMAND_LINES) > 15


@pytest.mark.parametrize(
    ("document", "line"), COMMAND_LINES, ids=[line for _, line in COMMAND_LINES]
)
def test_every_command_line_is_one_that_exists(document: str, line: str) -> None:
    command: Any = typer.main.get_command(commands)
    name, *arguments = shlex.split(line)
    while arguments and arguments[0] in getattr(command, "commands", {}):
        name, *arguments = arguments
        command = command.commands[name]
    assert not getattr(command, "commands", {}), f"{document}: {line} names no command"
    if arguments:
        command.make_context(name, arguments)  # raises where an option is not known


def test_the_changelog_has_dated_versions_and_only_the_newest_may_be_unreleased() -> None:
    titles = re.findall(r"^## (.+)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    versions = [re.fullmatch(r"\[(\d+\.\d+\.\d+)\] - (.+)", title) for title in titles]
    numbers = [tuple(map(int, found[1].split("."))) for found in versions if found]
    dates = [found[2] for found in versions if found]

    assert len(numbers) == len(titles) >= 2
    assert numbers == sorted(numbers, reverse=True)
    dated = dates[1:] if dates[0] == "unreleased" else dates
    assert dated == sorted(dated, reverse=True)
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\d", date) for date in dated)
    assert version("outlast") in {".".join(map(str, number)) for number in numbers}


def test_the_page_of_commands_is_what_the_command_line_says() -> None:
    written = command_table.PAGE.read_text()
    assert written == command_table.page(), "write it anew: python -m tests.support.command_table"


def test_every_maintenance_duty_is_documented_and_no_other_is() -> None:
    folder = ROOT / "src" / "outlast" / "engine" / "maintenance"
    sources = "".join(path.read_text() for path in folder.glob("*.py"))
    real = set(re.findall(r'^[A-Z_]+: Final = "(\w+)"', sources, re.MULTILINE))
    text = section(ROOT / "docs" / "operations.md", "Maintenance").partition("\n### ")[0]
    named = set(table(text))
    assert len(real) > 5
    assert named == real


def test_every_argument_and_option_has_a_help_text() -> None:
    assert "| `--limit` | Maximum number of rows. |" in command_table.page()
    assert not [line for line in command_table.page().splitlines() if line.endswith("|  |")]


def test_every_setting_that_a_document_names_is_one() -> None:
    settings = {f"OUTLAST_{field.name.upper()}" for field in fields(Settings)}
    named = {
        name for document in DOCUMENTS for name in re.findall(r"OUTLAST_\w+", document.read_text())
    }
    assert named <= settings
    assert {"OUTLAST_DRAIN_SECONDS"} <= named


def test_every_link_between_documents_leads_somewhere() -> None:
    for document in DOCUMENTS:
        for target, anchor in re.findall(r"\]\(([^)#:]*)(#[\w-]+)?\)", document.read_text()):
            place = document.parent / target if target else document
            assert place.exists(), f"{document.name}: {target}"
            if anchor:
                titles = re.findall(r"^#+ (.+)$", place.read_text(), re.MULTILINE)
                anchors = {"#" + title.lower().replace(" ", "-") for title in titles}
                assert anchor in anchors, f"{document.name}: {target}{anchor}"
