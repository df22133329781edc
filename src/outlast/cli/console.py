"""`outlast console`: a link that signs a browser in once."""

from typing import Annotated
from urllib.parse import urlsplit

from typer import Option, echo

from outlast.cli.options import AsJson
from outlast.cli.output import note, write_json
from outlast.cli.through import Server, through_server
from outlast.model.error import InvalidRequest

_NOT_FOUND = 404


@through_server()
def console(
    server: Server,
    *,
    open_browser: Annotated[
        bool, Option("--open/--no-open", help="Open it in a browser, unless over SSH.")
    ] = True,
    json: AsJson = False,
) -> None:
    """Write a link that signs a browser in to the console.

    The link works once, for two minutes. It is opened where there is a browser.
    """
    from outlast.cli.address import url_of
    from outlast.client import Refused

    try:
        made = server.request(lambda c: c.console_link())
    except Refused as error:
        if error.status != _NOT_FOUND:
            raise
        raise InvalidRequest("This server has no console: it was started without one.") from error
    url = _link(server.url or url_of(server.settings), str(made["path"]))
    if json:
        write_json({"url": url, "expiresAt": made["expiresAt"]})
        return
    echo(url)
    if open_browser:
        from outlast.cli.browser_window import has_browser, show

        if has_browser() and show(url):
            note("Opened in the browser; the link works once.")


def _link(server: str, path: str) -> str:
    """Return the URL of a path; it begins with the prefix of a server that knows its own."""
    url = server.rstrip("/")
    prefix = urlsplit(url).path
    return url.removesuffix(prefix) + path if path.startswith(f"{prefix}/") else url + path
