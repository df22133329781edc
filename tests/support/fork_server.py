"""A script: imports what Outlast needs, and forks a Python process for each request.

Its arguments are the descriptors of two sockets. It ends when the other end of the first closes. A
request is a `Start`, with the descriptors of standard input, output and error; the answer is the
process's id. The process is a child of this one's parent: there it is signalled and waited for like
any child. At the second socket, the door, `fork_client` connects: what is forked then ends with it.

Nothing runs here but this loop: no other thread, no event loop. So a fork is as good as new.
"""

import atexit
import ctypes
import functools
import gc
import importlib
import io
import os
import pickle
import pkgutil
import platform
import resource
import runpy
import select
import signal
import socket
import struct
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from types import ModuleType
from typing import Any, Final, Literal, NamedTuple, TextIO, TypeVar, cast

FIRST: Final = "outlast.cli.server"
_LEFT_OUT: Final = (
    *("outlast.__main__", "outlast.cli.deadline_child", "outlast.store.migrations."),
    *("outlast.agents.models.bridge", "outlast.agents.embeddings.minilm"),
)
"""Modules, and packages of modules, that do something when they are imported."""
_LAZY: Final = (
    *("alembic.command", "typer._adapters", "uvicorn.lifespan.off"),
    *("docstring_parser", "jsonschema_rs"),
)
"""What is imported only when it is needed, which is at many starts."""
_OF_TESTS: Final = ("mcp.server.mcpserver", "mcp.server.streamable_http_manager", "mcp.server.sse")
"""What servers of tests are made of."""
_STREAMS: Final = 3
CLONE: Final = {"x86_64": 56, "aarch64": 220}.get(platform.machine())
"""The number of clone(2) on Linux; None if we do not know it."""
_CLONE_PARENT: Final = 0x8000
"""Flag of clone(2): the new process has the parent of the one that makes it."""
LENGTH: Final = struct.Struct("!I")


class Start(NamedTuple):
    """How to start a Python process."""

    option: str
    """`-c` or `-m`, as for `python`."""
    what: str
    """Code, or a module's name."""
    arguments: list[str]
    folder: str
    environment: Mapping[str, str]
    files: tuple[int, int]
    """How many files it may open: the soft and the hard limit."""
    ignores_interrupts: bool
    """Whether SIGINT is ignored where it is started: then it is in a new process too."""


T = TypeVar("T")
Request = tuple[Start, list[int]]
"""With its standard streams."""


def main() -> None:
    """Fork until the socket closes. A forked process leaves the loop and runs what it is for."""
    del sys.path[0]  # the folder of this script
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to all
    _preload()
    control, door = (socket.socket(fileno=int(number)) for number in sys.argv[1:])
    with control, door:
        request = _serve(control, door)
    if request is not None:
        if not request[0].ignores_interrupts:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        _become(*request)
        try:
            _run(request[0])
        except SystemExit as end:
            _leave(end.code)
        else:
            _leave(None)


def _serve(control: socket.socket, door: socket.socket) -> Request | None:
    """Fork for each request. Return None at the end; in a forked process, its request."""
    while True:
        ready, _, _ = select.select([control, door], [], [])
        if door in ready and (request := _answer_door(door)):
            return request
        if control not in ready:
            continue
        if (request := _receive(control)) is None:
            return None
        if (child := _fork()) is None:
            return request
        _close(request)
        control.sendall(LENGTH.pack(child))


def _answer_door(door: socket.socket) -> Request | None:
    """Fork for who is at the door. Return None; in the forked process, its request."""
    caller, _ = door.accept()
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    if request := _receive(caller):
        if os.fork() == 0:
            threading.Thread(target=_end_with, args=(caller,), daemon=True).start()
            return request
        _close(request)
    caller.close()
    return None


def _end_with(caller: socket.socket) -> None:
    """End this process, as by a kill, once the other end of a connection is closed."""
    caller.recv(1)
    os._exit(1)


def _close(request: Request) -> None:
    for stream in request[1]:
        os.close(stream)


def _preload() -> None:
    gc.disable()  # what is imported stays
    importlib.import_module(FIRST)  # first of all: as in a server, logs do without `rich`
    package = importlib.import_module("outlast")
    for found in pkgutil.walk_packages(package.__path__, "outlast."):
        if not found.name.startswith(_LEFT_OUT):
            importlib.import_module(found.name)
    for name in (*_LAZY, *_OF_TESTS):
        importlib.import_module(name)
    _complete_models()
    _compile_statements()
    _read_certificates()
    _read_options()
    _compile_pages()
    gc.collect()
    gc.freeze()
    gc.enable()


