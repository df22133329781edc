"""`outlast doctor` on Postgres: the database and the connection to it, then the work in it.

A failed check that makes the next ones pointless is the last.
"""

from collections.abc import AsyncIterator, Awaitable
from typing import Final

from outlast.agents.loader import LoadedAgents
from outlast.cli.doctor_work import examine_work
from outlast.model.clock import Clock, iso
from outlast.model.error import OutlastError
from outlast.services.findings import FAIL, OK, WARN, Finding
from outlast.settings import Settings
from outlast.store.postgres import examine
from outlast.store.postgres.examine import Pooling, Server
from outlast.store.postgres.refusal import Reason, Refusal
from outlast.store.schema import HEAD

_SKEW_MILLIS: Final = 2_000
_GREAT_SKEW_MILLIS: Final = 30_000
_OTHER_CONNECTIONS: Final = 6
"""Connections of a worker besides the pool: the queue's four and two that listen."""
_LOG: Final = "see what Postgres's own log says of it"


async def examine_postgres(
    settings: Settings, clock: Clock, loaded: LoadedAgents
) -> AsyncIterator[Finding]:
    """Yield the findings, one check after the other."""
    server = await examine.look(settings.database_url)
    if isinstance(server, Refusal):
        yield _refused("database", "OUTLAST_DATABASE_URL", settings, server)
        return
    yield Finding("database", OK, f"{settings.database} answers: Postgres {server.version}")
    for finding in _character(settings, server):
        yield finding
    direct = settings.database_direct_url or settings.database_url
    wrong = _rights(server) if not server.may_write else await _direct(settings, server)
    if wrong is not None:
        yield wrong
        return
    yield await _finding_of("listening", _listening(settings, direct))
    yield await _finding_of("pooler", _pooling(settings))
    yield await _finding_of("clock", _clock(settings, clock))
    yield _connections(settings, server)
    yield _secret(settings)
    schema = await _finding_of("schema", _schema(settings, server))
    yield schema
    if schema.level is OK:
        async for finding in examine_work(settings, clock, loaded):
            yield finding


async def _finding_of(check: str, finding: Awaitable[Finding]) -> Finding:
    """Return a check's finding, or that the database refused the check."""
    try:
        return await finding
    except OutlastError as error:
        return Finding(check, FAIL, error.message, _LOG)


# --- the database and the way to it

_REMEDIES: Final = {
    Reason.URL: "write {name} as postgresql://USER:PASSWORD@HOST/DATABASE; in the user's name and "
    "the password, characters such as @ : / % are percent-encoded (@ is %40)",
    Reason.LOGIN: "correct the user and the password in {name}, or: ALTER ROLE … PASSWORD '…'",
    Reason.DATABASE: "make the database (CREATE DATABASE …), or remedy its name in {name}",
    Reason.RULES: "let this machine in: a line in pg_hba.conf, then SELECT pg_reload_conf()",
    Reason.TLS: "correct sslmode and sslrootcert in {name}, or the server's certificate",
    Reason.FULL: "raise max_connections, or lower OUTLAST_DATABASE_CONNECTIONS of every process",
    Reason.AWAY: "start Postgres, or correct host and port in {name}; a firewall may be in between",
}


def _refused(check: str, name: str, settings: Settings, refusal: Refusal) -> Finding:
    text = f"{settings.database} cannot be used: {refusal.text}"
    return Finding(check, FAIL, text, _REMEDIES[refusal.reason].format(name=name))


def _character(settings: Settings, server: Server) -> list[Finding]:
    """Return what is wrong with the server's settings; nothing if all is well."""
    found = []
    if server.read_only:
        remedy = (
            "name the primary in OUTLAST_DATABASE_URL; target_session_attrs=read-write finds it"
        )
        text = f"{settings.database} accepts no writes: it is a replica or set to read-only"
        found.append(Finding("writes", FAIL, text, remedy))
    if server.encoding != "UTF8":
        remedy = "CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0"
        text = f"{settings.database} has the encoding {server.encoding}, which lacks characters"
        found.append(Finding("encoding", FAIL, text, remedy))
    if not server.durable:
        text = (
            "fsync or synchronous_commit is off: a power failure loses what was answered with 2xx"
        )
        remedy = "set fsync = on and synchronous_commit = on in postgresql.conf"
        found.append(Finding("durability", WARN, text, remedy))
    return found


def _rights(server: Server) -> Finding:
    text = f"the tables are there, and {server.user} may not write them"
    remedy = f'ALTER DATABASE and its tables … OWNER TO "{server.user}", who migrates them too'
    return Finding("rights", FAIL, text, remedy)


