"""What pages say of curl, the command line and Python is there: paths, commands and methods."""

import re
import shlex
from pathlib import Path

import pytest

from outlast.client import SyncClient
from outlast.rooms.console.render.commands import ACTIONS, Action
from tests.support.api import Api
from tests.support.console import signed_in
from tests.support.databases import SQLITE

pytestmark = [pytest.mark.anyio, pytest.mark.only(SQLITE)]
COMMANDS = (Path(__file__).parents[3] / "docs" / "commands.md").read_text()


@pytest.mark.parametrize("action", ACTIONS.values(), ids=ACTIONS)
async def test_an_action_is_a_request_a_command_and_a_method(api: Api, action: Action) -> None:
    paths = (await api.get("/openapi.json")).json()["paths"]
    known = {re.sub(r"\{\w+\}", "{}", path): methods for path, methods in paths.items()}
    assert action.method.lower() in known[re.sub(r"\{\w+\}", "{}", action.path)]
    if action.command:
        words = action.command.split(" {")[0]
        assert f"\n## {words}\n" in COMMANDS
        section = COMMANDS.partition(f"\n## {words}\n")[2].partition("\n## ")[0]
        for option in re.findall(r"--\w+", action.command):
            assert f"`{option}`" in section
    (method,) = re.findall(r"client\.(\w+)\(", action.python)
    assert callable(getattr(SyncClient, method))


async def test_a_page_shows_them_with_its_ids_and_without_a_key(api: Api) -> None:
    run = await api.started()
    await api.rested(run)
    reader = await signed_in(api)
    page = await reader.page(f"/console/executions/{run}")
    assert f"outlast executions delete {run}" in page
    assert "client.delete(&#34;" in page
    assert "executions pause" not in page
    assert api.key not in page
    (curl,) = re.findall(r'as curl">(curl [^<]+)<', page)
    words = shlex.split(curl.replace("&#34;", '"').replace("&#39;", "'"))
    assert words[:3] == ["curl", "-X", "DELETE"]
    assert words[3] == f"http://127.0.0.1:8321/v1/executions/{run}"
