"""Tests in several processes that share what one has imported and collected: `--processes N`.

The first process collects once and forks. A child takes a group of tests (see `scheduling`)
whenever it has none, and sends back the reports. If a child dies, the test that it ran has failed,
and another child goes on with the rest of its group.
"""

import os
import random
import signal
import traceback
import warnings
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from typing import Any, Final, Literal, NoReturn, cast

import pytest

from tests.support.scheduling import group_of

_IN_PARENT: Final = ("terminalreporter", "lfplugin", "nfplugin", "stepwiseplugin")
"""Plugins that show reports or keep results: they see those of all children in the parent."""

Message = tuple[Literal["take"]] | tuple[Literal["begin"], int] | tuple[Literal["report"], Any]
Group = list[int]
"""Numbers of tests that stay together."""


@dataclass(slots=True, eq=False)
class _Child:
    pid: int
    connection: Connection
    group: Group
    """What it has not begun yet."""
    test: int | None = None
    """What it runs."""


class Forked:
    """Runs the collected tests in children."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._made = 0

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        if session.testsfailed and not session.config.option.continue_on_collection_errors:
            raise session.Interrupted(f"{session.testsfailed} errors during collection")
        if session.config.option.collectonly:
            return True
        groups = deque(_groups(session.items))
        children = [self._fork(session) for _ in range(min(self._count, len(groups)))]
        try:
            while children:
                ready = wait([child.connection for child in children])
                for child in [one for one in children if one.connection in ready]:
                    if self._answer(session, child, groups):
                        continue
                    children.remove(child)
                    if child.test is not None:
                        children.append(self._fork(session))
        finally:
            for child in children:
                os.kill(child.pid, signal.SIGKILL)
                os.waitpid(child.pid, 0)
        if session.shouldfail:
            raise session.Failed(session.shouldfail)
        if session.shouldstop:
            raise session.Interrupted(session.shouldstop)
        return True

    def _fork(self, session: pytest.Session) -> _Child:
        self._made += 1
        ours, theirs = Pipe()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # libraries' own idle threads
            pid = os.fork()
        if pid == 0:
            ours.close()
            _run(session, theirs, self._made)
        theirs.close()
        return _Child(pid, ours, [])

    def _answer(self, session: pytest.Session, child: _Child, groups: deque[Group]) -> bool:
        """Take a message of a child; return False if it has ended."""
        try:
            message: Message = child.connection.recv()
        except (EOFError, ConnectionResetError):
            self._ended(session, child, groups)
            return False
        stops = bool(session.shouldfail or session.shouldstop)
        if message[0] == "take":
            child.group = [] if stops or not groups else groups.popleft()
            child.test = None
            child.connection.send(list(child.group))
        elif message[0] == "begin":
            child.connection.send(not stops)
            child.test = message[1]
            child.group.remove(child.test)
        else:
            _show(session, message[1])
        return True

    def _ended(self, session: pytest.Session, child: _Child, groups: deque[Group]) -> None:
        _, status = os.waitpid(child.pid, 0)
        child.connection.close()
        code = os.waitstatus_to_exitcode(status)
        if child.test is None and code == 0 and not child.group:
            return
        if child.test is None:  # died between two tests, or at its end: what it had is not run
            where = session.items[child.group[0]] if child.group else session
            nodeid = where.nodeid or "the end of a process"
            location: tuple[str, int | None, str] = (nodeid, None, nodeid)
        else:
            item = session.items[child.test]
            nodeid, location = item.nodeid, item.location
            if child.group:
                groups.appendleft(child.group)
        report = pytest.TestReport(
            nodeid=nodeid,
            location=location,
            keywords={},
            outcome="failed",
            longrepr=f"Its process ended with {code}.",
            when="call",
        )
        session.config.hook.pytest_runtest_logreport(report=report)


def _groups(items: Iterable[pytest.Item]) -> Iterable[Group]:
    """Return the tests in groups, in the order of the first of each."""
    groups: dict[str, Group] = {}
    for number, item in enumerate(items):
        groups.setdefault(group_of(item.nodeid), []).append(number)
    return groups.values()


def _show(session: pytest.Session, data: Any) -> None:
    hook = session.config.hook
    report = hook.pytest_report_from_serializable(config=session.config, data=data)
    hook.pytest_runtest_logreport(report=report)
    if report.when == "teardown":
        hook.pytest_runtest_logfinish(nodeid=report.nodeid, location=report.location)


# --- in a child


class _Reporter:
    """Sends the reports of a child to its parent."""

    def __init__(self, config: pytest.Config, connection: Connection) -> None:
        self._config = config
        self._connection = connection

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        hook = self._config.hook
        data = hook.pytest_report_to_serializable(config=self._config, report=report)
        self._connection.send(("report", data))


class _AnotherModule:
    """Stands for the next test: one that shares nothing but the session's fixtures."""

    def __init__(self, session: pytest.Session) -> None:
        self._session = session

    def listchain(self) -> list[pytest.Session]:
        return [self._session]


def _run(session: pytest.Session, connection: Connection, number: int) -> NoReturn:
    """Run the tests that the parent gives until there are none; never return."""
    status = 1
    try:
        _become(session, connection, number)
        while group := _given(connection, ("take",)):
            for test, following in zip(group, [*group[1:], None], strict=True):
                if not _given(connection, ("begin", test)):
                    break
                item = session.items[test]
                after: Any = (
                    _AnotherModule(session) if following is None else session.items[following]
                )
                item.config.hook.pytest_runtest_protocol(item=item, nextitem=after)
        session._setupstate.teardown_exact(None)
        status = 0
    except EOFError:  # the parent is gone
        pass
    except Exception:
        if capture := cast("Any", session.config.pluginmanager.getplugin("capturemanager")):
            capture.suspend_global_capture()
        traceback.print_exc()
    finally:
        os._exit(status)


def _given(connection: Connection, message: Message) -> Any:
    connection.send(message)
    return connection.recv()


def _become(session: pytest.Session, connection: Connection, number: int) -> None:
    """Replace what must not be shared with the parent."""
    random.seed()
    config = session.config
    manager = config.pluginmanager
    capture = cast("Any", manager.getplugin("capturemanager"))
    if capture is not None:
        capture.stop_global_capturing()
        capture.start_global_capturing()
    for name in _IN_PARENT:
        if manager.has_plugin(name):
            manager.unregister(name=name)
    manager.register(_Reporter(config, connection))
    factory = cast("Any", config)._tmp_path_factory
    factory._basetemp = factory.getbasetemp() / f"process{number}"
    factory._basetemp.mkdir(mode=0o700)
