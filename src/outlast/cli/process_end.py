"""Ends a server's or worker's process, whatever the operator's code does.

Once its store is closed nothing is lost by that; a task that swallows its cancellation, or a
thread, would keep it alive.
"""

import asyncio
import os
import sys
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import structlog
import uvloop

from outlast import logs
from outlast.model.clock import SystemClock
from outlast.operator_code import cancel_rest, threads_left

_SECONDS: Final = 1.0
"""How long tasks, then threads, may take to end."""

logger = structlog.get_logger(__name__)


def run_to_end(main: Coroutine[Any, Any, None]) -> None:
    """Run until it returns; end the process with 0 if something would keep it alive."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        threads = ThreadPoolExecutor(thread_name_prefix="asyncio")
        runner.get_loop().set_default_executor(threads)
        runner.run(main)
        tasks = runner.run(cancel_rest(_SECONDS))
        threads.shutdown(wait=False, cancel_futures=True)
        alive = threads_left(_SECONDS, SystemClock().monotonic)
        if tasks or alive:
            _leave_behind(tasks, alive)


def _leave_behind(tasks: int, threads: int) -> None:
    logger.warning("process.left_behind", tasks=tasks, threads=threads)
    logs.flush()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(0)
