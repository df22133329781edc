"""How long modules of tests take: a whole run begins with the slowest, a fast one skips them.

`--module-times` adds up, for each module, what its tests took, on however many processes, and the
processor time of it: of the tests, and of what they started and waited for. The figures below are
rough, in seconds on quiet cores; what counts is their order.
"""

import os
import resource
from collections import Counter
from collections.abc import Generator
from typing import Final

import pytest

SLOW: Final[dict[str, int]] = {
    "tests/many/": 160,
    "tests/rooms/test_fuzz.py": 85,
    "tests/bench/": 40,
    "tests/rooms/console/test_browser.py": 80,
    "tests/rooms/runs/test_reconnect.py": 75,
    "tests/test_kill.py": 70,
    "tests/cli/test_leaving.py": 65,
    "tests/rooms/test_slow_readers.py": 65,
    "tests/test_mcp_kill.py": 65,
    "tests/engine/test_crash_children.py": 60,
    "tests/rooms/console/test_screens.py": 60,
    "tests/engine/test_crash_client_calls.py": 55,
    "tests/agents/test_browser.py": 55,
    "tests/engine/test_crash_waits.py": 50,
    "tests/rooms/console/test_door.py": 50,
    "tests/test_mcp_inputs.py": 45,
    "tests/engine/test_crash_moves.py": 44,
    "tests/engine/test_langgraph.py": 40,
    "tests/engine/test_crash_inputs.py": 36,
    "tests/engine/test_crash_code.py": 36,
    "tests/hostile/": 35,
    "tests/cli/test_memory.py": 35,
    "tests/engine/test_children_approvals.py": 34,
    "tests/store/test_wait_kinds.py": 34,
    "tests/engine/test_parallel.py": 33,
    "tests/agents/test_local.py": 20,
    "tests/cli/test_demo.py": 29,
    "tests/test_structure.py": 28,
    "tests/rooms/test_bad_input.py": 28,
    "tests/rooms/test_prefix.py": 20,
    "tests/rooms/test_client_endpoints.py": 26,
    "tests/states/test_states.py": 25,
    "tests/clients/": 25,
    "tests/agents/test_catalogue.py": 25,
    "tests/cli/test_serve.py": 23,
    "tests/rooms/test_woven.py": 22,
    "tests/engine/test_schedules.py": 22,
    "tests/kills/": 20,
    "tests/agents/test_mcp_inputs.py": 20,
    "tests/cli/test_doctor_postgres.py": 20,
    "tests/test_python_process.py": 20,
    "tests/engine/test_schedules_at_once.py": 20,
    "tests/rooms/console/test_step_pages.py": 20,
    "tests/rooms/records/test_large_trees.py": 19,
    "tests/engine/test_mutants.py": 18,
    "tests/rooms/test_large_lists.py": 18,
    "tests/test_replay.py": 18,
    "tests/cli/test_reload.py": 17,
    "tests/rooms/test_document.py": 17,
    "tests/cli/test_agents.py": 16,
    "tests/cli/test_deadline.py": 16,
    "tests/cli/test_commands.py": 16,
    "tests/cli/test_run.py": 15,
    "tests/agents/test_mcp_commands.py": 15,
    "tests/cli/test_worker.py": 14,
    "tests/cli/test_preflight.py": 14,
    "tests/test_snippets.py": 14,
    "tests/engine/test_any_error.py": 12,
    "tests/cli/test_files.py": 10,
    "tests/test_wheel.py": 10,
    "tests/cli/test_schedules.py": 10,
    "tests/cli/test_completion.py": 10,
    "tests/engine/test_duties.py": 9,
    "tests/agents/test_mcp_tasks.py": 9,
    "tests/agents/test_browser_kill.py": 8,
    "tests/agents/test_mcp.py": 8,
    "tests/cli/test_moves.py": 8,
    "tests/rooms/console/test_browser_inputs.py": 8,
    "tests/test_cluster.py": 7,
    "tests/engine/test_providers.py": 7,
    "tests/store/test_sqlite_lock.py": 7,
    "tests/rooms/console/test_commands.py": 6,
    "tests/cli/test_odd_bytes.py": 6,
    "tests/engine/test_code_values.py": 6,
    "tests/cli/test_backup.py": 5,
    "tests/test_forked.py": 5,
    "tests/rooms/console/test_images.py": 5,
    "tests/agents/test_mcp_given_up.py": 5,
    "tests/agents/test_list_prices.py": 5,
    "tests/agents/test_embeddings.py": 5,
    "tests/agents/test_bridge_oddities.py": 5,
    "tests/agents/test_bridge_wire.py": 5,
    "tests/cli/test_usage.py": 5,
    "tests/cli/test_tools.py": 5,
    "tests/cli/test_console.py": 5,
    "tests/store/test_migration_of_credits.py": 5,
    "tests/engine/test_statements.py": 5,
    "tests/test_client_package.py": 5,
    "tests/agents/test_local_files.py": 5,
    "tests/cli/test_init.py": 5,
    "tests/engine/test_clock.py": 5,
    "tests/rooms/test_connections.py": 5,
    "tests/store/test_sqlite_writer.py": 5,
    "tests/cli/test_reload_files.py": 3,
    "tests/model/test_timetable.py": 3,
    "tests/rooms/console/test_usage.py": 3,
    "tests/store/test_sqlite_disk.py": 3,
    "tests/engine/test_list_prices.py": 3,
    "tests/engine/test_mcp_example.py": 3,
    "tests/agents/test_mcp_runs.py": 3,
    "tests/test_log_events.py": 3,
    "tests/agents/test_expressions.py": 3,
    "tests/test_client.py": 3,
    "tests/test_files.py": 2,
    "tests/test_deploy.py": 1,
}
"""Modules, and folders of modules, that take long or start processes."""
_FAST: Final = 150.0
"""Processor time of a fast run that two quiet cores do in 90 s; beside others it takes more."""
_NAMED: Final = 8