async def _direct(settings: Settings, server: Server) -> Finding | None:
    if not settings.database_direct_url:
        return None
    name = "OUTLAST_DATABASE_DIRECT_URL"
    found = await examine.look(settings.database_direct_url)
    if isinstance(found, Refusal):
        text = f"{name} cannot be used: {found.text}"
        return Finding("direct", FAIL, text, _REMEDIES[found.reason].format(name=name))
    if found.identity != server.identity:
        text = f"{name} leads to another database than OUTLAST_DATABASE_URL"
        return Finding("direct", FAIL, text, "name the same database in both")
    return None


async def _listening(settings: Settings, direct: str) -> Finding:
    listens = await examine.listens(direct, settings.database_url)
    if listens:
        return Finding("listening", OK, "one connection gets notifications of another")
    text = "LISTEN gets nothing: there is a pooler in transaction mode between; text from other "
    text += "processes would come seconds late"
    remedy = (
        "OUTLAST_DATABASE_DIRECT_URL=postgresql://…, a URL of Postgres that bypasses the pooler"
    )
    return Finding("listening", FAIL, text, remedy)


async def _pooling(settings: Settings) -> Finding:
    pooling = await examine.pooling(settings.database_url)
    match pooling:
        case Pooling.NONE:
            return Finding("pooler", OK, "none, or one that keeps sessions")
        case Pooling.GOOD:
            return Finding("pooler", OK, "in transaction mode; it keeps prepared statements")
        case Pooling.FORGETFUL:
            text = "the pooler in transaction mode loses prepared statements: most queries fail"
            remedy = "pgbouncer 1.21 or later with max_prepared_statements = 200"
            return Finding("pooler", FAIL, text, remedy)
        case Pooling.FULL:
            text = "the pooler has no second connection to the server"
            remedy = "raise pgbouncer's default_pool_size"
            return Finding("pooler", FAIL, text, remedy)


async def _clock(settings: Settings, clock: Clock) -> Finding:
    skew = await examine.skew(settings.database_url, clock.now)
    ours = clock.now()
    apart = f"{abs(skew) / 1000:.1f} s"
    if abs(skew) <= _SKEW_MILLIS:
        return Finding("clock", OK, f"this machine's and the database's are {apart} apart")
    text = f"{apart} apart: here it is {iso(ours)}, in the database {iso(ours + skew)}"
    level = WARN if abs(skew) <= _GREAT_SKEW_MILLIS else FAIL
    return Finding("clock", level, text, "run NTP on both: timedatectl set-ntp true")


def _connections(settings: Settings, server: Server) -> Finding:
    wanted = settings.database_connections + _OTHER_CONNECTIONS
    free = server.places - server.connections
    text = f"{server.connections} of {server.places} are taken"
    if free >= wanted:
        return Finding("connections", OK, f"{text}; one more worker may take {wanted}")
    text += f", and one more worker may take {wanted}"
    remedy = "raise max_connections, lower OUTLAST_DATABASE_CONNECTIONS, or put pgbouncer between"
    return Finding("connections", WARN, text, remedy)


def _secret(settings: Settings) -> Finding:
    if settings.secret_key:
        return Finding("secret", OK, "OUTLAST_SECRET_KEY is set")
    text = f"OUTLAST_SECRET_KEY is not set: other machines cannot use {settings.secret_file}"
    remedy = "set the same OUTLAST_SECRET_KEY everywhere; openssl rand -hex 32 prints one"
    return Finding("secret", WARN, text, remedy)


async def _schema(settings: Settings, server: Server) -> Finding:
    schema = await examine.schema_of(settings.database_url)
    newest = schema.version or ""
    if newest > HEAD and (schema.oldest or newest) > HEAD:
        text = f"{newest} needs code for {schema.oldest or newest}; this version knows {HEAD}"
        return Finding("schema", FAIL, text, "install the newer Outlast that wrote it")
    if newest > HEAD:
        text = f"{newest}, of a newer Outlast, which lets this version ({HEAD}) work beside it"
        return Finding("schema", OK, text)
    if newest == HEAD:
        return Finding("schema", OK, f"the newest ({HEAD})")
    if not server.may_create:
        where = server.schema or "any schema"
        text = f"{newest or 'none'}, and {server.user} may not make tables in {where}"
        remedy = f'GRANT CREATE ON SCHEMA {server.schema or "public"} TO "{server.user}"'
        return Finding("schema", FAIL, text, remedy)
    text = f"{newest or 'none yet'}; this version works with {HEAD}"
    return Finding("schema", WARN, text, "outlast migrate")
