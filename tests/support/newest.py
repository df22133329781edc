"""A part of the tests on the newest Python of this machine: `make test-newest`.

The whole suite runs on the Python of `.venv`. If the machine has a newer one that Outlast supports,
an environment is made for it with the server and what these tests need, and they run.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

from tests.support.whole import FAILED

ROOT: Final = Path(__file__).parents[2]
NEWEST: Final = (3, 13)
"""The newest that everything in requirements.lock has wheels for."""
TESTS: Final = (
    "tests/model",
    "tests/agents/test_loader.py",
    "tests/agents/test_define.py",
    "tests/engine/test_crash.py",
    "tests/rooms/test_execute.py",
    "tests/rooms/test_document.py",
    "tests/cli/test_first_process.py",
)
OPTIONS: Final = ("--database", "sqlite", "--processes", "2", "-p", "no:cacheprovider")
"""The cache is that of the whole run, which may go on at the same time."""
PACKAGES: Final = ("pytest", "hypothesis", "openapi-spec-validator")
"""What the tests need beside the server."""


def main() -> int:
    """Run them; return pytest's exit code, 0 without a newer Python."""
    found = newest()
    if found is None:
        print("==> no newer Python on this machine: only the one of .venv is tested")
        return 0
    version, python = found
    name = ".".join(map(str, version))
    place = ROOT / f".venv-{name}"
    print(f"==> a part of the tests on Python {name}", flush=True)
    uv = shutil.which("uv") or str(ROOT / ".tools" / "bin" / "uv")
    subprocess.run(
        [uv, "venv", "--quiet", "--allow-existing", "--python", python, place], check=True
    )
    target = ["--quiet", "--python", str(place / "bin" / "python")]
    lock = ["--constraint", str(ROOT / "requirements.lock")]
    what = ["--editable", f"{ROOT}[postgres]", *PACKAGES]
    subprocess.run([uv, "pip", "install", *target, *lock, *what], check=True)
    command = [str(place / "bin" / "python"), "-m", "pytest", *OPTIONS, *TESTS]
    status = subprocess.run(command, cwd=ROOT, check=False).returncode
    if status == FAILED:
        print("==> once more: a machine that stalls fails one or another", flush=True)
        status = subprocess.run(command, cwd=ROOT, check=False).returncode
    return status


def newest() -> tuple[tuple[int, int], str] | None:
    """Return version and path of the newest Python that is newer than this one and supported."""
    folders = [Path(one) for one in os.environ.get("PATH", "").split(os.pathsep) if one]
    pythons = [path for folder in folders for path in folder.glob("python3.*")]
    pythons += (Path.home() / ".pyenv" / "versions").glob("*/bin/python3.*")
    found = {}
    for path in pythons:
        if (named := re.fullmatch(r"python(3)\.(\d+)", path.name)) is not None:
            version = (int(named[1]), int(named[2]))
            if sys.version_info[:2] < version <= NEWEST and _runs(path, version):
                found[version] = str(path)
    return max(found.items(), default=None)


def _runs(python: Path, version: tuple[int, int]) -> bool:
    """Whether it is that Python; a shim of a manager may stand for none."""
    command = [str(python), "-c", "import sys; print(*sys.version_info[:2])"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip() == f"{version[0]} {version[1]}"


if __name__ == "__main__":
    sys.exit(main())
