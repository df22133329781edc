"""Arguments and variables that are no UTF-8 are named."""

import pytest

from tests.support.command_line import CommandLine
from tests.support.databases import SQLITE

pytestmark = pytest.mark.only(SQLITE)
ODD = "caf\udce9"
"""The byte E9, as Python reads it."""


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("serve", "--agents", f"{ODD}.yaml"), r"argument 3, 'caf\udce9.yaml', is not UTF-8"),
        (("executions", "get", ODD), r"argument 3, 'caf\udce9', is not UTF-8"),
        (("executions", "list", "--agent", ODD), "is not UTF-8"),
        (("keys", "create", ODD), r"argument 3, 'caf\udce9', is not UTF-8"),
        (("workspaces", "create", ODD), r"argument 3, 'caf\udce9', is not UTF-8"),
    ],
)
def test_an_argument_that_is_not_utf_8_is_named(
    command_line: CommandLine, arguments: tuple[str, ...], expected: str
) -> None:
    code, _, err = command_line.run(*arguments)
    assert "mistake in Outlast" not in err
    assert expected in err
    assert code == 2


@pytest.mark.parametrize("variable", ["OUTLAST_API_KEY", "OUTLAST_AGENTS", "OUTLAST_DATABASE_URL"])
@pytest.mark.parametrize("command", [("executions", "list"), ("keys", "list"), ("serve",)])
def test_a_variable_that_is_not_utf_8_is_named(
    command_line: CommandLine, variable: str, command: tuple[str, ...]
) -> None:
    code, _, err = command_line.run(*command, **{variable: ODD})
    assert f"{variable} is not UTF-8" in err
    assert code == 2
