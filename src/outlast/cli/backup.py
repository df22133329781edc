"""`outlast backup` and `outlast restore`: copies of the SQLite database, and their way back."""

import sys
from pathlib import Path
from shlex import quote
from typing import Annotated
from urllib.parse import urlsplit

from typer import Argument, Option, echo

from outlast.cli.options import with_settings
from outlast.cli.output import note
from outlast.model.error import Misconfigured
from outlast.settings import Settings

_MEBIBYTE = 1024 * 1024


@with_settings("data_dir", "database_url")
def backup(
    chosen: Settings,
    *,
    file: Annotated[Path, Argument(help="The file to make; it must not be there yet.")],
) -> None:
    """Copy the SQLite database to a file, also while a server runs.

    The copy is what was committed at one moment, and is checked. On Postgres use pg_dump.
    """
    if chosen.on_postgres:
        name = _name(chosen)
        raise Misconfigured(
            f"On Postgres: pg_dump --format=custom --file={quote(str(file))} {name}"
        )
    from outlast.store.sqlite.backup import back_up

    path = chosen.database_path
    if not path.exists():
        raise Misconfigured(f"There is no database at {path}.")
    size = back_up(path, file, _show)
    echo(f"{file}: {size / _MEBIBYTE:.1f} MiB of {path}")
    note(f"{_secret(chosen)} is not in it: keep it too, where others cannot read it.")


@with_settings("data_dir", "database_url")
def restore(
    chosen: Settings,
    *,
    file: Annotated[Path, Argument(help="A file that outlast backup has made.")],
    replace: Annotated[
        bool,
        Option("--replace", help="Keep the database that is there aside, under another name."),
    ] = False,
) -> None:
    """Put a backup in the place of the SQLite database.

    No server may run. The next start migrates it where it is older. On Postgres use pg_restore.
    """
    if chosen.on_postgres:
        name = _name(chosen)
        raise Misconfigured(f"On Postgres: pg_restore --clean --dbname={name} {quote(str(file))}")
    from outlast.cli.state import make_folder
    from outlast.model.clock import SystemClock, iso
    from outlast.store.sqlite.backup import restore

    path, moment = chosen.database_path, iso(SystemClock().now()).translate({ord(":"): None})
    old = path.resolve().with_name(f"{path.name}.before-{moment}") if replace else None
    if not chosen.database_url:
        make_folder(chosen)
    replaced = restore(file, path, old)
    echo(f"{path} is as {file} has it")
    if replaced:
        note(f"What was there is in {old}: delete it once you do not need it.")
    if not chosen.secret_key and not chosen.secret_file.exists():
        place = f"to {chosen.secret_file}, or set OUTLAST_SECRET_KEY"
        note(f"Copy the secret key of its server {place}: what it has sealed is lost without it.")


def _name(chosen: Settings) -> str:
    """Return the name of the Postgres database, for a shell."""
    return quote(urlsplit(chosen.database_url).path.removeprefix("/"))


def _secret(chosen: Settings) -> str:
    return "OUTLAST_SECRET_KEY" if chosen.secret_key else f"the secret key {chosen.secret_file}"


def _show(copied: int, pages: int) -> None:
    if sys.stderr.isatty():
        end = "\n" if copied == pages else ""
        echo(f"\r{100 * copied // max(pages, 1)} %{end}", nl=False, err=True)
