"""docs/commands.md, made from the command line itself.

`python -m tests.support.command_table` writes it; a test compares the two.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import typer

from outlast.cli.commands import app

PAGE: Final = Path(__file__).parents[2] / "docs" / "commands.md"
HEAD: Final = """# Commands

Every command of `outlast` with every argument and option, made from the command line itself by
`python -m tests.support.command_table`. `--help` behind a command says the same. An option that is
also a setting can be given as an environment variable or in `outlast.toml`: see
[operations](operations.md#settings).
"""


def page() -> str:
    """Return the whole page."""
    root: Any = typer.main.get_command(app)
    return "\n".join([HEAD, *(line for one in _commands(root, "outlast") for line in one)])


def _commands(command: Any, name: str) -> Iterator[list[str]]:
    below = getattr(command, "commands", None)
    if below is None:
        yield _section(command, name)
        return
    for word in sorted(below):
        yield from _commands(below[word], f"{name} {word}")


def _section(command: Any, name: str) -> list[str]:
    arguments = [one for one in command.params if one.param_type_name == "argument"]
    names = [_word(one) if one.required else f"[{_word(one)}]" for one in arguments]
    usage = " ".join(["[OPTIONS]", *names])
    lines = [f"## {name}", "", f"    {name} {usage}", "", *(command.help or "").splitlines(), ""]
    rows = [_row(parameter) for parameter in command.params if not parameter.hidden]
    if rows:
        lines += ["| argument or option | what it is |", "|---|---|", *rows, ""]
    return lines


def _word(argument: Any) -> str:
    return str(argument.metavar or argument.name.upper()).strip("[]")


def _row(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        name = _word(parameter)
    else:
        name = "`, `".join((*parameter.opts, *parameter.secondary_opts))
    return f"| `{name}` | {(parameter.help or '').replace('|', chr(92) + '|')} |"


if __name__ == "__main__":
    PAGE.write_text(page())
