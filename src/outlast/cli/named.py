"""The part of the command line that its arguments name.

Typer prepares every command that an application has, which takes longer than many commands run.
"""

from collections.abc import Sequence
from copy import copy

from typer import Typer
from typer.main import get_command_name
from typer.models import CommandInfo, TyperInfo


def only_named(app: Typer, arguments: Sequence[str]) -> Typer:
    """Return an application with the only command or group that the first argument names.

    A group has in turn what the next argument names. Return the whole one where an argument names
    nothing: it writes its help, or refuses the argument.
    """
    name = next(iter(arguments), "")
    commands = [one for one in app.registered_commands if _name(one) == name]
    groups = [one for one in app.registered_groups if one.name == name]
    if not (commands or groups):
        return app
    named = copy(app)
    named.registered_commands = commands
    named.registered_groups = [_with_named(one, arguments[1:]) for one in groups]
    return named


def _name(command: CommandInfo) -> str:
    return command.name or get_command_name(getattr(command.callback, "__name__", ""))


def _with_named(group: TyperInfo, arguments: Sequence[str]) -> TyperInfo:
    assert group.typer_instance is not None
    named = copy(group)
    named.typer_instance = only_named(group.typer_instance, arguments)
    return named
