"""Settings: flags win over the environment (`OUTLAST_*`), which wins over `outlast.toml`.

Every field is a setting; its name in the environment is `OUTLAST_` and the field in capitals, in
the file the field's name. A table can only be set in the file.
"""

import difflib
import os
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from decimal import Decimal
from ipaddress import ip_network
from math import isfinite
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final
from urllib.parse import parse_qs

from outlast.model.error import Misconfigured
from outlast.model.explain import given_kind
from outlast.model.price import Prices, read_prices
from outlast.model.provider import ProviderSpec, read_providers
from outlast.model.retention import Plans, read_plans

FILE: Final = "outlast.toml"
_PREFIX: Final = "OUTLAST_"
_OTHERS: Final = frozenset({"OUTLAST_URL"})
"""Variables that the client reads."""
_POSTGRES: Final = ("postgresql://", "postgres://")
_ORIGIN: Final = re.compile(r"\*|https?://[^/?#@\s]+")
_ROOT_PATH: Final = re.compile(r"(/[A-Za-z0-9._~-]+)+")
_PORT: Final = re.compile(r":[^,\]]*(?=,|$)")
_SPANS: Final = (
    "request_head_seconds",
    "request_body_seconds",
    "idle_connection_seconds",
    "stream_keep_alive_seconds",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything that an operator may set."""

    database_url: str = field(default="", repr=False)
    """The database; empty: SQLite in the data folder. `sqlite:///PATH`, `postgresql://…`."""
    database_direct_url: str = field(default="", repr=False)
    """URL of the same Postgres that keeps sessions, if `database_url` goes through a pooler that
    does not. Empty: the same URL."""
    database_connections: int = 10
    """Maximum connections of a process to Postgres for reading and writing."""
    takeover_seconds: float = 6.0
    """How long a worker on Postgres may be silent before others take over its executions."""
    data_dir: Path = field(default_factory=lambda: Path.home() / ".outlast")
    """The folder of the database, the first key and the local models."""
    host: str = "127.0.0.1"
    """The address to listen on."""
    port: int = 8321
    """The port to listen on; 0: a free one."""
    agents: str = ""
    """The agents file: YAML, JSON, a Python file, or a module's name."""
    api_key: str = field(default="", repr=False)
    """A key of the default workspace with all scopes."""
    secret_key: str = field(default="", repr=False)
    """Encrypts stored secrets; servers that share a database need the same."""
    concurrency: int = 1000
    """Segments that run in one process at the same time."""
    model_retries: int = 2
    """How often a model request is retried after a transient failure."""
    max_tries: int = 5
    """How often an execution is begun without recording a step, because of crashes and failures of
    the server, before it fails."""
    max_queued_turns: int = 1000
    """How many executions may wait for their turn in one conversation."""
    parallel_calls: int = 32
    """Tool calls of one execution that run at the same time."""
    drain_seconds: float = 20.0
    """How long a shutdown by SIGTERM waits for running steps; unfinished ones are run again."""
    max_body_bytes: int = 4 * 1024 * 1024
    """The largest request body."""
    max_connections: int = 0
    """Maximum client connections; 0: as many as the limit of open files allows."""
    request_head_seconds: float = 30.0
    """How long a client may take to send request line and headers."""
    request_body_seconds: float = 60.0
    """How long a client may pause while sending a body or reading a response."""
    idle_connection_seconds: float = 65.0
    """How long a connection without a request is kept."""
    stream_keep_alive_seconds: float = 15.0
    """Interval of comments in a silent stream."""
    strict_requests: bool = False
    """Whether unknown fields and filters of a request are refused, instead of named in the header
    `Outlast-Warning`; a request may override it with `?strict=true` or `false`."""
    indexed_metadata: str = ""
    """Keys of `metadata` that lists of executions can filter by, separated by commas."""
    private_network: str = "operator"
    """Who may name private and loopback addresses for tools to call: operator (the agents file),
    allow (a model too) or deny. Link-local and metadata addresses are never called."""
    vector_cache_bytes: int = 128 * 1024 * 1024
    """Memory of a process for vectors of memory stores that it keeps between searches."""
    browser_path: str = ""
    """Chrome or Chromium for agents with a browser; empty: the first found in the usual places."""
    browser_contexts: int = 4
    """How many executions of one process may have a browser open at the same time; others wait."""
    browser_idle_seconds: float = 60.0
    """How long the browser's process is kept while no execution has it open."""
    browser_sandbox: bool = True
    """Whether the browser's own sandbox is used; it never is as root, where it does not work."""
    cors_origins: str = ""
    """Origins of web pages that may call from a browser, separated by commas; `*` is any."""
    console: bool = True
    """Whether the server has a console for people, at `/console`."""
    public_url: str = ""
    """The URL at which browsers reach the server, such as `https://ai.example`, if it is neither
    this machine's nor an IP address: the console refuses requests to other hosts."""
    root_path: str = ""
    """Prefix of every path seen from outside, such as `/ai`, if a proxy serves the server there."""
    trusted_proxies: str = "127.0.0.1,::1"
    """Addresses and networks of proxies whose `X-Forwarded-Prefix` is trusted, separated by commas;
    `*` is any."""
    log_level: str = "info"
    """debug, info, warning or error."""
    log_format: str = "auto"
    """json, text, or auto: text on a terminal."""
    prices: Prices = field(default_factory=Prices, metadata={"table": read_prices})
    """Prices of models and tools, in credits; a table of the file."""
    plans: Plans = field(default_factory=Plans, metadata={"table": read_plans})
    """What each plan of a workspace keeps, and the plan of a new one; a table of the file."""
    providers: Mapping[str, ProviderSpec] = field(
        default_factory=lambda: MappingProxyType({}), metadata={"table": read_providers}
    )
    """Providers of models by name; a table of the file."""

    def __post_init__(self) -> None:
        _check(self.concurrency >= 1, "concurrency", "must be at least 1")
        printable = self.api_key.isascii() and self.api_key.isprintable()
        _check(printable, "api_key", "contains a character that is not ASCII")
        _check(self.database_connections >= 1, "database_connections", "must be at least 1")
        _check(self.takeover_seconds >= 1, "takeover_seconds", "must be at least 1")
        _check(0 <= self.port <= 65535, "port", "must be between 0 and 65535")  # noqa: PLR2004 - TCP
        _check(self.model_retries >= 0, "model_retries", "must not be negative")
        _check(self.max_tries >= 1, "max_tries", "must be at least 1")
        _check(self.max_queued_turns >= 1, "max_queued_turns", "must be at least 1")
        _check(self.parallel_calls >= 1, "parallel_calls", "must be at least 1")
        _check(self.vector_cache_bytes >= 0, "vector_cache_bytes", "must not be negative")
        _check(self.browser_contexts >= 1, "browser_contexts", "must be at least 1")
        _check(self.browser_idle_seconds >= 0, "browser_idle_seconds", "must not be negative")
        _check(self.drain_seconds >= 0, "drain_seconds", "must not be negative")
        _check(self.max_body_bytes >= 1, "max_body_bytes", "must be at least 1")
        _check(self.max_connections >= 0, "max_connections", "must not be negative")
        for name in _SPANS:
            _check(getattr(self, name) > 0, name, "must be more than 0")
        _check(
            self.log_level in ("debug", "info", "warning", "error"),
            "log_level",
            "must be debug, info, warning or error",
        )
        _check(
            self.log_format in ("json", "text", "auto"),
            "log_format",
            "must be json, text or auto",
        )
        _check(
            self.private_network in ("operator", "allow", "deny"),
            "private_network",
            "must be operator, allow or deny",
        )
        self._check_addresses()
        if not self.database_url.startswith(("sqlite:///", *_POSTGRES)) and self.database_url:
            raise Misconfigured(
                "OUTLAST_DATABASE_URL must be sqlite:///PATH or postgresql://USER:PASSWORD@HOST/DATABASE."
            )
        if self.database_direct_url and not self.on_postgres:
            raise Misconfigured("OUTLAST_DATABASE_DIRECT_URL needs a Postgres database.")
        if self.on_postgres:
            _check_password("database_url", self.database_url)
            _check_password("database_direct_url", self.database_direct_url)

    def _check_addresses(self) -> None:
        _check(
            not self.root_path or _ROOT_PATH.fullmatch(self.root_path) is not None,
            "root_path",
            "must be a path like /ai, without a slash at its end",
        )
        _check(
            not self.public_url or _ORIGIN.fullmatch(self.public_url.rstrip("/")) is not None,
            "public_url",
            "must be a URL like https://ai.example, without a path",
        )
        for proxy in self.proxies:
            _check(
                _is_network(proxy),
                "trusted_proxies",
                f"must be addresses, networks or *, not {proxy!r}",
            )
        for origin in self.cors:
            _check(
                _ORIGIN.fullmatch(origin) is not None,
                "cors_origins",
                f"must be origins like https://app.example, not {origin!r}",
            )

    @property
    def cors(self) -> tuple[str, ...]:
        """The origins of `cors_origins`."""
        return tuple(origin for text in self.cors_origins.split(",") if (origin := text.strip()))

    @property
    def proxies(self) -> tuple[str, ...]:
        """The names of `trusted_proxies`."""
        return tuple(one for text in self.trusted_proxies.split(",") if (one := text.strip()))

    @property
    def metadata_keys(self) -> tuple[str, ...]:
        """The keys of `indexed_metadata`."""
        keys = (text.strip() for text in self.indexed_metadata.split(","))
        return tuple(dict.fromkeys(key for key in keys if key))

    @property
    def on_postgres(self) -> bool:
        """Whether state is in Postgres, which many processes may share."""
        return self.database_url.startswith(_POSTGRES)

    @property
    def database(self) -> str:
        """Description of the database, without its password."""
        if not self.on_postgres:
            return str(self.database_path)
        authority, _, rest = self.database_url.partition("://")[2].partition("/")
        name, _, query = rest.partition("?")
        hosts = _PORT.sub("", authority.rpartition("@")[2])
        hosts = hosts or parse_qs(query).get("host", ["this machine"])[0]
        return f"the Postgres database {name} on {hosts}"

    @property
    def database_path(self) -> Path:
        """The SQLite file."""
        if self.database_url:
            return Path(self.database_url.removeprefix("sqlite:///"))
        return self.data_dir / "outlast.db"

    @property
    def secret_file(self) -> Path:
        """File of the secret key that the first start generates, mode 0600."""
        return self.data_dir / "secret_key"

    @property
    def key_file(self) -> Path:
        """File of the API key that the first start creates, mode 0600."""
        return self.data_dir / "api_key"


def load(
    flags: Mapping[str, Any] = MappingProxyType({}),
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
) -> Settings:
    """Read the settings; a flag of None is not set. Raises Misconfigured, naming the setting."""
    environment = os.environ if environment is None else environment
    given: dict[str, Any] = _from_file((folder or Path.cwd()) / FILE)
    for name in _FIELDS:
        if (value := environment.get(_PREFIX + name.upper())) is not None and value != "":
            given[name] = value
    given |= {name: value for name, value in flags.items() if value is not None}
    for name in given:
        if name not in _FIELDS and name not in _TABLES:
            near = difflib.get_close_matches(name, _FIELDS, n=1)
            remedy = f"; did you mean {near[0]}?" if near else ""
            raise Misconfigured(f"There is not a setting {name!r}{remedy}")
    return Settings(**{name: _convert(name, value) for name, value in given.items()})


def unknown_variables(environment: Mapping[str, str] | None = None) -> dict[str, str | None]:
    """Return unknown `OUTLAST_*` variables, each with the setting that it resembles.

    None if it resembles no setting.
    """
    environment = os.environ if environment is None else environment
    known = [_PREFIX + name.upper() for name in _FIELDS]
    strange = sorted(
        name
        for name in environment
        if name.startswith(_PREFIX) and name not in known and name not in _OTHERS
    )
    size = len(_PREFIX)  # which every name has, so that it tells nothing
    names = [name[size:] for name in known]
    near = {name: difflib.get_close_matches(name[size:], names, n=1) for name in strange}
    return {name: _PREFIX + found[0] if found else None for name, found in near.items()}


def _from_file(path: Path) -> dict[str, Any]:
    try:
        content = tomllib.loads(path.read_text(), parse_float=Decimal)
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise Misconfigured(f"{path} cannot be read: {error}") from error
    known = (*_FIELDS, *_TABLES)
    unknown = sorted(set(content) - set(known))
    if unknown:
        raise Misconfigured(f"{path}: unknown setting {unknown[0]!r}. Known: {', '.join(known)}.")
    return content


def _convert(name: str, value: Any) -> Any:
    if name in _TABLES:
        return _TABLES[name](value)
    wanted = _FIELDS[name]
    if not isinstance(value, str):
        _require_kind(name, value, wanted)
    try:
        if wanted is bool:
            return _flag(value)
        if wanted is float:
            return _finite(value)
        found = Path(value).expanduser() if wanted is Path else wanted(value)
    except (TypeError, ValueError, OverflowError) as error:
        setting = _PREFIX + name.upper()
        raise Misconfigured(f"{setting}: {value!r} is not {_WORDS[wanted]}.") from error
    if wanted is str:
        _check(_is_unicode(str(found)), name, "is not UTF-8")
    return found


def _require_kind(name: str, value: Any, wanted: Any) -> None:
    """Refuse values of the file with another type; values are not converted, and not shown."""
    fits: tuple[type, ...] = (int, float, Decimal) if wanted is float else (wanted,)
    if not isinstance(value, fits) or (wanted is not bool and isinstance(value, bool)):
        setting = _PREFIX + name.upper()
        raise Misconfigured(f"{setting}: must be {_WORDS[wanted]}, not {given_kind(value)}.")


def _finite(value: Any) -> float:
    """Read a number. Raises ValueError for NaN and infinity too."""
    found = float(value)
    if not isfinite(found):
        raise ValueError(value)
    return found


def _is_unicode(text: str) -> bool:
    """Whether UTF-8 can encode it; other bytes of a variable are read as lone surrogates."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _flag(value: Any) -> bool:
    """Read true or false. Raises ValueError."""
    text = str(value).strip().lower()
    if text in ("true", "1", "yes", "on"):
        return True
    if text in ("false", "0", "no", "off"):
        return False
    raise ValueError(text)


def _check_password(name: str, url: str) -> None:
    """Refuse a URL whose password would be read as part of the host, and shown."""
    authority, _, path = url.partition("://")[2].partition("/")
    wrong = authority.count("@") > 1 or "@" in path.partition("?")[0]
    _check(not wrong, name, "wants @ : / ? # % in a password percent-encoded (@ is %40)")


def _is_network(text: str) -> bool:
    try:
        ip_network(text, strict=False)
    except ValueError:
        return text == "*"
    return True


def _check(right: bool, name: str, complaint: str) -> None:
    if not right:
        raise Misconfigured(f"{_PREFIX}{name.upper()} {complaint}.")


_FIELDS: Final[dict[str, type]] = {
    item.name: item.type if isinstance(item.type, type) else str
    for item in fields(Settings)
    if not item.metadata
}
_TABLES: Final[dict[str, Callable[[Any], Any]]] = {
    item.name: item.metadata["table"] for item in fields(Settings) if item.metadata
}
_WORDS: Final[dict[type, str]] = {
    int: "a whole number",
    float: "a number",
    str: "text",
    Path: "a path",
    bool: "true or false",
}
