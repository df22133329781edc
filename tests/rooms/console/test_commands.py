"""What pages say of curl, the command line and Python is there: paths, commands and methods."""

import re
import shlex
from html import unescape
from pathlib import Path

import pytest

from outlast.client import SyncClient
from outlast.rooms.console.render.commands import ACTIONS, Action
from tests.support.api import Api, MakeApi
from tests.support.console import signed_in
from tests.support.databases import SQLITE
from tests.support.models import FakeModel, by_turn
from tests.support.tools import call, spec, tool

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
        for option in re.findall(r"--[\w-]+", action.command):
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


async def test_several_at_once_have_a_line_for_each(make_api: MakeApi) -> None:
    api = await make_api(
        FakeModel(by_turn([call(1, "pay")], ["Paid."])), agent=spec(tool("pay", approval=True))
    )
    runs = [await api.started() for _ in range(2)]
    for run in runs:
        await api.rested(run)
    reader = await signed_in(api)
    choice = "&".join(f"id={run}" for run in runs)
    shown = lines(await reader.page(f"/console/chosen?do=cancel&{choice}"))
    assert shown["command"] == [f"outlast executions cancel {run}" for run in runs]
    assert [line.split()[3].rpartition("/executions/")[2] for line in shown["curl"]] == [
        f"{run}/cancel" for run in runs
    ]
    calls = "&".join(f"call={run}/{call(1, 'pay').id}" for run in runs)
    page = await reader.page(f"/console/approvals/chosen?do=approve&{calls}")
    assert lines(page)["command"] == [f"outlast approve {run} {call(1, 'pay').id}" for run in runs]
    done = await reader.send("/console/chosen", do="cancel", id=runs)
    assert "as curl" not in done.text


async def test_a_budget_is_set_and_removed_by_requests_too(api: Api) -> None:
    reader = await signed_in(api)
    page = await reader.page(f"/console/budgets/{api.caller.workspace_id}")
    assert lines(page)["command"] == ["outlast budgets set workspace --max-credits 5"]
    assert "budgets remove" not in page
    (curl,) = lines(page)["curl"]
    words = shlex.split(curl)
    path, body = words[3].removeprefix("http://127.0.0.1:8321"), words[words.index("-d") + 1]
    assert (words[2], path) == ("PUT", "/v1/budgets/workspace")
    assert (await api.client.put(path, content=body)).status_code == 200
    page = await reader.page(f"/console/budgets/{api.caller.workspace_id}")
    assert "outlast budgets remove workspace" in page
    assert "client.remove_budget(&#34;workspace&#34;)" in page


async def test_a_filter_is_saved_and_removed_by_commands_too(api: Api) -> None:
    reader = await signed_in(api)
    q = "agent:agent status:failed,completed"
    page = f"/console/executions?q={q}"
    shown = lines(await reader.page(page))
    assert shown["command"] == [f"outlast views save mine '{q}'"]
    assert shown["python"] == [f'client.put_view("mine", "{q}")']
    words = shlex.split(shown["curl"][0])
    path, body = words[3].removeprefix("http://127.0.0.1:8321"), words[words.index("-d") + 1]
    assert (await api.client.put(path, content=body)).status_code == 200
    assert lines(await reader.page(page))["command"] == ["outlast views remove mine"]
    assert "as curl" not in await reader.page("/console/executions")


def lines(page: str) -> dict[str, list[str]]:
    """The lines of a page's first action, by where they are run."""
    names = {"curl": "as curl", "command": "on the command line", "python": "in Python"}
    found = {key: re.search(rf'{name}">([^<]+)<', page) for key, name in names.items()}
    return {key: unescape(one[1]).splitlines() for key, one in found.items() if one}
