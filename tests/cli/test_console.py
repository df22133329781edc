"""`outlast console`."""

from collections.abc import Callable

import httpx2
import orjson
import pytest

from tests.support.command_line import CommandLine
from tests.support.databases import SQLITE
from tests.support.waiting import BOUND

Outlast = Callable[..., tuple[int, str, str]]
pytestmark = pytest.mark.only(SQLITE)


def test_a_link_is_written_that_signs_in_once(command_line: CommandLine, outlast: Outlast) -> None:
    server = command_line.serve()
    code, out, err = outlast("console")
    assert (code, err) == (0, "")
    url = out.strip()
    assert url.startswith(f"{server.url}/console/enter?ticket=")
    opened = {"Sec-Fetch-Site": "none"}
    with httpx2.Client(timeout=BOUND) as browser:
        assert browser.get(url, headers=opened).status_code == 303
        led = browser.get(f"{server.url}/console").headers.get("location", "")
        assert "sign-in" not in led
        assert browser.get(url, headers=opened).status_code == 401
    made = orjson.loads(outlast("console", "--json")[1])
    assert set(made) == {"url", "expiresAt"}


def test_below_a_prefix_that_the_server_knows_the_link_has_it_once(
    command_line: CommandLine, outlast: Outlast
) -> None:
    server = command_line.serve("--root-path", "/ai")
    code, out, err = outlast("console", "--url", f"{server.url}/ai/")
    assert (code, err) == (0, "")
    assert out.startswith(f"{server.url}/ai/console/enter?ticket=")
    opened = httpx2.get(out.strip(), headers={"Sec-Fetch-Site": "none"}, timeout=BOUND)
    assert opened.status_code == 303


def test_a_server_without_a_console_says_so(command_line: CommandLine, outlast: Outlast) -> None:
    command_line.serve("--no-console")
    code, out, err = outlast("console")
    assert (code, out) == (2, "")
    assert err == "outlast: This server has no console: it was started without one.\n"
