"""Python tools: an operator's function, found by `module:function`, run in this process.

An async function is awaited. A sync one runs in a thread, so that it never blocks the server; after
its timeout its result is dropped, but its thread runs to its end. So does an async function that
does not end when it is cancelled.
"""

import asyncio
import importlib
import inspect
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

import anyio
import anyio.to_thread
import structlog
from pydantic_core import PydanticSerializationError, to_jsonable_python

from outlast.agents.port import ToolContext
from outlast.agents.tools.signature import MARK, PythonFunction, read_function
from outlast.model.error import Misconfigured, ToolFailed, ToolTimeout
from outlast.model.text import storable
from outlast.operator_code import bounded

_THREADS: Final = 64
"""Concurrent sync tools; one more waits for a thread."""

logger = structlog.get_logger(__name__)


class ToolFunctions:
    """Finds the functions of tools: the registered ones first, others by import."""

    def __init__(self, functions: Mapping[str, PythonFunction] | None = None) -> None:
        self._functions = dict(functions or {})

    def use(self, functions: Mapping[str, PythonFunction]) -> None:
        """Register these instead, and import others anew."""
        self._functions = dict(functions)

    def find(self, reference: str) -> PythonFunction:
        """Return the function of that reference. Raises ToolFailed if this process has none."""
        function = self._functions.get(reference)
        if function is None:
            try:
                function = read_function(import_function(reference), reference)
            except Misconfigured as error:
                raise ToolFailed(f"The tool cannot be run: {error.message}.") from error
            self._functions[reference] = function
        return function

    def asks(self, reference: str, arguments: dict[str, Any]) -> bool:
        """Return whether a person decides on a call, by the function of that reference.

        A tool's own reference means the function in its `@tool(approval=…)`. If the function fails
        or is missing, a person decides.
        """
        try:
            known = self._functions.get(reference)
            found = import_function(reference) if known is None else known.function
            decides = getattr(getattr(found, MARK, None), "approval", found)
            return bool(decides(arguments))
        except BaseException:
            logger.warning("approval.function_failed", function=reference, exc_info=True)
            return True


class PythonTools:
    """Runs Python functions."""

    def __init__(self, functions: ToolFunctions) -> None:
        self._functions = functions
        self._threads: anyio.CapacityLimiter | None = None

    async def call(
        self, reference: str, arguments: dict[str, Any], context: ToolContext, seconds: float
    ) -> Any:
        """Run the function of that reference within `timeout` and return its result as JSON.

        Raises ToolFailed with `TypeName: message` of the function's error, and ToolTimeout.
        """
        function = self._functions.find(reference)
        call = partial(function.function, **function.bind(arguments, context))
        work = self._run(call, is_async=inspect.iscoroutinefunction(function.function))
        try:
            return await bounded(work, partial(_left, reference, context), seconds)
        except TimeoutError:
            raise ToolTimeout(f"The tool did not answer within {seconds:g} s.") from None
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            # Not our cancellation: the function let an inner cancellation escape.
            raise ToolFailed("CancelledError: the tool's own work was cancelled") from None

    async def _run(self, call: Callable[[], Any], *, is_async: bool) -> Any:
        """Run the operator's function and translate its errors."""
        try:
            if is_async:
                return _as_json(await call())
            result = await self._in_thread(call)
            return _as_json(await result) if inspect.isawaitable(result) else result
        except (ToolFailed, asyncio.CancelledError):
            raise
        except BaseException as error:  # a tool may raise anything, and ends no server
            raise ToolFailed(_text_of(error)) from error

    async def _in_thread(self, call: Callable[[], Any]) -> Any:
        if self._threads is None:
            self._threads = anyio.CapacityLimiter(_THREADS)
        run = partial(_call_sync, call)
        return await anyio.to_thread.run_sync(run, limiter=self._threads, abandon_on_cancel=True)


def _left(reference: str, context: ToolContext) -> None:
    logger.warning("tool.still_running", function=reference, execution=context.execution_id)


def import_function(reference: str) -> Callable[..., Any]:
    """Import `module:function`. Raises Misconfigured, naming the wrong part."""
    found = import_name(reference)
    if not callable(found):
        raise Misconfigured(f"{reference} is not a function")
    return found  # type: ignore[no-any-return]


def import_name(reference: str) -> Any:
    """Import the object of `module:name`. Raises like `import_function`."""
    module_name, colon, path = reference.partition(":")
    if not (colon and module_name and path):
        raise Misconfigured(f"{reference!r} is not of the form module:function")
    try:
        found: Any = importlib.import_module(module_name)
    except BaseException as error:  # importing runs code that may raise anything
        raise Misconfigured(
            f"module {module_name} cannot be imported: {_text_of(error)}"
        ) from error
    for name in path.split("."):
        try:
            found = getattr(found, name)
        except AttributeError as error:
            raise Misconfigured(f"module {module_name} has no function {path}") from error
    return found


def _call_sync(call: Callable[[], Any]) -> Any:
    """Run in the thread: the call, and the encoding of its result, which may take long too."""
    try:
        result = call()
        return result if inspect.isawaitable(result) else _as_json(result)
    except (ToolFailed, asyncio.CancelledError):
        raise
    except BaseException as error:  # here already: a KeyboardInterrupt would leave the event loop
        raise ToolFailed(_text_of(error)) from error


def _as_json(result: Any) -> Any:
    try:
        try:
            return to_jsonable_python(result, inf_nan_mode="null")
        except UnicodeEncodeError:  # a key with half a surrogate pair
            return to_jsonable_python(storable(result), inf_nan_mode="null")
    except (PydanticSerializationError, ValueError, RecursionError) as error:
        raise ToolFailed(
            f"The tool's result cannot be written as JSON: {_text_of(error)}"
        ) from error


def _text_of(error: BaseException) -> str:
    try:
        message = str(error).strip()
    except BaseException:  # noqa: BLE001 - its __str__ is the operator's code too
        message = ""
    return f"{type(error).__name__}: {message}" if message else type(error).__name__
