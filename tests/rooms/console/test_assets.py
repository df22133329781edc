"""The files of the console: what comes from others is what it says, and pages load nothing else."""

import gzip
import hashlib
import re
from pathlib import Path
from typing import Final

import pytest

import outlast.rooms.console
from tests.support.api import Api
from tests.support.console import Reader
from tests.support.databases import SQLITE

ROOM: Final = Path(outlast.rooms.console.__file__).parent
KIB: Final = 1024


def test_vendored_files_are_those_of_the_table() -> None:
    table = re.findall(
        r"^\| `([\w.-]+)` \| [^|]+ \| [\d.]+ \| [\w-]+ \| `([0-9a-f]{64})` \|$",
        (ROOM / "README.md").read_text(),
        re.MULTILINE,
    )
    found = {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in (ROOM / "static" / "vendor").iterdir()
    }
    assert dict(table) == found


@pytest.mark.parametrize("template", sorted((ROOM / "templates").iterdir()), ids=lambda p: p.name)
def test_a_template_has_no_inline_script_style_or_handler(template: Path) -> None:
    text = template.read_text()
    assert not re.search(r"<style|\sstyle=|\son\w+=|javascript:|hx-on|\bjs:|\|\s*safe\b", text)
    assert not re.search(r"<script(?![^>]*\ssrc=)", text)
    assert not re.search(r"""(?:href|src|action)=["'](?:https?:)?//""", text)


def test_every_icon_that_a_template_names_is_in_the_sprite() -> None:
    sprite = (ROOM / "static" / "vendor" / "icons.svg").read_text()
    known = set(re.findall(r'<symbol id="([\w-]+)"', sprite))
    for path in (*(ROOM / "templates").iterdir(), *(ROOM / "render").glob("*.py")):
        named = re.findall(r'icon\(static, "([\w-]+)"', path.read_text())
        assert set(named) <= known, path.name


def test_files_are_within_their_budget() -> None:
    def size(*names: str) -> int:
        return sum(len(gzip.compress((ROOM / "static" / name).read_bytes())) for name in names)

    assert size("console.css") <= 10 * KIB
    assert size("vendor/icons.svg") <= 6 * KIB
    others = ("vendor/htmx.min.js", "vendor/hx-sse.min.js")
    assert size(*others, "console.js", "keys.js", "live.js") <= 30 * KIB
    assert size("console.js", "keys.js", "live.js", "timeline.js") <= 12 * KIB
    assert size("timeline.js") <= 8 * KIB
    assert len((ROOM / "static" / "console.css").read_text().splitlines()) <= 600


@pytest.mark.anyio
@pytest.mark.only(SQLITE)
async def test_a_file_is_kept_for_ever_under_the_address_of_its_content(api: Api) -> None:
    reader = Reader(api)
    page = await reader.page("/console/sign-in")
    for path in re.findall(r'(?:href|src)="(/console/static/[^"#]+)', page):
        answer = await reader.get(path, **{"Accept-Encoding": "gzip"})
        assert answer.status_code == 200
        assert "immutable" in answer.headers["cache-control"]
        assert answer.headers["content-encoding"] == "gzip"
        plain = await reader.get(path, **{"Accept-Encoding": "identity"})
        assert plain.content == answer.content
    other = await reader.get("/console/static/0/console.css")
    assert (other.status_code, other.headers["cache-control"]) == (200, "no-store")
    for missing in ("/console/static/0/nothing.css", "/console/static/0/..%2Froutes%2Fdoor.py"):
        assert (await reader.get(missing)).status_code == 404
