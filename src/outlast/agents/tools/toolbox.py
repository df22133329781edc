"""The Tools of a server: arguments checked, the call sent to whoever runs it, result checked."""

import asyncio
import importlib
import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

import orjson

from outlast.agents.port import ToolContext
from outlast.agents.tools.arguments import Arguments
from outlast.agents.tools.builtin import call_builtin
from outlast.agents.tools.python import PythonTools
from outlast.agents.tools.secrets import secrets_of
from outlast.agents.tools.signature import PythonFunction
from outlast.model.agent import HttpCall, ToolSpec
from outlast.model.clock import Clock
from outlast.model.error import ToolFailed
from outlast.model.json_depth import DEEPEST, is_too_deep
from outlast.model.text import storable

if TYPE_CHECKING:
    import aiohttp

    from outlast.agents.tools.http import HttpTools

MAX_RESULT_BYTES: Final = 262_144
"""For results of Python functions, as JSON; an HTTP tool has its own bound."""


class ToolBox:
    """Runs the three kinds of tools behind one verb."""

    def __init__(
        self,
        clock: Clock,
        functions: Mapping[str, PythonFunction] | None = None,
        environ: Mapping[str, str] | None = None,
        connector: "Callable[[], aiohttp.BaseConnector] | None" = None,
    ) -> None:
        """Functions are those given in Python, by reference; others are imported when called.

        A connector decides which addresses HTTP tools may dial (see `tools.http`); the default
        dials any.
        """
        self._clock = clock
        self._environ = os.environ if environ is None else environ
        self._connector = connector
        self._arguments = Arguments()
        self._python = PythonTools(functions or {})
        self._http: HttpTools | None = None

    async def call(self, spec: ToolSpec, arguments: dict[str, Any], context: ToolContext) -> Any:
        """Check the arguments against the tool's schema, run it within its timeout, return JSON.

        Raises ToolFailed (bad arguments, the tool's own error, a result too large) and ToolTimeout;
        any error text is fit for the model to read and holds no secret.
        """
        self._arguments.check(spec.parameters, arguments)
        result = await self._dispatch(spec, arguments, context)
        return _checked(result, None if spec.http else MAX_RESULT_BYTES)

    async def asks(self, spec: ToolSpec, arguments: dict[str, Any]) -> bool:
        """Whether a person decides before a call with these arguments, as the tool's function says.

        If the function fails, a person decides.
        """
        return not isinstance(spec.approval, str) or self._python.asks(spec.approval, arguments)

    def check(self, spec: ToolSpec, arguments: dict[str, Any]) -> None:
        """Raise InvalidArguments where arguments do not fit the tool's schema, naming the first."""
        self._arguments.check_edited(spec.parameters, arguments)

    def use(self, functions: Mapping[str, PythonFunction]) -> None:
        """Run these Python functions from now on; calls that run are not touched."""
        self._python.use(functions)

    async def warm_up(self) -> None:
        """Import and open what the first HTTP call needs, in a thread; safe to call many times."""
        await (await self._http_tools()).warm_up()

    async def close(self) -> None:
        """Give back connections."""
        if self._http is not None:
            await self._http.close()

    async def _dispatch(
        self, spec: ToolSpec, arguments: dict[str, Any], context: ToolContext
    ) -> Any:
        match spec:
            case ToolSpec(http=HttpCall() as http):
                tools = await self._http_tools()
                return await tools.call(spec, http, arguments, context)
            case ToolSpec(python=str(reference)):
                return await self._in_python(reference, arguments, context, spec.timeout)
            case ToolSpec(builtin=str(name)):
                return call_builtin(name, arguments, self._clock)
            case _:
                raise ToolFailed(f"The tool {spec.name} says nothing of how it runs.")

    async def _in_python(
        self, reference: str, arguments: dict[str, Any], context: ToolContext, seconds: float
    ) -> Any:
        """A function may repeat the credentials that were forwarded to it."""
        if not context.headers:
            return await self._python.call(reference, arguments, context, seconds)
        secrets = secrets_of((), {}, context.headers)
        try:
            result = await self._python.call(reference, arguments, context, seconds)
        except ToolFailed as failed:
            failed.hide(secrets.hide)
            raise
        return secrets.hide_in_result(result)

    async def _http_tools(self) -> "HttpTools":
        if self._http is None:
            await asyncio.to_thread(importlib.import_module, "outlast.agents.tools.http")
        if self._http is None:
            from outlast.agents.tools.http import HttpTools

            self._http = HttpTools(self._clock, self._environ, self._connector)
        return self._http


def _checked(result: Any, most: int | None) -> Any:
    """The result, with half a surrogate pair in it replaced, which JSON cannot have.

    One that cannot be stored, or is too large, is the tool's error and not the store's.
    """
    try:
        result, size = _measured(result)
    except (orjson.JSONEncodeError, RecursionError) as error:
        raise ToolFailed(f"The tool's result cannot be written as JSON: {error}") from error
    if most is not None and size > most:
        raise ToolFailed(f"The tool's result is {size} bytes as JSON, more than {most}.")
    if is_too_deep(result):
        raise ToolFailed(f"The tool's result is nested deeper than {DEEPEST} levels.")
    return result


def _measured(result: Any) -> tuple[Any, int]:
    try:
        return result, len(orjson.dumps(result))
    except orjson.JSONEncodeError:
        result = storable(result)
        return result, len(orjson.dumps(result))
