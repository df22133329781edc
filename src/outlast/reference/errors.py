"""A page for each error code, made from docs/errors.md: what happened, and what helps.

It needs neither a key nor a network, so that whoever gets an error can follow its link. Imported at
the first request of a page.
"""

from functools import lru_cache
from pathlib import Path
from typing import Final

from markupsafe import Markup

from outlast.reference.page import policy_of, template
from outlast.rooms.console.render.documents import sections

_STYLE: Final = Path(__file__).parent / "reference.css"


@lru_cache(128)
def render(code: str | None, root: str) -> tuple[str, str] | None:
    """Return the page of a code, or of all, and its content security policy.

    None if there is no such code. `root` is the prefix of the paths.
    """
    found = sections("errors", f"{root}/console")
    if code is not None and code not in found:
        return None
    style = _STYLE.read_text()
    content = template("errors.html").render(
        title="Errors" if code is None else code,
        root=root,
        codes=sorted(found) if code is None else [],
        content=Markup() if code is None else found[code],
        style=Markup(style),  # noqa: S704 - a file of the package
    )
    return content, policy_of(style)
