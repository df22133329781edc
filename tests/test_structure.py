"""The code keeps its shape: sizes here, layers and vendors in import-linter's contracts."""

import ast
import gc
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.support import client_types
from tests.support.databases import KINDS
from tests.support.durations import SLOW
from tests.support.scheduling import BY_DATABASE, ONE_BY_ONE, TOGETHER, group_of

ROOT = Path(__file__).parent.parent
SOURCES = sorted(
    path
    for folder in ("src", "tests", "bench", "examples")
    for path in (ROOT / folder).rglob("*.py")
    if "versions" not in path.parts  # a migration is written once, by Alembic
    and path != client_types.FILE  # made from the OpenAPI document
)
LONGEST_FILE = 400
LONGEST_FUNCTION = 60
MEDIAN_FUNCTION = 8
NINE_OF_TEN_FUNCTIONS = 25


@pytest.fixture(scope="module", autouse=True)
def _no_collections() -> Iterator[None]:
    """Syntax trees have no circles; to look through millions of nodes for one takes seconds."""
    gc.disable()
    yield
    parsed.cache_clear()
    gc.enable()


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_there_is_something_to_measure() -> None:
    assert len(SOURCES) > 50


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def test_no_file_is_longer_than_one_subject() -> None:
    lengths = {name(path): len(path.read_text().splitlines()) for path in SOURCES}
    assert {path: lines for path, lines in lengths.items() if lines > LONGEST_FILE} == {}


@cache
def functions(path: Path) -> list[tuple[str, int]]:
    """The functions of a file, with their lines."""
    found: list[tuple[str, int]] = []
    left: list[ast.AST] = [ast.parse(path.read_text())]
    while left:
        node = left.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            found.append((node.name, (node.end_lineno or 0) - node.lineno + 1))
        for part in ("body", "orelse", "finalbody", "handlers", "cases"):  # where statements are
            inner = getattr(node, part, None)
            left += inner if isinstance(inner, list) else ()
    return found


def test_no_function_is_longer_than_a_page() -> None:
    long = {
        f"{name(path)}: {function}": lines
        for path in SOURCES
        for function, lines in functions(path)
        if lines > LONGEST_FUNCTION
    }
    assert long == {}


def test_what_tests_share_is_in_one_place() -> None:
    own = re.compile(r"test_\w+\.py|conftest\.py|__init__\.py")
    tests = ROOT / "tests"
    strays = [
        name(path)
        for path in tests.rglob("*.py")
        if tests / "support" not in path.parents and not own.fullmatch(path.name)
    ]
    assert not strays


