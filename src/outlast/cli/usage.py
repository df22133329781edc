"""Errors of a command line: one sentence, and the command that helps.

The errors are those of typer's parser, which are not part of its interface: they are recognized by
their attributes.
"""

import re
import sys
from itertools import takewhile
from typing import Any, Final

_NO_COMMAND: Final = re.compile(r"No such command '(.*?)'\.(?: Did you mean (.*)\?)?$", re.DOTALL)
_TOO_MANY: Final = re.compile(r"Got unexpected extra arguments?(?:\(s\))? \((.*)\)$", re.DOTALL)


def is_usage_error(error: Exception) -> bool:
    """Whether the parser refuses the command line."""
    return hasattr(error, "format_message") and hasattr(error, "exit_code")


def complaint(error: Any) -> str:
    """Return what is wrong, what was expected and given, and where to read more."""
    context = getattr(error, "ctx", None)
    command = _given_command() if context is None else context.command_path
    said = _sentence(error).rstrip(".")
    return f"{said}{'' if said.endswith('?') else '.'} See: {command} --help"


def _given_command() -> str:
    """Return the words before the first option."""
    words = takewhile(lambda word: not word.startswith("-"), sys.argv[1:])
    return " ".join(["outlast", *words])


def _sentence(error: Any) -> str:
    said = str(error.format_message())
    match type(error).__name__:
        case "BadParameter" if hasattr(error.__cause__, "errors"):
            return f"{_name(error.param)} {_value(error)}"
        case "MissingParameter":
            return f"{_name(error.param)} is missing"
        case "NoSuchOption":
            near = " or ".join(error.possibilities or ())
            return f"{error.option_name} is not known here" + (f"; is it {near}?" if near else "")
        case "BadOptionUsage":
            wants = "takes no value" if "does not take" in said else "needs a value"
            return f"{error.option_name} {wants}"
        case _:
            return _of_commands(said)


def _value(error: Any) -> str:
    """Return the message that settings and requests have for the same mistake."""
    from outlast.model.explain import sentence

    return sentence((error.param.name,), list(error.__cause__.errors()))


def _name(parameter: Any) -> str:
    """Return an option's longest spelling; an argument's name in capitals."""
    if parameter.param_type_name == "option":
        return str(max(parameter.opts, key=len))
    return str(parameter.metavar or parameter.name.upper()).strip("[]")


def _of_commands(said: str) -> str:
    if found := _NO_COMMAND.match(said):
        name, near = found[1], found[2]
        return f'there is no command "{name}"' + (
            "; did you mean {}?".format(near.replace("'", "")) if near else ""
        )
    if found := _TOO_MANY.match(said):
        return f'one argument too many: "{found[1]}"'
    return said
