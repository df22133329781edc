"""The files in examples/deploy are what they say: settings, command lines, units, time-outs."""

import re
import shlex
import shutil
import subprocess
from configparser import ConfigParser
from dataclasses import fields
from pathlib import Path
from typing import Any, Final

import pytest
import typer
import yaml

from outlast.agents.loader import load
from outlast.cli.commands import app as commands
from outlast.settings import Settings

ROOT: Final = Path(__file__).parent.parent
DEPLOY: Final = ROOT / "examples" / "deploy"
UNITS: Final = sorted(DEPLOY.glob("*.service"))
SPARE_SECONDS: Final = 10
"""That a process may need to leave, beyond its drain."""


def unit(path: Path) -> ConfigParser:
    parser = ConfigParser(interpolation=None, strict=False)
    parser.optionxform = str  # type: ignore[assignment,method-assign] # systemd's names keep their case
    parser.read(path)
    return parser


def services() -> dict[str, Any]:
    composed: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    found: dict[str, Any] = composed["services"]
    return found


def settings() -> dict[str, str]:
    return dict(
        line.split("=", 1)
        for line in (DEPLOY / "outlast.env").read_text().splitlines()
        if line and not line.startswith("#")
    )


def command_lines() -> list[str]:
    of_units = [unit(path)["Service"]["ExecStart"] for path in UNITS]
    of_compose = ["outlast " + one["command"] for one in services().values() if "build" in one]
    return [re.sub(r"^\S+/", "", line).replace("%i", "1") for line in (*of_units, *of_compose)]


def test_every_setting_that_is_named_is_one() -> None:
    known = {f"OUTLAST_{field.name.upper()}" for field in fields(Settings)}
    text = "".join(path.read_text() for path in DEPLOY.iterdir())

    assert {"OUTLAST_SECRET_KEY", "OUTLAST_DATABASE_URL"} <= set(re.findall(r"OUTLAST_\w+", text))
    assert set(re.findall(r"OUTLAST_\w+", text)) <= known


@pytest.mark.parametrize("line", command_lines())
def test_every_command_line_is_one_that_exists(line: str) -> None:
    name, command, *arguments = shlex.split(line)
    assert name == "outlast"
    group: Any = typer.main.get_command(commands)
    group.commands[command].make_context(command, arguments)


def test_there_are_two_api_processes_and_three_workers_behind_the_proxy() -> None:
    found = services()
    doors = found["proxy"]["environment"]["UPSTREAMS"].split()

    assert doors == ["api1:8321", "api2:8321"]
    assert all("--no-worker" in found[door.partition(":")[0]]["command"] for door in doors)
    assert found["worker"]["deploy"]["replicas"] == 3
    assert (DEPLOY / "Caddyfile").exists()
    assert load(str(DEPLOY / "agents.yaml")).specs


def test_a_process_has_time_to_drain() -> None:
    drain = float(settings()["OUTLAST_DRAIN_SECONDS"])
    for path in UNITS:
        assert float(unit(path)["Service"]["TimeoutStopSec"]) > drain + SPARE_SECONDS
    for one in services().values():
        if "build" in one:
            drain = float(one["environment"]["OUTLAST_DRAIN_SECONDS"])
            assert float(one["stop_grace_period"].removesuffix("s")) > drain + SPARE_SECONDS


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.name)
def test_systemd_takes_the_units(path: Path, tmp_path: Path) -> None:
    assert {"Unit", "Service", "Install"} <= set(unit(path))
    if (analyze := shutil.which("systemd-analyze")) is None:
        return
    instance = tmp_path / path.name.replace("@", "@1")
    programs = r"/opt/outlast/bin/outlast|/usr/bin/curl"
    instance.write_text(re.sub(programs, "/bin/true", path.read_text()))
    done = subprocess.run(
        [analyze, "verify", str(instance)], capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("language", "file"), [("nginx", "nginx.conf"), ("caddyfile", "Caddyfile")]
)
def test_the_document_shows_what_the_files_say(language: str, file: str) -> None:
    text = (ROOT / "docs" / "operations.md").read_text()
    shown = re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)

    assert shown
    assert all(block in (DEPLOY / file).read_text() for block in shown)
