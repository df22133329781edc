"""All tests in six processes; the few that fail run once more, alone: `make test`.

Many tests wait for real processes, and a machine that stalls for seconds fails one of them without
a mistake in the code. A test that fails twice has failed. What passed only the second time is
named at the end; more than `MOST` failures are never repeated.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Final

MOST: Final = 12
"""Failures that may be the machine's."""
FAILED: Final = 1
"""pytest's exit code if tests failed, and nothing else did."""
PROCESSES: Final = 6
_LAST_FAILED: Final = Path(".pytest_cache/v/cache/lastfailed")


def main(arguments: list[str]) -> int:
    """Run the tests; return pytest's exit code."""
    _LAST_FAILED.unlink(missing_ok=True)
    status = _pytest(f"--processes={PROCESSES}", *arguments)
    if status != FAILED or not _LAST_FAILED.exists():
        return status
    failed = sorted(json.loads(_LAST_FAILED.read_text()))
    if not 0 < len(failed) <= MOST:
        return status
    print(f"==> once more, alone: {len(failed)} that failed", flush=True)
    status = _pytest(*failed)
    if not status:
        print("==> passed only the second time:", *failed, sep="\n    ", flush=True)
    return status


def _pytest(*arguments: str) -> int:
    return subprocess.run([sys.executable, "-m", "pytest", *arguments], check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