def test_processes_that_tests_start_keep_what_they_compile() -> None:
    code = "import sys; print(sys.dont_write_bytecode)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_most_functions_are_short() -> None:
    lengths = sorted(
        lines
        for path in SOURCES
        if "src" in path.relative_to(ROOT).parts
        for _, lines in functions(path)
    )
    assert len(lengths) > 1000
    assert lengths[len(lengths) // 2] <= MEDIAN_FUNCTION
    assert lengths[len(lengths) * 9 // 10] <= NINE_OF_TEN_FUNCTIONS


def test_modules_of_one_layer_do_not_import_each_other_in_a_circle() -> None:
    graph = {module: set(imported) for module, imported in _imports()}
    done: set[str] = set()
    for start in graph:
        _walk(start, graph, done, [])


def _walk(module: str, graph: dict[str, set[str]], done: set[str], path: list[str]) -> None:
    assert module not in path, f"a circle: {' → '.join([*path, module])}"
    if module in done:
        return
    for imported in graph.get(module, ()):
        _walk(imported, graph, done, [*path, module])
    done.add(module)


def _imports() -> list[tuple[str, list[str]]]:
    """Imports at module level, as names of our own modules."""
    source = ROOT / "src"
    modules = {
        ".".join(path.relative_to(source).with_suffix("").parts).removesuffix(".__init__"): path
        for path in (source / "outlast").rglob("*.py")
    }
    found = []
    for module, path in modules.items():
        imported: list[str] = []
        for node in parsed(path).body:
            if isinstance(node, ast.ImportFrom) and node.module:
                targets = [f"{node.module}.{alias.name}" for alias in node.names]
                imported += [t if t in modules else node.module for t in targets]
            elif isinstance(node, ast.Import):
                imported += [alias.name for alias in node.names]
        found.append((module, [i for i in imported if i in modules and i != module]))
    return found


OWNERS = {
    "agents/browser/chromium.py",
    "agents/browser/proxy.py",
    "agents/mcp/connection.py",
    "agents/mcp/elicitation.py",
    "agents/models/local.py",
    "agents/tools/mcp_kind.py",
    "cli/remote.py",
    "cli/run.py",
    "cli/server.py",
    "duty.py",
    "engine/dispatch/inline.py",
    "engine/dispatch/procrastinate/engine.py",
    "engine/maintenance/pending_vectors.py",
    "engine/segment/segment.py",
    "engine/segment/text_log.py",
    "http/sse.py",
    "operator_code.py",
    "rooms/executions/stream/woven.py",
    "store/postgres/notifications.py",
}
"""Modules whose objects keep the tasks that they make, wait for them or cancel them. Others run
work in a task group, as a `Duty`, or by `Failures.spawn`, which records what it raises."""
PACKAGE = ROOT / "src" / "outlast"


ENDINGS = {"embedding", "listing", "outgoing", "pending", "spending", "testing"}
"""Nouns and adjectives that end like a gerund."""


def test_modules_are_named_for_what_is_in_them() -> None:
    gerunds = {path.stem for path in PACKAGE.rglob("*ing.py")}
    assert gerunds <= ENDINGS


def test_every_task_has_a_name_and_an_owner() -> None:
    paths = sorted(PACKAGE.rglob("*.py"))
    assert [wrong for path in paths for wrong in _wrong_tasks(path)] == []


def _wrong_tasks(path: Path) -> Iterator[str]:
    tree = parsed(path)
    dropped = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
        made, where = _called(call), f"{name(path)}:{call.lineno}"
        if made == "ensure_future":
            yield f"{where}: create_task with a name, or spawn"
        if made != "create_task":
            continue
        if str(path.relative_to(PACKAGE)) not in OWNERS:
            yield f"{where}: see OWNERS"
        if id(call) in dropped:
            yield f"{where}: who waits for it?"
        if "name" not in {keyword.arg for keyword in call.keywords}:
            yield f"{where}: no name"


def test_there_is_one_idiom_for_a_bound() -> None:
    """`async with asyncio.timeout(…)`."""
    others = {"asyncio.wait_for", "anyio.move_on_after", "anyio.fail_after", "async_timeout"}
    ends = {other.rpartition(".")[2] for other in others}
    found = [
        f"{name(path)}:{node.lineno}"
        for path in sorted(PACKAGE.rglob("*.py"))
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.Attribute | ast.Name)
        and (node.attr if isinstance(node, ast.Attribute) else node.id) in ends
        and ast.unparse(node) in others
    ]
    assert found == []


BANNED = {"wish", "told", "asked", "somebody", "nobody", "hear", "hears"}
"""Words of a dialect that this code once had; the field has plain ones for each."""
ANY_BANNED = re.compile("|".join(BANNED), re.IGNORECASE)
"""Finds what may hold one, quickly."""
PROSE = {".md", ".env", ".ts", ".mjs", ".html", ".yaml"}
"""Files whose every line is read."""
WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")


def test_names_docstrings_and_messages_have_no_banned_word() -> None:
    """A literal of one word, such as a key of stored JSON, is data."""
    found = [
        f"{name(path)}:{line}: {word} in {text[:80]!r}"
        for path in SOURCES
        if path != Path(__file__) and ANY_BANNED.search(path.read_text())
        for line, text in _texts(parsed(path))
        if ANY_BANNED.search(text)
        for word in {part.lower() for part in WORD.findall(text)} & BANNED
    ]
    assert found == []


def test_documents_and_comments_have_no_banned_word_either() -> None:
    word = re.compile(rf"(?<![\w/.-])(?:{'|'.join(BANNED)})(?![\w.-]*[/=])\b", re.IGNORECASE)
    listed = ["*.md", "docs", "examples", "clients", "bench"]
    done = subprocess.run(
        ["git", "ls-files", "--", *listed], cwd=ROOT, capture_output=True, text=True, check=True
    )
    prose = [ROOT / path for path in done.stdout.split() if Path(path).suffix in PROSE]
    lines = ((path, line) for path in prose for line in path.read_text().splitlines())
    comments = (
        (path, found[0])
        for path in SOURCES
        if path != Path(__file__) and ANY_BANNED.search(text := path.read_text())
        for found in re.finditer(r"(?m)(?<![\"'\w])# .*$", text)
    )
    assert [
        f"{name(path)}: {line}" for path, line in (*lines, *comments) if word.search(line)
    ] == []


@pytest.mark.parametrize(
    "text", ["was_told", "_asked", "WishList", "ASKED", "It hears nobody.", "for somebody"]
)
def test_a_banned_word_is_found_in_any_spelling(text: str) -> None:
    assert {part.lower() for part in WORD.findall(text)} & BANNED


def test_a_banned_word_is_found_wherever_it_stands() -> None:
    code = (
        "import a as b\nclass C:\n  def d(self, e, *, f=1):\n    '''g.'''\n    h(i.j, k=f'l m {n}')"
    )
    texts = {text for _, text in _texts(ast.parse(code))}
    assert texts >= {*"abCdefhijkn", "l m "}
    assert "g." in texts


def _texts(tree: ast.AST) -> list[tuple[int, str]]:
    """Names, docstrings, and literals of several words, each with its line."""
    found = []
    for node in ast.walk(tree):
        line = getattr(node, "lineno", 0)
        names = (getattr(node, field, None) for field in ("id", "arg", "attr", "name", "asname"))
        found += [(line, text) for text in names if isinstance(text, str)]
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            found.append((line, str(node.value.value)))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value:
            found.append((line, node.value))
    return found


def _called(call: ast.Call) -> str:
    match call.func:
        case ast.Attribute(attr=attribute):
            return attribute
        case ast.Name(id=plain):
            return plain
        case _:
            return ""


ROOM_PARTS = {"__init__", "routes", "schemas", "answers", "render", "stream", "README", "golden"}
"""`answers` is the half of `schemas` that a room sends, where both do not fit into one file."""
PAGE_PARTS = {"templates", "static"}
"""Of a room of pages."""


@pytest.mark.parametrize("start", sorted((PACKAGE / "rooms").glob("*/__init__.py")), ids=name)
def test_every_room_has_the_same_parts(start: Path) -> None:
    found = {path.stem for path in start.parent.iterdir() if path.name != "__pycache__"}
    assert found <= ROOM_PARTS | (PAGE_PARTS if start.parent.name == "console" else set())
    assert {"__init__", "routes", "schemas", "render", "README", "golden"} <= found


def test_heavy_vendors_are_not_loaded_with_the_server() -> None:
    code = "import sys, outlast.web, outlast.cli; print(' '.join(sys.modules))"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    ).stdout.split()
    heavy = {"pydantic_ai", "openai", "anthropic", "alembic", "xllamacpp", "psycopg", "jinja2"}
    assert not heavy & set(loaded)


