"""Logs: one event a line on standard error, as JSON or as text, with no secret in it.

Our own events and those of the standard library's loggers (uvicorn, asyncio) go the same way: bound
names (request, execution), level, time, traceback, then blotting, then the renderer.
"""

import logging
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final, TextIO

import orjson

_MISSING: Final = object()


@contextmanager
def _without(module: str) -> Iterator[None]:
    """Import nothing of this name inside the block."""
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

HIDDEN: Final = "[hidden]"
_DEPTH: Final = 8
"""How deep a logged value is looked into; what lies deeper is left out."""

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


def hide(text: str) -> str:
    """The text with what looks like a key, a bearer token or a password blotted out."""
    for pattern, instead in _SECRET_TEXTS:
        text = pattern.sub(instead, text)
    return text


def is_secret(name: str) -> bool:
    """Whether a field of this name holds a secret: its last word says so."""
    words = _WORDS.findall(name)
    return bool(words) and words[-1].lower() in _SECRET_WORDS


def hide_secrets(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """A structlog processor: no secret goes past it."""
    return {name: _blot(name, value, 0) for name, value in event.items()}


def _blot(name: str, value: Any, depth: int) -> Any:
    if value is None or isinstance(value, bool | int | float):
        return value
    if is_secret(name):
        return HIDDEN
    if isinstance(value, Mapping | list | tuple | set | frozenset):
        return _blot_inside(value, depth)
    return hide(value.decode(errors="replace") if isinstance(value, bytes) else str(value))


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
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=structlog.WriteLoggerFactory(stream),
        cache_logger_on_first_use=False,  # a logger follows the newest configuration
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.ExtraAdder(), *shared],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
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


def _shared() -> list[Processor]:
    return [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        hide_secrets,
    ]


def _text_renderer(*, colors: bool) -> Processor:
    return structlog.dev.ConsoleRenderer(
        colors=colors, exception_formatter=structlog.dev.plain_traceback
    )


def _json(_logger: WrappedLogger, _method: str, event: EventDict) -> str:
    return orjson.dumps(event, default=str).decode(errors="replace")
