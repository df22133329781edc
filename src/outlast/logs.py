"""Logs: one event a line on standard error, as JSON or as text, with no secret in it.

Outlast's events and those of the standard library's loggers (uvicorn, asyncio) pass the same
processors: bound names (request, execution), level, time, traceback, then masking of secrets, then
the renderer. Events logged once per request or execution have a faster path: `line`.
"""

import asyncio
import atexit
import json
import logging
import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from threading import RLock
from typing import Any, Final, Literal, TextIO, TypeAlias, cast

import orjson

from outlast.model.clock import iso_second
from outlast.model.text import storable

_MISSING: Final = object()


@contextmanager
def _without(module: str) -> Iterator[None]:
    """Make imports of this name fail inside the block."""
    known: Any = sys.modules.get(module, _MISSING)
    sys.modules[module] = None  # type: ignore[assignment] # the import system's own way to say: not there
    try:
        yield
    finally:
        del sys.modules[module]
        if known is not _MISSING:
            sys.modules[module] = known


with _without("rich"):  # for its tracebacks alone, at a fifth of a second and 6 MB of every start
    import structlog
    from structlog.typing import EventDict, Processor, WrappedLogger

Level: TypeAlias = Literal["debug", "info", "warning", "error"]

Fields: TypeAlias = Callable[..., dict[str, Any]]

HIDDEN: Final = "[hidden]"
_DEPTH: Final = 8
"""Maximum depth of a logged value; deeper values are left out."""

_WORDS: Final = re.compile(r"[A-Z]?[a-z0-9]+|[A-Z]+(?![a-z])")
_SECRET_WORDS: Final = frozenset(
    {
        "apikey",
        "authorization",
        "cookie",
        "credential",
        "credentials",
        "key",
        "passwd",
        "password",
        "secret",
        "ticket",
        "token",
    }
)
_SECRET_TEXTS: Final = (
    # Keys by their look: ours and those of most providers.
    (re.compile(r"\b(sk|pk|rk)[-_][A-Za-z0-9_\-]{8,}"), r"\1-" + HIDDEN),
    (re.compile(r"\b(Bearer|Basic)\s+[A-Za-z0-9._~+/=\-]{6,}", re.IGNORECASE), r"\1 " + HIDDEN),
    (re.compile(r"://[^/\s:@]*:[^/\s@]+@"), f"://{HIDDEN}@"),
    # `name: value` and `name=value` inside a text, as in a traceback or a URL's query.
    (
        re.compile(
            r"\b((?:x[-_])?api[-_]?key|authorization|access[-_]?token|token|client[-_]?secret|secret"
            r"|password|ticket)(['\"]?\s*[:=]\s*['\"]?)(?!\[hidden\]|Bearer\s|Basic\s)[^\s'\"&,;)}\]]+",
            re.IGNORECASE,
        ),
        r"\1\2" + HIDDEN,
    ),
)


_LONGEST: Final = 16 * 1024
"""Maximum characters of a text in a line; a traceback begins with its frames."""


def hide(text: str) -> str:
    """Return the text with anything that looks like a key, a bearer token or a password masked."""
    for pattern, instead in _SECRET_TEXTS:
        text = pattern.sub(instead, text)
    return text


def is_secret(name: str) -> bool:
    """Whether a field of this name holds a secret, by its last word."""
    words = _WORDS.findall(name)
    return bool(words) and words[-1].lower() in _SECRET_WORDS


def hide_secrets(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Structlog processor that masks secrets."""
    return {name: _blot(name, value, 0) for name, value in event.items()}


def _blot(name: str, value: Any, depth: int) -> Any:
    if value is None or isinstance(value, bool | int | float):
        return value
    if is_secret(name):
        return HIDDEN
    if isinstance(value, Mapping | list | tuple | set | frozenset):
        return _blot_inside(value, depth)
    text = value.decode(errors="replace") if isinstance(value, bytes) else str(value)
    if len(text) > _LONGEST:
        text = f"{text[:_LONGEST]}… (cut: {len(text)} characters in all)"
    return hide(text)


def _blot_inside(value: Any, depth: int) -> Any:
    if depth == _DEPTH:
        return "…"
    if isinstance(value, Mapping):
        return {str(key): _blot(str(key), item, depth + 1) for key, item in value.items()}
    return [_blot("", item, depth + 1) for item in value]


def configure(level: str, format: str, stream: TextIO | None = None) -> None:
    """Set up this process's logs: level debug, info, warning, error; format json, text, auto."""
    stream = sys.stderr if stream is None else stream
    terminal = stream.isatty()
    as_text = format == "text" or (format == "auto" and terminal)
    threshold = logging.getLevelNamesMapping()[level.upper()]
    shared = _shared()
    renderer = _text_renderer(colors=terminal) if as_text else _json
    global _lines  # noqa: PLW0603 - as global as structlog's configuration, which it goes beside
    flush()
    _lines = lines = _Lines(threshold, renderer, stream)
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=structlog.WriteLoggerFactory(cast("TextIO", lines)),
        cache_logger_on_first_use=False,  # a logger follows the newest configuration
    )
    handler = logging.StreamHandler(lines)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.ExtraAdder(), *shared],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    atexit.register(flush)
    logging.basicConfig(handlers=[handler], level=threshold, force=True)
    for chatty in (
        "httpx2",
        "httpcore2",
        "httpx",
        "httpcore",
        "alembic",
        "uvicorn",
        "procrastinate",
    ):
        logging.getLogger(chatty).setLevel(max(threshold, logging.WARNING))


