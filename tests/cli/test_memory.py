"""`outlast memory`: the same in the database, and through a server."""

from collections.abc import Callable

import orjson
import pytest

from tests.support.command_line import CommandLine

Outlast = Callable[..., tuple[int, str, str]]


@pytest.mark.parametrize("served", [False, True], ids=["database", "server"])
def test_memory_is_written_shown_searched_and_exported(
    command_line: CommandLine, outlast: Outlast, served: bool
) -> None:
    if served:
        command_line.serve()
    else:
        outlast("workspaces", "create", "default")
        command_line.environment["OUTLAST_API_KEY"] = "sk_outlast_unused"
    code, out, err = outlast("memory", "create", "customers", "--description", "What they like")
    assert (code, out.split("\t")[0]) == (0, "customers"), err
    assert ("database instead" in err) is not served
    store = out.split("\t")[1].strip()
    for key, text in (("anna", "Café crème"), ("bob", "Tea"), ("bob", "Green tea")):
        code, out, err = outlast("memory", "put", "customers", key, text)
        assert (code, out.split("\t")[0]) == (0, key), err
    assert "customers" in outlast("memory", "list")[1]
    assert orjson.loads(outlast("memory", "list", "--json")[1])[0]["items"] == 2
    assert outlast("memory", "show", store, "anna")[1] == "Café crème\n"
    shown = outlast("memory", "show", "customers")[1]
    assert [line.split()[0] for line in shown.splitlines()[-2:]] == ["anna", "bob"]
    found = orjson.loads(outlast("memory", "search", "customers", "CAFE", "--json")[1])
    assert [item["key"] for item in found] == ["anna"]
    lines = outlast("memory", "export", "customers")[1].splitlines()
    exported = [orjson.loads(line) for line in lines]
    assert [(item["key"], item["content"], item["version"]) for item in exported] == [
        ("anna", "Café crème", 1),
        ("bob", "Green tea", 2),
    ]
    code, _, err = outlast("memory", "show", "unknown")
    assert (code, "outlast memory list" in err) == (1, True)
    code, _, err = outlast("memory", "put", "customers", "a//b", "x")
    assert (code != 0, "no empty part" in err) == (True, True)
