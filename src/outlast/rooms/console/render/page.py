"""Renders pages by Jinja2, which is imported at the first page.

Every template gets the request's frame: links, theme, who is signed in, and the screens to go to.
"""

import asyncio
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from starlette.responses import Response

from outlast.http.call import Call
from outlast.rooms.console.render import words
from outlast.rooms.console.render.frame import frame_of
from outlast.rooms.console.render.markdown import markdown
from outlast.rooms.console.render.screens import SCREENS

if TYPE_CHECKING:
    from jinja2 import Environment

_TEMPLATES: Final = Path(__file__).parents[1] / "templates"
_HTML: Final = "text/html; charset=utf-8"


@cache
def environment() -> "Environment":
    """Return the templates' environment."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    made = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    made.filters |= words.FILTERS
    made.filters["markdown"] = markdown
    made.globals |= {"screens": SCREENS, "status_icons": words.STATUS_ICONS}
    return made


_ready = False


async def prepare() -> None:
    """Import and compile what pages need, in a thread: it takes longer than a stream may wait."""
    global _ready  # noqa: PLW0603 - of the process, as imports are
    if not _ready:
        await asyncio.to_thread(_compile)
        _ready = True


def _compile() -> None:
    made = environment()
    for name in made.list_templates():
        made.get_template(name)
    markdown("")


def page(call: Call, template: str, status: int = 200, **values: Any) -> Response:
    """Return a page; `values` are the template's own."""
    content = environment().get_template(template).render(**frame_of(call), **values)
    return Response(content, status, {"Content-Type": _HTML})