_LEVELS: Final[dict[str, int]] = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}


class _Lines:
    """Writes events that need no masking in batches, at a third of the cost of single writes.

    An event waits for its write at most `_DELAY` seconds; the order of all log lines is kept.
    """

    def __init__(self, threshold: int, renderer: Processor, stream: TextIO) -> None:
        self.levels = frozenset(name for name in _LEVELS if _LEVELS[name] >= threshold)
        self._render = renderer
        self._stream = stream
        self._waiting: list[tuple[float, Level, str, Fields, tuple[Any, ...]]] = []
        self._flushed_by: asyncio.AbstractEventLoop | None = None
        self._lock = RLock()

    def add(self, level: Level, name: str, fields: Fields, given: tuple[Any, ...]) -> None:
        """Buffer this event; write it at once if no event loop runs."""
        now = time.time()  # noqa: TID251 - the moment of the line, as structlog's own
        self._waiting.append((now, level, name, fields, given))
        if self._flushed_by is not None and self._flushed_by.is_running():
            return
        try:
            self._flushed_by = asyncio.get_running_loop()
        except RuntimeError:
            self.flush()
        else:
            self._flushed_by.call_later(_DELAY, self.flush)

    def write(self, text: str) -> None:
        """Write text of another logger, as a stream does."""
        with self._lock, suppress(OSError, ValueError):  # a log that fails ends no request
            self._stream.write(self._waiting_lines() + text)

    def flush(self) -> None:
        """Write what is buffered."""
        with self._lock, suppress(OSError, ValueError):
            self._flushed_by = None
            self._stream.write(self._waiting_lines())
            self._stream.flush()

    def _waiting_lines(self) -> str:
        waiting, self._waiting = self._waiting, []
        events = [
            (level, _event(at, level, name, fields(*given)))
            for at, level, name, fields, given in waiting
        ]
        if self._render is _json:
            with suppress(TypeError):
                return b"".join(
                    [orjson.dumps(event, str, _NEWLINE) for _, event in events]
                ).decode()
        return "".join([f"{self._render(None, level, event)!s}\n" for level, event in events])


def _event(at: float, level: Level, name: str, fields: EventDict) -> EventDict:
    micros = int(at % 1 * 1_000_000)
    timestamp = f"{iso_second(int(at))}.{micros:06d}Z"
    return {"event": name, "level": level, "timestamp": timestamp, **fields}


_DELAY: Final = 0.02
_NEWLINE: Final = orjson.OPT_APPEND_NEWLINE
_lines: _Lines | None = None


def enabled(level: Level) -> bool:
    """Whether events of this level are written."""
    if _lines is None:
        return structlog.is_configured()
    return level in _lines.levels


def line(level: Level, name: str, fields: Fields, *given: Any) -> None:
    """Log an event whose fields, `fields(*given)`, are ids, numbers and the operator's names.

    Nothing is masked and no bound name is added: use a logger for text from outside. If `configure`
    was never called, the event goes through structlog as the process has configured it, if it has.
    """
    if _lines is not None:
        if level in _lines.levels:
            _lines.add(level, name, fields, given)
    elif structlog.is_configured():
        structlog.get_logger(__name__).log(_LEVELS[level], name, **fields(*given))


def unconfigure() -> None:
    """Reset what `configure` has set for `line`."""
    global _lines  # noqa: PLW0603
    flush()
    _lines = None


def flush() -> None:
    """Write the buffered lines."""
    if _lines is not None:
        _lines.flush()


def _shared() -> list[Processor]:
    return [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        hide_secrets,
    ]


def _text_renderer(*, colors: bool) -> Processor:
    render = structlog.dev.ConsoleRenderer(
        colors=colors, exception_formatter=structlog.dev.plain_traceback
    )

    def text(logger: WrappedLogger, method: str, event: EventDict) -> str:
        return render(logger, method, event).encode(errors="backslashreplace").decode()

    return text


def _json(_logger: WrappedLogger, _method: str, event: EventDict) -> str:
    try:
        return orjson.dumps(event, default=str).decode()
    except TypeError:  # half a surrogate pair, a number beyond 64 bits
        return json.dumps(storable(event), default=str)
