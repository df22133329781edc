"""View models of the system screen: findings with a level, settings without secrets."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from outlast.services.findings import Finding, Level
from outlast.services.system import Examined, Seen
from outlast.settings import Settings

_ORDER: Final = (Level.FAIL, Level.WARN, Level.OK)
_HIDDEN: Final = "•••"
_LOGIN: Final = re.compile(r"://[^/\s@]+:[^/\s@]+@")
"""User and password in a URL, such as a model's or an MCP server's."""
_SECRET: Final = 4
"""Characters that a secret has at least; shorter ones are parts of words."""
_WORK: Final = "Start one: outlast worker --agents FILE, or outlast serve."


@dataclass(frozen=True, slots=True)
class Fact:
    """One thing that is known of the server, and whether it is as it should be."""

    name: str
    text: str
    is_well: bool = True
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Setting:
    """A setting as it is in force."""

    name: str
    value: str
    is_changed: bool


def facts(seen: Seen, version: str) -> list[Fact]:
    """Return what is shown of the server."""
    found = [Fact("Version", version)]
    if not seen.operator:
        return found
    found.append(Fact("Python", seen.python))
    found.append(Fact("Database", seen.database))
    if seen.workers is None:
        found.append(Fact("Workers", "not known: the database does not answer", is_well=False))
    elif seen.workers:
        found.append(Fact("Workers", f"{seen.workers} alive"))
    else:
        found.append(Fact("Workers", "none is alive", is_well=False, remedy=_WORK))
    found.append(Fact("Segments in this process", str(seen.running)))
    found.append(Fact("Executions that wait to run", f"{seen.backlog:,}"))
    found.append(Fact("Taken over from silent workers", f"{seen.taken_over:,}"))
    if seen.orphans:
        remedy = "This is a bug in Outlast: report it."
        found.append(Fact("Waited without a job", f"{seen.orphans:,}", False, remedy))
    if not seen.accepting:
        found.append(Fact("This process", "takes no work: it starts or leaves", is_well=False))
    return found + _machine(seen.machine)


def _machine(findings: Sequence[Finding]) -> list[Fact]:
    """Return what is wrong with the machine, each by itself; together what is well."""
    well = ", ".join(one.check for one in findings if one.level is Level.OK)
    facts = [Fact("Machine", f"{well}: as it should be")] if well else []
    wrong = (one for one in findings if one.level is not Level.OK)
    return facts + [
        Fact(one.check.capitalize(), one.text, False, one.remedy or "") for one in wrong
    ]


def found_of(examined: Examined, settings: Settings) -> list[Finding]:
    """Return what an examination has found, what is wrong first; no secret is in a text.

    Texts are others' too, such as those of MCP servers.
    """
    secrets = sorted(_secrets(settings), key=len, reverse=True)

    def hidden(text: str) -> str:
        for secret in secrets:
            text = text.replace(secret, _HIDDEN)
        return text

    def of_others(text: str) -> str:
        return _LOGIN.sub(f"://{_HIDDEN}@", hidden(text))

    shown = [
        replace(
            one,
            check=of_others(one.check),
            text=of_others(one.text),
            remedy=None if one.remedy is None else hidden(one.remedy),
        )
        for one in examined.findings
    ]
    return sorted(shown, key=lambda one: _ORDER.index(one.level))


def _secrets(settings: Settings) -> set[str]:
    """Return the settings that no page shows, and the passwords in their URLs."""
    whole = [str(getattr(settings, one.name)) for one in fields(settings) if not one.repr]
    found = {text for one in whole for text in (one, *_passwords(one))}
    return {one for one in found if len(one) >= _SECRET}


def _passwords(text: str) -> tuple[str, ...]:
    """Return the password in a URL as it is written, and as it is meant."""
    try:
        password = urlsplit(text).password or ""
    except ValueError:
        return ()
    return password, unquote(password)


def shown_settings(settings: Settings) -> list[Setting]:
    """Return the settings by name; of those that may hold a secret, whether they are set."""
    usual = Settings()
    return [
        Setting(
            one.name,
            _value(getattr(settings, one.name), is_open=one.repr),
            getattr(settings, one.name) != getattr(usual, one.name),
        )
        for one in sorted(fields(settings), key=lambda one: one.name)
    ]


def _value(value: Any, *, is_open: bool) -> str:
    if not is_open:
        return _without_secret(value) if value else "not set"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping) or not isinstance(value, str | int | float | tuple | list):
        return _named(value)
    if isinstance(value, tuple | list):
        return ", ".join(map(str, value)) or "none"
    return str(value) or "none"


def _named(value: Any) -> str:
    """Return the names in a table, whose values may hold anything; a folder as it is."""
    if isinstance(value, Mapping):
        return ", ".join(map(str, value)) or "none"
    return str(value) if hasattr(value, "joinpath") else "as in outlast.toml"


def _without_secret(value: Any) -> str:
    """Return the host of a database's URL; of anything else, that it is set."""
    try:
        parts = urlsplit(str(value))
        host = parts.hostname
    except ValueError:
        return "set"
    return f"set: {parts.scheme} on {host}" if parts.scheme and host else "set"
