"""Markdown that models wrote, as HTML: no HTML of theirs, no images, links to the web alone."""

import re
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markupsafe import Markup

_LONGEST: Final = 100_000
"""Longer texts are shown as they are: rendering holds up the server's other work."""
_LINE: Final = re.compile(r"[^\W\d_][^\\`*_\[\]<>&~|\x00-\x1f]*")
"""One line that Markdown leaves as it is: a letter, then nothing that begins anything."""
_LINKS: Final = ("http://", "https://", "mailto:")


@cache
def _parser() -> "MarkdownIt":
    from markdown_it import MarkdownIt

    made = MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"])
    made.disable("image")
    made.validateLink = _is_allowed  # type: ignore[method-assign]
    made.add_render_rule("link_open", _open_link)
    return made


def _is_allowed(url: str) -> bool:
    return url.strip().lower().startswith(_LINKS)


def _open_link(renderer: Any, tokens: Sequence[Any], index: int, options: Any, env: Any) -> str:
    del env
    tokens[index].attrSet("rel", "noopener nofollow")
    rendered: str = renderer.renderToken(tokens, index, options, {})
    return rendered


def markdown(text: str) -> "Markup | str":
    """Return a text as HTML; a very long one as it is."""
    from markupsafe import Markup

    if len(text) > _LONGEST:
        return text
    if _LINE.fullmatch(text):
        line = text.rstrip(" ").replace('"', "&quot;")
        return Markup(f"<p>{line}</p>\n")  # noqa: S704 - without a character that HTML reads
    return Markup(_parser().render(text))  # noqa: S704 - of our own renderer, without HTML of others
