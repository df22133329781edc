"""Commands that send one request to a running server."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import wraps
from inspect import Parameter, Signature, signature
from typing import TYPE_CHECKING, Any, Final, TypeVar

from outlast.cli.options import FLAGS, Url, settings
from outlast.cli.output import note
from outlast.settings import Settings

if TYPE_CHECKING:
    from outlast.client import Client

T = TypeVar("T")

_SETTINGS: Final = ("host", "port", "api_key", "data_dir")
_PATIENCE: Final = 2.0
"""Seconds that a command waits for an unavailable server."""


@dataclass(frozen=True, slots=True)
class Server:
    """The running server that a command uses."""

    settings: Settings
    url: str | None
    """None: the address of the settings."""

    def client(self, *, patience: float = _PATIENCE) -> "Client":
        """Return a client that waits this many seconds. Raises Misconfigured without a key."""
        from outlast.cli.remote import client_of

        return client_of(self.settings, self.url, patience=patience)

    def request(self, send: "Callable[[Client], Awaitable[Any]]") -> Any:
        """Send a request and return its answer. Raises OutlastError."""

        async def answer() -> Any:
            async with self.client() as client:
                return await send(client)

        return asyncio.run(answer())


async def from_server_or_database(
    server: Server,
    send: "Callable[[Client], Awaitable[Any]]",
    in_database: Callable[[Settings], Awaitable[Any]],
) -> Any:
    """Send a request; read the database if no server answers and none was named."""
    from outlast.client import Unreachable

    try:
        async with server.client() as client:
            return await send(client)
    except Unreachable as error:
        if server.url is not None:
            raise
        note(f"{error} Reading the database instead.")
        return await in_database(server.settings)


def through_server(*more: str) -> Callable[[Callable[..., T]], Callable[..., T]]:
    """Give a command the flags that name a server; its first argument is the resulting Server.

    `more` names settings whose flags it has besides. The command's own arguments and options come
    before these flags, `--json` after them.
    """
    names = (*_SETTINGS, *more)

    def decorate(command: Callable[..., T]) -> Callable[..., T]:
        @wraps(command)
        def run(**given: Any) -> T:
            url = given.pop("url")
            chosen = settings(**{name: given.pop(name) for name in names})
            return command(Server(chosen, url), **given)

        _, *given = signature(command).parameters.values()
        own = [one.replace(kind=Parameter.KEYWORD_ONLY) for one in given]
        flags = {"url": Url} | {name: FLAGS[name] for name in names}
        parameters = [
            *(one for one in own if one.name != "json"),
            *(
                Parameter(name, Parameter.KEYWORD_ONLY, default=None, annotation=flag)
                for name, flag in flags.items()
            ),
            *(one for one in own if one.name == "json"),
        ]
        run.__signature__ = Signature(parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {one.name: one.annotation for one in parameters}
        return run

    return decorate
