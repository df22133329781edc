"""The documents of this version as pages: rendered once, in a thread, and kept."""

import posixpath
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.token import Token
    from markupsafe import Markup

_ROOM: Final = Path(__file__).parents[1]
_PLACES: Final = (_ROOM / "help", _ROOM.parents[3] / "docs")
"""In an installed package, and in the sources."""
_FIRST: Final = (
    *("tutorial", "start", "agents", "http", "console", "commands", "operations", "errors"),
    *("guarantees", "words", "moving"),
)
"""Documents in the order of the list; the others follow by name."""
_OUTSIDE: Final = ("http", "https", "mailto")
_PARAGRAPH: Final = ("paragraph_open", "inline", "paragraph_close")
_TITLE: Final = "h1"
_SUBTITLE: Final = "h2"


@dataclass(frozen=True, slots=True)
class Document:
    """A document in the list."""

    name: str
    """Its path below the folder without `.md`, with hyphens for slashes."""
    title: str
    path: Path


@dataclass(frozen=True, slots=True)
class HelpPage:
    """A document as HTML, with its headings of the second level as (anchor, text)."""

    title: str
    content: "Markup"
    headings: tuple[tuple[str, str], ...]


@cache
def documents() -> dict[str, Document]:
    """Return the documents by name, in the order of the list; none if the package lacks them."""
    folder = next((place for place in _PLACES if place.is_dir()), None)
    if folder is None:
        return {}
    found = {}
    for path in folder.rglob("*.md"):
        name = _name(path.relative_to(folder).as_posix())
        title = path.read_text(encoding="utf-8").partition("\n")[0].lstrip("# ")
        found[name] = Document(name, title, path)
    order = {name: place for place, name in enumerate(_FIRST)}
    return dict(sorted(found.items(), key=lambda one: (order.get(one[0], 99), one[0])))


@cache
def rendered(name: str, root: str) -> HelpPage:
    """Return a document as a page; `root` is the address of the console. Raises KeyError."""
    from markupsafe import Markup

    known = documents()[name]
    parser = _parser()
    tokens = _tokens(known)
    base = posixpath.dirname(name.replace("-", "/", 1)) if name.startswith("decisions-") else ""
    headings = list(_headings(tokens))
    for token in tokens:
        if token.children:
            token.children = list(_linked(token.children, base, root))
    html = parser.renderer.render(tokens, parser.options, {})
    return HelpPage(known.title, Markup(html), tuple(headings))  # noqa: S704 - our own documents


@cache
def sections(name: str, root: str) -> "dict[str, Markup]":
    """Return what stands below each heading of the second level, by its anchor.

    Empty if the package has no such document. `root` is the address of the console.
    """
    from markupsafe import Markup

    if (known := documents().get(name)) is None:
        return {}
    parser = _parser()
    tokens = _tokens(known)
    found: dict[str, list[Token]] = {}
    inside: list[Token] = []
    for at, token in enumerate(tokens):
        if token.type == "heading_open" and token.tag == _SUBTITLE:
            inside = found[anchor(_plain(tokens[at + 1]))] = []
        elif token.children:
            token.children = list(_linked(token.children, "", root))
        inside.append(token)
    return {
        place: Markup(parser.renderer.render(below[3:], parser.options, {}))  # noqa: S704 - ours
        for place, below in found.items()
    }


@cache
def _parser() -> "MarkdownIt":
    from markdown_it import MarkdownIt

    made = MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"])
    made.add_render_rule("table_open", _open_table)
    made.add_render_rule("table_close", lambda *_: "</table></div>\n")
    return made


def _open_table(*_: Any) -> str:
    return '<div class="wide" tabindex="0" role="group" aria-label="Table"><table>\n'


def _tokens(document: Document) -> "list[Token]":
    """Return a document's, without paragraphs that are a picture of what its reader can see."""
    tokens = _parser().parse(document.path.read_text(encoding="utf-8"))
    left: list[Token] = []
    for at, token in enumerate(tokens):
        around = tokens[max(0, at - 1) : at + 2]
        if not any(_is_picture(one) for one in around if token.type in _PARAGRAPH):
            left.append(token)
    return left


def _is_picture(token: "Token") -> bool:
    return [child.type for child in token.children or ()] == ["image"]


def _headings(tokens: "Sequence[Token]") -> Iterator[tuple[str, str]]:
    """Give headings their anchors, and yield those of the second level; one stays above them."""
    for at, token in enumerate(tokens):
        if token.type == "heading_open":
            text = _plain(tokens[at + 1])
            token.attrSet("id", anchor(text))
            if token.tag == _TITLE and at:
                token.tag = tokens[at + 2].tag = _SUBTITLE
            if token.tag == _SUBTITLE:
                yield anchor(text), text


def _plain(token: "Token") -> str:
    return "".join(one.content for one in token.children or () if one.type != "html_inline")


def anchor(text: str) -> str:
    """Return the anchor of a heading, as GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-")


def _linked(tokens: "Sequence[Token]", base: str, root: str) -> "Iterator[Token]":
    """Yield the tokens with links between documents; links to other files become text."""
    open_links = []
    for token in tokens:
        if token.type == "link_open":
            there = _target(str(token.attrGet("href")), base, root)
            open_links.append(there)
            if there:
                token.attrSet("href", there)
                yield token
        elif token.type == "link_close":
            if open_links.pop():
                yield token
        else:
            yield token


def _target(href: str, base: str, root: str) -> str:
    """Return where a link leads; empty if the package has no such page."""
    parts = urlsplit(href)
    if parts.scheme in _OUTSIDE or href.startswith("#"):
        return href
    name = _name(posixpath.normpath(posixpath.join(base, parts.path)))
    if name not in documents():
        return ""
    return f"{root}/help/{name}" + (f"#{parts.fragment}" if parts.fragment else "")


def _name(path: str) -> str:
    return path.removesuffix(".md").replace("/", "-")
