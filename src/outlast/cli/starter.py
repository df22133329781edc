"""`outlast init`: writes an initial project that runs as it is."""

import os
from collections.abc import Mapping
from importlib.resources import files as files_of
from pathlib import Path
from typing import Final

from outlast.model.error import Misconfigured

DATA: Final = ".outlast"
_SCRIPTED: Final = "scripted:script.yaml"
_REAL: Final = "openai-chat:gpt-5-mini"


def write_project(folder: Path, environment: Mapping[str, str] = os.environ) -> list[Path]:
    """Write agents.yaml, outlast.toml and the files that they name; return all files.

    The agent uses OpenAI's API if the environment has a key or an endpoint for it, otherwise a
    script. Raises Misconfigured, and writes nothing, if one of the files exists.
    """
    real = environment.get("OPENAI_API_KEY") or environment.get("OPENAI_BASE_URL")
    names = ["agents.yaml", "outlast.toml", *([] if real else ["script.yaml"])]
    files = {name: _template(name) for name in names}
    if real:
        files["agents.yaml"] = files["agents.yaml"].replace(_SCRIPTED, _REAL)
    there = [name for name in files if (folder / name).exists()]
    if there:
        raise Misconfigured(
            f"Already there: {', '.join(there)}. outlast init overwrites nothing; begin in another "
            "folder: outlast init FOLDER"
        )
    try:
        (folder / DATA).mkdir(mode=0o700, parents=True, exist_ok=True)
        (folder / DATA / ".gitignore").write_text("*\n")
        for name, text in files.items():
            with (folder / name).open("x", encoding="utf-8") as file:
                file.write(text)
    except OSError as error:
        raise Misconfigured(f"{folder} cannot be written: {error.strerror or error}") from error
    return [folder / name for name in files]


def _template(name: str) -> str:
    return (files_of("outlast.cli") / "project" / name).read_text("utf-8")
