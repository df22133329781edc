"""Shows an execution at the terminal: text on standard output, tools on standard error."""

import sys
from typing import Any, Final

import orjson
from typer import echo, style

from outlast.cli.output import note, shorten

EXIT_CODES: Final = {"completed": 0, "failed": 1, "cancelled": 130, "suspended": 3, "paused": 3}
_RESULT: Final = 400
"""Maximum characters shown of a tool's result."""


class Screen:
    """Shows an execution as it runs; with `quiet` only the output of `end`."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._quiet = quiet
        self._line_open = False

    def text(self, piece: str) -> None:
        """Show text of the model."""
        if self._quiet or not piece:
            return
        sys.stdout.write(piece)
        sys.stdout.flush()
        self._line_open = not piece.endswith("\n")

    def thinking(self, piece: str) -> None:
        """Show reasoning of the model, at a terminal only."""
        if not self._quiet and sys.stderr.isatty():
            sys.stderr.write(style(piece, dim=True))
            sys.stderr.flush()

    def tool_started(self, name: str, parameters: Any) -> None:
        """Show the start of a tool call."""
        self.say(f"→ {name} {_json(parameters)}")

    def tool_finished(self, name: str, result: Any, *, is_error: bool = False) -> None:
        """Show the result of a tool call."""
        mark = "✗" if is_error else "←"
        self.say(f"{mark} {name} {shorten(_json(result), _RESULT)}")

    def approval_requested(self, name: str, parameters: Any) -> None:
        """Show a tool call that waits for a person."""
        self.say(f"? {name} {_json(parameters)} waits for approval")

    def client_call(self, name: str, tool_call_id: str) -> None:
        """Show a tool call that waits for the client, which runs it."""
        self.say(f"? {name} waits for its client's result: {tool_call_id}")

    def retried(self, reason: str) -> None:
        """Show that the text of this step is void."""
        self.say(f"↻ this step runs again: {reason}" if reason else "↻ this step runs again")

    def taken_back(self, step: int) -> None:
        """Show that the execution was rolled back: what was shown after this step is void."""
        self.say(f"↶ rolled back to step {step}: what was shown after it no longer counts")

    def say(self, line: str) -> None:
        """Write a line to standard error."""
        if self._quiet:
            return
        if self._line_open:
            echo()
            self._line_open = False
        note(style(line, dim=True) if sys.stderr.isatty() else line)

    def end(self, execution_id: str, status: str, error: str | None) -> int:
        """Show how it ended and return the exit code."""
        if error:
            self.say(f"{status}: {error}")
        elif status != "completed":
            self.say(f"{status}: {execution_id}")
            if status == "suspended":
                self.say(f"What it waits for: outlast executions show {execution_id}")
        elif self._line_open:
            echo()
        self._line_open = False
        return EXIT_CODES.get(status, 1)


def _json(value: Any) -> str:
    return value if isinstance(value, str) else orjson.dumps(value).decode()
