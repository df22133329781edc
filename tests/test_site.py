"""The documents as a site: its contents name every page, and every link leads somewhere."""

import re
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from tests.support import error_page

ROOT: Final = Path(__file__).parent.parent
DOCS: Final = ROOT / "docs"
PAGES: Final = [
    *sorted(DOCS.rglob("*.md")),
    *sorted((ROOT / "clients").glob("*/README.md")),
    *sorted((ROOT / "src" / "outlast" / "rooms").glob("*/README.md")),
]
_PUNCTUATION: Final = re.compile(r"[^\w\- ]")


def test_the_page_of_errors_is_what_the_classes_say() -> None:
    assert set(error_page.codes()) <= set(error_page.HELPS), "say what helps"
    written = error_page.PAGE.read_text()
    assert written == error_page.page(), "write it anew: python -m tests.support.error_page"


def test_the_contents_name_every_page_once_in_the_site_and_for_machines() -> None:
    nav = yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"]
    pages = sorted(path.name for path in DOCS.glob("*.md"))
    assert sorted(leaves(nav)) == pages
    listed = re.findall(r"\]\((\w+\.md)\)", (DOCS / "llms.txt").read_text())
    assert sorted(listed) == pages


def leaves(nav: Any) -> list[str]:
    match nav:
        case str():
            return [nav]
        case list():
            return [leaf for one in nav for leaf in leaves(one)]
        case _:
            return [leaf for one in nav.values() for leaf in leaves(one)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_and_anchor_leads_somewhere(page: Path) -> None:
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    for target, anchor in re.findall(r"\]\(([^)#\s:]*)(?:#([\w-]+))?\)", text):
        place = (page.parent / target).resolve() if target else page
        assert place.exists(), target
        assert place.is_relative_to(ROOT), target
        if anchor:
            assert anchor in anchors(place), f"{target}#{anchor}"


def test_every_picture_is_taken_by_a_test_and_shown() -> None:
    files = {path.stem for path in (DOCS / "images").iterdir()}
    journeys = (ROOT / "tests" / "rooms" / "console" / "test_browser.py").read_text()
    assert set(re.findall(r'picture\(at, "([\w-]+)"\)', journeys)) == files
    shown = "".join(page.read_text() for page in DOCS.glob("*.md"))
    assert set(re.findall(r"!\[[^\]]+\]\(images/([\w-]+)\.png\)", shown)) == files


def anchors(page: Path) -> set[str]:
    titles = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {_PUNCTUATION.sub("", title.lower()).replace(" ", "-") for title in titles}
