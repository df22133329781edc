"""The command line: `outlast serve`, `outlast run`, and administration of a server.

Each command is implemented in a module of its own, imported when the command runs, so that `outlast
--help` stays fast. Exit codes: 0 done, 1 failed, 2 wrong usage or settings, 3 suspended, 130
interrupted.
"""

import os
import signal
import sys
from typing import Final, NoReturn

_REMEDIES: Final = {
    "agent_not_found": "See: outlast agents list",
    "approval_not_found": "See: outlast approvals",
    "budget_not_found": "See: outlast budgets list",
    "checkpoint_not_found": "See: outlast executions checkpoints ID",
    "client_call_not_found": "See: outlast executions show ID",
    "execution_not_found": "See: outlast executions list",
    "expired_api_key": "Create a key: outlast keys create",
    "invalid_api_key": "Set OUTLAST_API_KEY, or create a key: outlast keys create",
    "key_not_found": "See: outlast keys list",
    "schedule_not_found": "See: outlast schedules list",
    "unreachable": "Start a server: outlast serve",
}
"""The command that helps with an error, by the error's code."""
_FIRST_PROCESS: Final = 1
_WRONG_USAGE: Final = frozenset({400, 422})
"""HTTP statuses of values that cannot be.

Without a server they are InvalidRequest and InvalidField.
"""


def main() -> None:
    """Run the command that `sys.argv` names and exit; an error is one line on standard error."""
    if os.getpid() == _FIRST_PROCESS:  # a container's: Linux drops its signals without a handler
        signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    from outlast.cli.commands import app
    from outlast.cli.named import only_named
    from outlast.model.error import InvalidField, InvalidRequest, Misconfigured, OutlastError

    if sys.argv[1:2] != ["run"] and (culprit := _no_utf_8(sys.argv[1:])):  # which replaces it
        _leave(culprit, 2)
    try:
        command = only_named(app, sys.argv[1:])
        sys.exit(int(command(prog_name="outlast", standalone_mode=False) or 0))
    except (Misconfigured, InvalidRequest, InvalidField) as error:
        _leave(str(error), 2)
    except OutlastError as error:
        _leave_for(error, error.code)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        # The reader has closed the pipe; nothing may be flushed into it at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except Exception as error:  # the parser's, or the top of the process: one line, no traceback
        _leave_for_usage(error)
        _leave_for_client(error)
        if isinstance(error, UnicodeEncodeError) and (culprit := _no_utf_8(sys.argv[1:])):
            _leave(culprit, 2)
        if os.environ.get("OUTLAST_LOG_LEVEL") == "debug":
            raise
        kind = type(error).__name__
        _leave(f"internal error: {kind}: {error} (OUTLAST_LOG_LEVEL=debug shows where)", 1)


def _leave_for(error: Exception, code: str) -> NoReturn:
    remedy = _REMEDIES.get(getattr(error, "reason", code))  # a server's code, or our own
    is_usage = getattr(error, "status", None) in _WRONG_USAGE
    _leave(f"{error} {remedy}" if remedy else str(error), 2 if is_usage else 1)


def _leave_for_client(error: Exception) -> None:
    """Exit if the client has raised it; the client is imported by those commands that need it."""
    if type(error).__module__.startswith("outlast_client"):
        from outlast_client.errors import OutlastError

        if isinstance(error, OutlastError):
            _leave_for(error, error.code)


def _leave_for_usage(error: Exception) -> None:
    """Exit if the parser refuses the command line; a group without a command shows its help."""
    from outlast.cli.usage import complaint, is_usage_error

    if not is_usage_error(error):
        return
    if type(error).__name__ == "NoArgsIsHelpError":
        sys.stderr.write(f"{error}\n")
        sys.exit(2)
    _leave(complaint(error), 2)


def _no_utf_8(arguments: list[str]) -> str | None:
    """Return an argument that is not UTF-8: Python has read its bytes as lone surrogates."""
    for number, argument in enumerate(arguments, 1):
        if _is_broken(argument):
            return f"argument {number}, {argument!r}, is not UTF-8"
    return None


def _is_broken(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False


def _leave(message: str, code: int) -> NoReturn:
    sys.stderr.write(f"outlast: {message.encode(errors='backslashreplace').decode()}\n")
    sys.exit(code)
