"""Tests on another Python than that of `.venv`: `make test-newest`, `make test-on-3.13`.

Each Python has an environment of its own, such as `.venv-3.13`. With a version, all tests run on
it, with all that requirements.lock names; without one, a part runs on the newest Python of this
machine that Outlast supports, if that is newer, with the server and what these tests need.
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
PART: Final = (
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
"""What the part needs beside the server."""
Version = tuple[int, int]


def main(arguments: list[str]) -> int:
    """Run all tests on the version named first, with pytest's options behind it, else the part."""
    if not arguments:
        return _part()
    name, *options = arguments
    found = re.fullmatch(r"(3)\.(\d+)", name)
    if found is None:
        print(f"{name} is no version of Python such as 3.13")
        return 2
    return _all((int(found[1]), int(found[2])), options)


def _part() -> int:
    """Run it; return pytest's exit code, 0 without a newer Python."""
    newer = [one for one in pythons().items() if sys.version_info[:2] < one[0] <= NEWEST]
    if not newer:
        print("==> no newer Python on this machine: only the one of .venv is tested")
        return 0
    version, path = max(newer)
    python = _environment(version, path)
    lock = ["--constraint", str(ROOT / "requirements.lock")]
    _uv("pip", "install", "--python", python, *lock, "-e", f"{ROOT}[postgres]", *PACKAGES)
    print(f"==> a part of the tests on Python {_name(version)}", flush=True)
    command = [python, "-m", "pytest", *OPTIONS, *PART]
    status = subprocess.run(command, cwd=ROOT, check=False).returncode
    if status == FAILED:
        print("==> once more: a machine that stalls fails one or another", flush=True)
        status = subprocess.run(command, cwd=ROOT, check=False).returncode
    return status


def _all(version: Version, options: list[str]) -> int:
    """Run them; return pytest's exit code. uv fetches a Python that this machine lacks."""
    python = _environment(version, pythons().get(version, _name(version)))
    print(f"==> installing all that the tests need for Python {_name(version)}", flush=True)
    _uv("pip", "sync", "--python", python, str(ROOT / "requirements.lock"))
    _uv("pip", "install", "--python", python, "--no-deps", "--no-build-isolation", "-e", str(ROOT))
    command = [python, "-m", "tests.support.whole", *options]
    return subprocess.run(command, cwd=ROOT, check=False).returncode


def _environment(version: Version, python: str) -> str:
    """Make it; return the path of its Python."""
    place = ROOT / f".venv-{_name(version)}"
    _uv("venv", "--allow-existing", "--python", python, str(place))
    return str(place / "bin" / "python")


def _uv(*arguments: str) -> None:
    uv = shutil.which("uv") or str(ROOT / ".tools" / "bin" / "uv")
    subprocess.run([uv, "--quiet", *arguments], check=True)


def _name(version: Version) -> str:
    return ".".join(map(str, version))


def pythons() -> dict[Version, str]:
    """Return the path of each Python of this machine, by version."""
    folders = [Path(one) for one in os.environ.get("PATH", "").split(os.pathsep) if one]
    paths = [path for folder in folders for path in folder.glob("python3.*")]
    paths += (Path.home() / ".pyenv" / "versions").glob("*/bin/python3.*")
    found = {}
    for path in paths:
        if (named := re.fullmatch(r"python(3)\.(\d+)", path.name)) is not None:
            version = (int(named[1]), int(named[2]))
            if _runs(path, version):
                found[version] = str(path)
    return found


def _runs(python: Path, version: Version) -> bool:
    """Whether it is that Python; a shim of a manager may stand for none."""
    command = [str(python), "-c", "import sys; print(*sys.version_info[:2])"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip() == f"{version[0]} {version[1]}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