def _complete_models() -> None:
    """Let pydantic make the validators that each process would make at their first use."""
    from pydantic import BaseModel

    from outlast.agents.agents_file import file_entry

    file_entry().model_rebuild()
    for found in _of_outlast(type):
        if issubclass(found, BaseModel) and found is not BaseModel:
            found.model_rebuild(raise_errors=False)


def _read_certificates() -> None:
    """Read the machine's certificates, which each HTTP client would read anew."""
    from httpx2 import Client
    from httpx2._transports import default

    transports: Any = default
    transports.create_ssl_context = functools.cache(transports.create_ssl_context)
    Client().close()


def _read_options() -> None:
    """Let pydantic make what checks the options of all commands, for each process once."""
    from typer import _adapters, main

    from outlast.cli.commands import app

    adapters: Any = _adapters
    made: Any = main
    adapters.TypeAdapter = functools.cache(adapters.TypeAdapter)
    made.get_command = functools.cache(made.get_command)
    commands: list[Any] = [made.get_command(app)]
    for command in commands:
        commands.extend(getattr(command, "commands", {}).values())
        for parameter in command.params:
            if hasattr(parameter, "get_runtime_param"):  # all but `--help`
                parameter.get_runtime_param()


def _compile_pages() -> None:
    """Compile what each server would at its first page, and at its first tool's docstring."""
    from docstring_parser import parse

    from outlast.rooms.console.render import page

    page._compile()
    parse(_compile_pages.__doc__ or "")


def _compile_statements() -> None:
    """Compile for SQLite what each process would compile when it runs it first."""
    from sqlalchemy.dialects import sqlite

    from outlast.store.driver import Statement

    dialect = sqlite.dialect(paramstyle="named")
    for found in _of_outlast(Statement):
        found.compiled(dialect)


def _of_outlast(kind: type[T]) -> list[T]:
    """Return all of a kind that modules of Outlast hold."""
    held = [vars(module) for name, module in sys.modules.items() if name.startswith("outlast.")]
    return [found for names in held for found in names.values() if isinstance(found, kind)]


def _receive(control: socket.socket) -> Request | None:
    """Return the next request; None at the end."""
    head, streams, _, _ = socket.recv_fds(control, LENGTH.size, _STREAMS)
    if not head:
        return None
    (length,) = LENGTH.unpack(head)
    data = control.recv(length, socket.MSG_WAITALL)
    return Start(*pickle.loads(data)), streams


def _fork() -> int | None:
    """Return the id of a forked process, a child of this one's parent; None in that process."""
    python = ctypes.PyDLL(None, use_errno=True)  # keeps the interpreter's lock
    python.PyOS_BeforeFork()
    child = python.syscall(CLONE, _CLONE_PARENT | signal.SIGCHLD, 0, 0, 0, 0)
    if child == 0:
        python.PyOS_AfterFork_Child()
        return None
    python.PyOS_AfterFork_Parent()
    if child < 0:
        raise OSError(ctypes.get_errno(), "clone")
    return int(child)


def _become(start: Start, streams: list[int]) -> None:
    """Take on what else than code makes a process."""
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        made = _stream(number, getattr(sys, name))
        setattr(sys, name, made)
        setattr(sys, f"__{name}__", made)
    os.chdir(start.folder)
    os.environ.clear()
    os.environ.update(start.environment)
    resource.setrlimit(resource.RLIMIT_NOFILE, start.files)
    importlib.invalidate_caches()


def _stream(number: int, like: TextIO) -> TextIO:
    """Return a standard stream as Python makes it."""
    mode: Literal["rb", "wb"] = "wb" if number else "rb"
    raw = cast("io.BufferedWriter", open(number, mode, closefd=False))  # noqa: SIM115
    by_line = like is sys.stderr or raw.isatty()
    return io.TextIOWrapper(raw, encoding=like.encoding, errors=like.errors, line_buffering=by_line)


def _run(start: Start) -> None:
    """Do what `python -c` or `python -m` does."""
    sys.argv = [start.option, *start.arguments]
    if start.option == "-m":
        sys.path.insert(0, start.folder)
        runpy.run_module(start.what, run_name="__main__", alter_sys=True)
        return
    sys.path.insert(0, "")
    module = sys.modules["__main__"] = ModuleType("__main__")
    exec(compile(start.what, "<string>", "exec"), module.__dict__)


def _leave(code: str | int | None) -> None:
    """End with what Python does at an end, but do not free what is imported.

    To free it, piece by piece, would copy most of the memory: five times the work of the fork.
    """
    if isinstance(code, str):
        print(code, file=sys.stderr)
        code = 1
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except (OSError, ValueError):
        sys.exit(code)  # Python says how it failed
    os._exit((code or 0) & 0xFF)


if __name__ == "__main__":
    main()
