"""`outlast doctor` on Postgres: who keeps us out, and what is between us and the database."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Final
from urllib.parse import quote, urlsplit

import orjson
import psycopg
import pytest

from outlast.model.clock import SystemClock, iso
from outlast.model.error import Misconfigured
from outlast.services.findings import Level
from outlast.settings import Settings
from outlast.store.postgres.migrate import migrate
from outlast.testing import FakeClock
from tests.support.command_line import CommandLine
from tests.support.databases import POSTGRESQL, Database
from tests.support.doctor import findings
from tests.support.pooler import Pooler
from tests.support.postgres import Cluster, Databases

pytestmark = pytest.mark.anyio

Outlast = Callable[..., tuple[int, str, str]]
PASSWORD: Final = "hush:@/%"
ENCODED: Final = quote(PASSWORD, safe="")
PLACES: Final = 30


@pytest.fixture
def database(postgres: Databases, tmp_path: Path) -> Database:
    """On Postgres alone."""
    return Database(POSTGRESQL, postgres.empty(), tmp_path)


@pytest.fixture(scope="module")
def cluster(postgres: Databases) -> Iterator[Cluster]:
    """A server that requires a password of the user `locked` and refuses the user `banned`."""
    rules = ("all locked all scram-sha-256", "all banned all reject", "all all all trust")
    with Cluster(
        fsync="on", max_connections=str(PLACES), superuser_reserved_connections="2"
    ) as made:
        with psycopg.connect(made.url(), autocommit=True) as admin:
            for role in ("locked", "banned", "plain"):
                admin.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'right'")
            file = admin.execute("SHOW hba_file").fetchone()
            assert file
            lines = ", ".join(f"'host {rule}'" for rule in rules)
            admin.execute(f"COPY (SELECT unnest(ARRAY[{lines}])) TO '{file[0]}'")
            admin.execute("SELECT pg_reload_conf()")
        yield made


def of(cluster: Cluster, login: str = "postgres", database: str = "postgres") -> str:
    return f"postgresql://{login}@127.0.0.1:{cluster.port}/{database}"


REFUSED: Final = {
    f"locked:{ENCODED}@/postgres": ("password authentication failed", "ALTER ROLE"),
    "locked@/postgres": ("no password supplied", "correct the user and the password"),
    "unknown@/postgres": ('role "unknown" does not exist', "correct the user and the password"),
    "postgres@/lost": ('database "lost" does not exist', "CREATE DATABASE"),
    "banned@/postgres": ("pg_hba.conf rejects connection", "pg_reload_conf"),
    "postgres@/postgres?sslmode=require": ("does not support SSL", "correct sslmode"),
    "postgres@/postgres?colour=blue": ("the URL cannot be read", "write OUTLAST_DATABASE_URL as"),
}
"""By the login and the database of a URL."""


@pytest.mark.parametrize("way", REFUSED)
async def test_it_says_who_keeps_us_out_and_what_mends_it(cluster: Cluster, way: str) -> None:
    login, _, database = way.partition("@/")

    found = await findings(of(cluster, login, database))

    finding, (text, remedy) = found["database"], REFUSED[way]
    assert finding.level is Level.FAIL
    assert text in finding.text
    assert remedy in str(finding.remedy)
    assert "listening" not in found, "what comes next would be vain"
    assert not any(secret in str(finding) for secret in (PASSWORD, ENCODED))


async def test_a_database_that_is_away_is_reported_without_the_password(cluster: Cluster) -> None:
    finding = (await findings(f"postgresql://u:{ENCODED}@127.0.0.1:1/town"))["database"]

    assert finding.level is Level.FAIL
    assert "the Postgres database town on 127.0.0.1 cannot be used" in finding.text
    assert "Connection refused" in finding.text
    assert "start Postgres" in str(finding.remedy)
    assert not any(secret in str(finding) for secret in (PASSWORD, ENCODED))
    assert "\n" not in finding.text


@pytest.mark.parametrize("login", ["u:p@ss", "u:p/ss", "u:@ss@"])
def test_a_password_that_would_be_taken_for_a_host_is_refused_unseen(login: str) -> None:
    with pytest.raises(Misconfigured, match="percent-encoded") as refused:
        Settings(database_url=f"postgresql://{login}@db.example/town")

    assert "ss" not in refused.value.message.replace("password", "")


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("postgresql://u:p%40s@db.example:5432/town", "town on db.example"),
        ("postgresql://u:p@one:1,two:2/town?sslmode=require", "town on one,two"),
        ("postgres://u@[::1]:5432/town", "town on [::1]"),
        ("postgresql:///town?host=/run/postgresql", "town on /run/postgresql"),
    ],
)
def test_the_database_is_named_without_user_password_and_port(url: str, expected: str) -> None:
    assert Settings(database_url=url).database == f"the Postgres database {expected}"


async def test_a_full_server_is_reported(cluster: Cluster) -> None:
    with ExitStack() as stack:
        while (finding := (await findings(of(cluster, "plain")))["database"]).level is Level.OK:
            stack.enter_context(psycopg.connect(of(cluster, "plain")))

    assert "connection slots are reserved" in finding.text
    assert "max_connections" in str(finding.remedy)


async def test_too_few_connections_for_another_worker_are_reported(cluster: Cluster) -> None:
    few = (await findings(of(cluster), database_connections=4))["connections"]
    many = (await findings(of(cluster), database_connections=PLACES))["connections"]

    assert few.level is Level.OK
    assert "one more worker may take 10" in few.text
    assert many.level is Level.WARN
    assert f"of {PLACES - 2} are taken, and one more worker may take {PLACES + 6}" in many.text
    assert "OUTLAST_DATABASE_CONNECTIONS" in str(many.remedy)


async def test_a_server_that_forgets_what_it_confirmed_is_reported(cluster: Cluster) -> None:
    assert "durability" not in await findings(of(cluster))

    url = of(cluster, database="postgres?options=-csynchronous_commit%3Doff")
    finding = (await findings(url))["durability"]

    assert finding.level is Level.WARN
    assert "a power failure loses" in finding.text


async def test_a_database_that_takes_no_writes_is_reported(postgres: Databases) -> None:
    url = postgres.empty()
    with psycopg.connect(url, autocommit=True) as admin:
        name = urlsplit(url).path.removeprefix("/")
        admin.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")

    finding = (await findings(url))["writes"]

    assert finding.level is Level.FAIL
    assert "target_session_attrs=read-write" in str(finding.remedy)


async def test_a_database_that_lacks_characters_is_reported(cluster: Cluster) -> None:
    with psycopg.connect(of(cluster), autocommit=True) as admin:
        admin.execute("CREATE DATABASE latin ENCODING 'LATIN1' TEMPLATE template0")

    finding = (await findings(of(cluster, database="latin")))["encoding"]

    assert finding.level is Level.FAIL
    assert "LATIN1" in finding.text


async def test_a_user_who_may_not_make_or_write_tables_is_reported(cluster: Cluster) -> None:
    with psycopg.connect(of(cluster), autocommit=True) as admin:
        admin.execute("CREATE DATABASE owned")
    url = of(cluster, "plain", "owned")
    schema = (await findings(url))["schema"]
    with pytest.raises(Misconfigured, match="permission denied for schema public"):
        migrate(url)

    migrate(of(cluster, database="owned"))
    rights = (await findings(url))["rights"]

    assert schema.level is rights.level is Level.FAIL
    assert schema.remedy == 'GRANT CREATE ON SCHEMA public TO "plain"'
    assert "plain may not write" in rights.text


def test_without_the_extra_it_says_how_to_install_it(command_line: CommandLine) -> None:
    code = "import sys; sys.modules['psycopg'] = None\nfrom outlast.cli import main; main()"
    for arguments, exits in ((("doctor", "--json"), 1), (("migrate",), 2), (("worker",), 2)):
        done = subprocess.run(
            [sys.executable, "-c", code, *arguments],
            capture_output=True,
            text=True,
            env=command_line.environment,
            cwd=command_line.folder,
            timeout=60,
            check=False,
        )
        assert done.returncode == exits
        assert "pip install '.[postgres]' in a checkout of Outlast" in done.stdout + done.stderr
        assert "Traceback" not in done.stderr


def test_findings_are_written_as_lines_or_json_and_decide_the_exit_code(
    command_line: CommandLine, outlast: Outlast
) -> None:
    code, out, _ = outlast("doctor")
    assert code == 0, out
    assert "warn  schema: none yet" in out
    assert "      → outlast migrate\n" in out

    command_line.environment["OUTLAST_DATABASE_DIRECT_URL"] = (
        "postgresql://unknown:hush@127.0.0.1:1/x"
    )
    code, out, _ = outlast("doctor", "--json")
    found = {row["check"]: row for row in orjson.loads(out)}
    assert code == 1
    assert found["direct"]["level"] == "fail"
    assert "OUTLAST_DATABASE_DIRECT_URL cannot be used" in found["direct"]["text"]
    assert "hush" not in out


# --- the way to it


async def test_a_direct_url_to_another_database_is_reported(postgres: Databases) -> None:
    url, other = postgres.empty(), postgres.empty()

    assert "direct" not in await findings(url, database_direct_url=url)
    finding = (await findings(url, database_direct_url=other))["direct"]

    assert finding.level is Level.FAIL
    assert "leads to another database" in finding.text


async def test_a_pooler_in_transaction_mode_gets_nothing_and_forgets(postgres: Databases) -> None:
    url = postgres.empty()
    async with Pooler(url) as pooler:
        through = await findings(pooler.url)
        around = await findings(pooler.url, database_direct_url=url)
    straight = await findings(url)

    assert straight["listening"].level is straight["pooler"].level is Level.OK
    assert through["listening"].level is Level.FAIL
    assert "OUTLAST_DATABASE_DIRECT_URL" in str(through["listening"].remedy)
    assert around["listening"].level is Level.OK
    assert through["pooler"].level is around["pooler"].level is Level.FAIL
    assert "max_prepared_statements" in str(through["pooler"].remedy)


async def test_a_pooler_with_one_connection_is_reported(postgres: Databases) -> None:
    async with Pooler(postgres.empty(), size=1) as pooler:
        finding = (await findings(pooler.url))["pooler"]

    assert finding.level is Level.FAIL
    assert "default_pool_size" in str(finding.remedy)


@pytest.mark.parametrize(
    ("seconds", "level"), [(0, Level.OK), (-5, Level.WARN), (5, Level.WARN), (-60, Level.FAIL)]
)
async def test_clocks_that_disagree_are_reported_with_both_times(
    postgres: Databases, seconds: int, level: Level
) -> None:
    ours = SystemClock().now() + seconds * 1000

    finding = (await findings(postgres.empty(), FakeClock(ours)))["clock"]

    assert finding.level is level
    if level is not Level.OK:
        assert f"here it is {iso(ours)}" in finding.text
        assert f"in the database {iso(ours - seconds * 1000)[:10]}" in finding.text
        assert "NTP" in str(finding.remedy)