class ModuleTimes:
    """Adds up the time of each module, and writes it at the end."""

    def __init__(self, *, fast: bool) -> None:
        """`fast`: only where all of them took longer than a fast run should, the slowest."""
        self._is_fast = fast
        self._seconds: Counter[str] = Counter()
        self._cpu_seconds: Counter[str] = Counter()
        self._cpu_so_far = 0.0
        os.register_at_fork(after_in_child=self._begin)

    def pytest_collection_finish(self) -> None:
        self._begin()  # without imports and collection

    def _begin(self) -> None:
        self._cpu_so_far = _cpu_seconds()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        report = yield
        before, self._cpu_so_far = self._cpu_so_far, _cpu_seconds()
        report.cpu_seconds = self._cpu_so_far - before  # type: ignore[attr-defined]
        return report

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        module = report.nodeid.partition("::")[0]
        self._seconds[module] += report.duration  # type: ignore[assignment]
        self._cpu_seconds[module] += getattr(report, "cpu_seconds", 0)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        modules = self._seconds.most_common()
        if self._is_fast:
            if sum(self._cpu_seconds.values()) < _FAST:
                return
            modules = [
                (one, self._seconds[one]) for one, _ in self._cpu_seconds.most_common(_NAMED)
            ]
            terminalreporter.section("too slow, unless the machine is busy: see SLOW")
        else:
            terminalreporter.section("seconds of each module, and of processors")
        for module, seconds in modules:
            terminalreporter.write_line(
                f"{seconds:8.1f} {self._cpu_seconds[module]:8.1f}  {module}"
            )
        sums = sum(self._seconds.values()), sum(self._cpu_seconds.values())
        terminalreporter.write_line("{:8.1f} {:8.1f}  in all".format(*sums))


def _cpu_seconds() -> float:
    """Return the processor time so far, of this process and of children that have ended."""
    of_both = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in of_both)


def module_of(item: pytest.Item) -> str:
    """Return the path of a test's module, from the root of the repository."""
    return item.nodeid.partition("::")[0]


def seconds_of(item: pytest.Item) -> int:
    """Return how long a test's module takes; 0 for one that is not slow."""
    module = module_of(item)
    return SLOW.get(module) or SLOW.get(module.rpartition("/")[0] + "/", 0)


def slowest_first(items: list[pytest.Item]) -> None:
    """Sort tests by the time of their modules, so that processes that share them end together."""
    items.sort(key=lambda item: -seconds_of(item))
