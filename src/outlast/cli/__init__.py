"""The command line: `outlast serve`, `outlast run`, and what looks after a server.

Each command's work is in a module of its own, imported when the command runs, so that `outlast
--help` stays quick. Exit codes: 0 done, 1 failed, 2 wrong usage or settings, 3 suspended, 130
interrupted.
"""

import os
import sys


def main() -> None:
    """Run the command that `sys.argv` names and exit; an error is one line on standard error."""
    from outlast.cli.commands import app
    from outlast.model.error import InvalidRequest, Misconfigured, OutlastError

    try:
        app()
    except (Misconfigured, InvalidRequest) as error:
        _leave(str(error), 2)
    except OutlastError as error:
        mend = " Start a server: outlast serve" if error.code == "unreachable" else ""
        _leave(f"{error}{mend}", 1)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        # Whoever read our output has enough; nothing may be flushed into the closed pipe at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except Exception as error:  # the top of the process: told in one line, not as a traceback
        if os.environ.get("OUTLAST_LOG_LEVEL") == "debug":
            raise
        kind = type(error).__name__
        _leave(f"a mistake in Outlast: {kind}: {error} (OUTLAST_LOG_LEVEL=debug shows where)", 1)


def _leave(message: str, code: int) -> None:
    sys.stderr.write(f"outlast: {message}\n")
    sys.exit(code)
