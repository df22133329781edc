"""Which tests stay together where processes share a run.

The tests of a module do, so that what they share is made once. The fleet of `tests/many/` is shared
by all of that folder, and a Chromium by those of the console that need one. A deployment of
`tests/kills/` is on one database, so each database goes by itself. Tests that share nothing and
wait for processes of their own go one by one: so no process is left at the end with a long module
while the others have nothing to do.
"""

from typing import Final

from tests.support.kinds import KINDS

TOGETHER: Final = "tests/many/"
BROWSER: Final = (
    "tests/rooms/console/test_browser.py",
    "tests/rooms/console/test_browser_forms.py",
    "tests/rooms/console/test_browser_inputs.py",
    "tests/rooms/console/test_images.py",
    "tests/rooms/console/test_screens.py",
)
BY_DATABASE: Final = "tests/kills/"
ONE_BY_ONE: Final = (
    "tests/cli/test_agents.py",
    "tests/cli/test_leaving.py",
    "tests/cli/test_reload.py",
    "tests/cli/test_run.py",
    "tests/cli/test_serve.py",
    "tests/engine/test_crash_children.py",
    "tests/engine/test_crash_client_calls.py",
    "tests/engine/test_crash_code.py",
    "tests/engine/test_crash_inputs.py",
    "tests/engine/test_crash_moves.py",
    "tests/engine/test_crash_waits.py",
    "tests/rooms/test_slow_readers.py",
    "tests/states/test_states.py",
    "tests/test_kill.py",
)


def group_of(nodeid: str) -> str:
    """Return the name of the tests that a test stays with."""
    module = nodeid.partition("::")[0]
    if module.startswith(TOGETHER):
        return TOGETHER
    if module in BROWSER:
        return BROWSER[0]
    if module.startswith(BY_DATABASE):
        return f"{module} {[kind for kind in KINDS if kind in nodeid.partition('[')[2]]}"
    return nodeid if module in ONE_BY_ONE else module
