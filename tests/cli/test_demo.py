"""`outlast demo`: the first minute, with a kill in its middle and a person at the browser."""

import os
import pty
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from signal import SIGINT, SIGKILL
from typing import Final

import pytest
from playwright.async_api import expect

from tests.support.chromium import chromium, visit
from tests.support.command_line import COMMAND, CommandLine, CommandProcess
from tests.support.databases import SQLITE
from tests.support.waiting import BOUND, between_looks

pytestmark = [pytest.mark.only(SQLITE), pytest.mark.anyio]
expect.set_options(timeout=BOUND * 1000)
LINK: Final = r"(http://127\.0\.0\.1:\d+)(/console/enter\?ticket=\S+)\n"


def test_without_a_command_the_five_that_matter_are_written(command_line: CommandLine) -> None:
    code, out, err = command_line.run()
    assert (code, err) == (0, "")
    named = re.findall(r"^  outlast (\w+)", out, re.MULTILINE)
    assert named == ["demo", "init", "run", "serve", "console"]


async def test_a_killed_demo_goes_on_where_it_was_and_ends_after_an_approval_in_the_browser(
    command_line: CommandLine,
) -> None:
    process = command_line.start("demo")
    url, link = begun(process)
    async with chromium() as browser, visit(browser, url) as at:
        await at.goto(link)
        transcript = at.page.locator("#transcript")
        await expect(transcript).to_contain_text("Press Ctrl-C")
        place = at.page.url
        process.signal(SIGKILL)
        assert process.wait()[0] == -SIGKILL
        await expect(at.page.locator("#live-state")).to_have_text("reconnecting")

        again = command_line.start("demo")
        again.out.until("The run from before goes on")
        assert begun(again)[0] == url
        await at.page.get_by_role("button", name="Approve").click()
        await expect(at.page.locator("#head")).to_have_attribute("data-status", "completed")
        await expect(transcript).to_contain_text("Refunded 24.9 euros, once")
        await expect(transcript).to_contain_text("outlast init")
        assert await transcript.locator(".tool-name").all_text_contents() == [
            "lookup_order",
            "refund",
        ]
        assert at.page.url == place
        again.signal(SIGINT)
        code, out, err = again.wait()
        assert (code, err) == (0, "")
        assert out.endswith("with the same command: outlast demo\n")

    third = command_line.start("demo")
    third.out.until("An agent works")
    assert begun(third)[0] == url


def test_the_demo_says_how_to_approve_in_a_terminal(command_line: CommandLine) -> None:
    process = command_line.start("demo")
    begun(process)
    named = process.out.until(r"(--data-dir \S+)\n")[1]
    code, _, err = command_line.run("approvals")
    assert code == 2
    assert err.endswith(f"For the server of outlast demo: {named}\n")
    assert command_line.run("approvals", *named.split())[0] == 0


async def test_a_second_demo_says_that_one_runs(command_line: CommandLine) -> None:
    begun(command_line.start("demo"))
    code, out, err = command_line.run("demo")
    assert (code, out) == (2, "")
    assert "The demo runs already" in err


@pytest.mark.parametrize("command", ["demo", "serve --open"])
async def test_at_a_terminal_with_a_screen_the_link_is_opened(
    command_line: CommandLine, command: str
) -> None:
    opened = browser_of(command_line.folder)
    with terminal(command_line, command, DISPLAY=":0", BROWSER=f"{opened.with_suffix('.sh')} %s"):
        while not (opened.exists() and opened.read_text().endswith("\n")):
            await between_looks()
    assert re.fullmatch(LINK, opened.read_text())


def test_over_ssh_the_link_is_only_written(command_line: CommandLine) -> None:
    opened = browser_of(command_line.folder)
    with terminal(
        command_line,
        "serve --open",
        DISPLAY=":0",
        SSH_CONNECTION="10.0.0.1",
        BROWSER=f"{opened.with_suffix('.sh')} %s",
    ) as run:
        run.send_signal(SIGINT)
        assert run.wait(BOUND) == 0
    assert not opened.exists()


def begun(process: CommandProcess) -> tuple[str, str]:
    """The server's URL, and the path that signs in."""
    found = process.out.until(LINK)
    return found[1], found[2]


def browser_of(folder: Path) -> Path:
    """A browser that writes what it opens into this file."""
    opened = folder / "opened"
    program = opened.with_suffix(".sh")
    program.write_text(f'#!/bin/sh\necho "$1" > {opened}\n')
    program.chmod(0o755)
    return opened


@contextmanager
def terminal(
    command_line: CommandLine, command: str, **environment: str
) -> Iterator["subprocess.Popen[bytes]"]:
    """A command with a terminal as its standard output, once it has written a link."""
    ours, theirs = pty.openpty()
    inherited = {n: v for n, v in os.environ.items() if not n.startswith(("OUTLAST_", "SSH_"))}
    process = subprocess.Popen(
        [*COMMAND, *command.split()],
        cwd=command_line.folder,
        env={**inherited, **command_line.environment, **environment},
        stdout=theirs,
        stderr=subprocess.DEVNULL,
    )
    os.close(theirs)
    try:
        seen = b""
        while b"ticket=" not in seen:
            seen += os.read(ours, 65536)
        yield process
    finally:
        process.kill()
        process.wait()
        os.close(ours)
