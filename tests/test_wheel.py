"""What a user gets who installs the wheel: it says that it is typed, and a type checker agrees."""

import shutil
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Sequence
from pathlib import Path
from typing import Final
from zipfile import ZipFile

import pytest

ROOT: Final = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    _run([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)], ROOT)
    (built,) = folder.glob("*.whl")
    return built


def test_the_wheel_holds_the_mark_of_a_typed_package_and_every_module(wheel: Path) -> None:
    sources = {
        str(path.relative_to(ROOT / "src"))
        for path in (ROOT / "src" / "outlast").rglob("*")
        if path.suffix in {".py", ".typed"}
    }
    with ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if name.startswith("outlast/")}
    assert "outlast/py.typed" in packed
    assert sources <= packed
    assert not [name for name in packed if "/golden/" in name]


def test_a_wheel_that_is_built_again_elsewhere_is_the_same_byte_for_byte(
    wheel: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    for name in ("src", "docs", "pyproject.toml", "README.md", "LICENSE"):
        if (ROOT / name).is_dir():
            shutil.copytree(
                ROOT / name,
                copy / name,
                copy_function=shutil.copyfile,
                ignore=shutil.ignore_patterns("__pycache__"),
            )
        else:
            shutil.copyfile(ROOT / name, copy / name)
    _run([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)], copy)
    assert (tmp_path / wheel.name).read_bytes() == wheel.read_bytes()


def test_mypy_knows_the_types_of_an_installed_wheel(wheel: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    venv.create(home, with_pip=False)
    packages = sysconfig.get_path("purelib", "venv", {"base": str(home), "platbase": str(home)})
    with ZipFile(wheel) as archive:
        archive.extractall(packages)
    user = tmp_path / "user.py"
    user.write_text(
        "from outlast import Agent\n"
        "from outlast.client import Client\n"
        "Agent(7, model='scripted:x.yaml')\n"
        "Client('http://127.0.0.1', 7)\n"
        "from outlast_client import Frame, SyncClient\n"
        "def said(frame: Frame) -> str:\n"
        "    match frame.type:\n"
        "        case 'text_delta':\n"
        "            return frame.data['text']\n"
        "        case 'done':\n"
        "            return frame.data['text']\n"
        "        case 'text':\n"
        "            return ''\n"
        "        case _:\n"
        "            return str(frame.data.get('executionId'))\n"
        "def read(client: SyncClient) -> int:\n"
        "    raw = client.with_raw()\n"
        "    raw.with_options(retries=0).agents()\n"
        "    return raw.response.headers\n"
    )
    checked = subprocess.run(
        [
            *(sys.executable, "-m", "mypy", "--config-file=", "--cache-dir", str(tmp_path / "c")),
            *("--python-executable", str(home / "bin" / "python"), str(user)),
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert "import-untyped" not in checked.stdout, checked.stdout
    assert "user.py:3: error: Argument 1" in checked.stdout, checked.stdout + checked.stderr
    assert "user.py:4: error: Argument 2" in checked.stdout
    assert 'user.py:11: error: TypedDict "DoneData" has no key "text"' in checked.stdout
    assert "user.py:19: error: Incompatible return value type" in checked.stdout
    assert "Found 4 errors" in checked.stdout, checked.stdout


def _run(command: Sequence[str], folder: Path) -> None:
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