def test_the_repository_names_no_machine_and_no_registry() -> None:
    words = re.compile("|".join(["/wo" + "rk/", "/ro" + "ot/", r"pypi\.org", r"npmjs\.(org|com)"]))
    listed = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60
    ).stdout.split()
    found = [path for path in listed if words.search((ROOT / path).read_text(errors="replace"))]
    assert not found


PAGES = [
    ROOT / "CONTRIBUTING.md",
    ROOT / "SECURITY.md",
    ROOT / "docs" / "architecture.md",
    ROOT / "docs" / "performance.md",
    *sorted((ROOT / "docs" / "decisions").glob("*.md")),
]
PLACE = re.compile(r"(?<![\w/.])(?:src|tests|docs|bench|examples|engine|store)/[\w./-]*[\w/]")


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_file_that_a_page_names_exists(page: Path) -> None:
    text = page.read_text()
    links = re.findall(r"\]\(([^)#:]+)", text)
    named = {place for place in PLACE.findall(text) if not _exists(place)}
    assert not named | {link for link in links if not (page.parent / link).exists()}


def _exists(place: str) -> bool:
    return any((folder / place).exists() for folder in (ROOT, PACKAGE))


def test_what_the_architecture_page_names_in_brackets_stands_in_that_file() -> None:
    """A name behind a file, as in `src/outlast/model/workspace.py` (`Scope`)."""
    for page in PAGES:
        for path, word in re.findall(r"`((?:src|tests)/[\w./]+\.py)` \(`(\w+)`", page.read_text()):
            assert re.search(rf"\b{word}\b", (ROOT / path).read_text()), f"{page.name}: {word}"


def test_every_decision_record_is_listed() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text()
    records = [path.name for path in (ROOT / "docs" / "decisions").glob("*.md")]
    assert len(records) > 10
    assert not [record for record in records if f"(decisions/{record})" not in page]


def test_every_slow_module_exists() -> None:
    places = [*SLOW, TOGETHER, BY_DATABASE, *ONE_BY_ONE]
    assert not [place for place in places if not (ROOT / place).exists()]


def test_tests_that_share_a_process_of_their_own_stay_together() -> None:
    assert group_of("tests/many/test_a.py::test[x]") == group_of("tests/many/test_b.py::test")
    of_kills = [group_of(f"tests/kills/test_a.py::{t}[{k}-1]") for t in "ab" for k in KINDS]
    assert of_kills[:2] == of_kills[2:]
    assert len(set(of_kills)) == 2
    assert group_of("tests/model/test_a.py::one") == group_of("tests/model/test_a.py::two")
    one, two = (group_of(f"{ONE_BY_ONE[0]}::{test}") for test in ("one", "two"))
    assert one != two
