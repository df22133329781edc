"""`outlast memory`: the same in the database, and through a server."""

import asyncio
import signal
import sqlite3
from collections.abc import Callable
from contextlib import closing

import orjson
import pytest

from tests.support.command_line import CommandLine
from tests.support.databases import SQLITE
from tests.support.embeddings import EmbeddingProvider
from tests.support.waiting import until_found

pytestmark = pytest.mark.anyio

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
    code, out, err = outlast("memory", "redact", "customers", "bob", "2")
    assert (code, "write or delete the item" in err) == (1, True)
    code, out, err = outlast("memory", "redact", "customers", "bob", "1")
    assert (code, out) == (0, "Version 1 of bob is redacted.\n"), err
    versions = [
        line.split("\t")
        for line in outlast("memory", "versions", "customers", "bob")[1].splitlines()
    ]
    assert [(row[0], row[-1][:9]) for row in versions] == [("2", "Green tea"), ("1", "(redacted")]
    code, _, err = outlast("memory", "show", "unknown")
    assert (code, "outlast memory list" in err) == (1, True)
    code, _, err = outlast("memory", "put", "customers", "a//b", "x")
    assert (code, "no empty part" in err) == (2, True)
    for name in ("", "n" * 256):
        code, _, err = outlast("memory", "create", name)
        assert (code, "name: " in err) == (2, True)
    assert len(outlast("memory", "list")[1].splitlines()) == 1


async def test_a_store_with_an_embedding_model_is_searched_by_meaning(
    command_line: CommandLine, outlast: Outlast
) -> None:
    async with EmbeddingProvider() as provider:
        command_line.environment["OPENAI_BASE_URL"] = provider.url
        command_line.serve()

        def run(*words: str) -> tuple[int, str, str]:
            return outlast("memory", *words)

        model = "openai-embeddings:small"
        made = await asyncio.to_thread(run, "create", "notes", "--embedding", model)
        assert made[0] == 0, made[2]
        code, _, err = await asyncio.to_thread(run, "create", "other", "--embedding", "small")
        assert (code, "names no kind" in err) == (2, True)
        await asyncio.to_thread(run, "put", "notes", "rex", "A hound")

        async def embedded() -> bool:
            listed = (await asyncio.to_thread(run, "list", "--json"))[1]
            return bool(orjson.loads(listed)[0]["embedding"]["pending"] == 0)

        await until_found(embedded)
        assert model in (await asyncio.to_thread(run, "list"))[1]
        for mode, keys in (("semantic", ["rex"]), ("hybrid", ["rex"]), ("text", [])):
            words = ("search", "notes", "puppy", "--mode", mode, "--json")
            found = orjson.loads((await asyncio.to_thread(run, *words))[1])
            assert [item["key"] for item in found] == keys
        provider.status = 503
        _, out, err = await asyncio.to_thread(run, "search", "notes", "hound", "--json")
        assert orjson.loads(out)[0]["key"] == "rex"
        assert "503" in err
        code, _, err = await asyncio.to_thread(run, "search", "notes", "x", "--mode", "fuzzy")
        assert code != 0


@pytest.mark.only(SQLITE)
async def test_what_is_embedded_without_a_server_is_charged_and_bounded_by_the_budget(
    command_line: CommandLine, outlast: Outlast
) -> None:
    prices = '[prices.models]\n"openai-embeddings:small" = {input = 1000000, output = 0}\n'
    (command_line.folder / "outlast.toml").write_text(prices)
    async with EmbeddingProvider() as provider:
        command_line.environment["OPENAI_BASE_URL"] = provider.url
        server = command_line.serve()
        client = server.client(command_line.key)
        bounds = {"maxTokens": 12}
        assert client.put("/v1/budgets/workspace", json=bounds).status_code == 200
        server.stop(signal.SIGTERM)

        def run(*words: str) -> tuple[int, str, str]:
            return outlast("memory", *words)

        embedding = ("--embedding", "openai-embeddings:small")
        assert (await asyncio.to_thread(run, "create", "notes", *embedding))[0] == 0
        words = ("put", "notes", "rex", "A hound")
        assert (await asyncio.to_thread(run, *words))[0] == 0
        semantic = ("search", "notes", "puppy", "--mode", "semantic")
        assert (await asyncio.to_thread(run, *semantic))[0] == 0
        with closing(sqlite3.connect(command_line.data / "outlast.db")) as database:
            charged = database.execute("SELECT input_tokens, credits FROM charges ORDER BY id")
            assert charged.fetchall() == [(3, 3 * 10**9), (7, 7 * 10**9)]
            spent = "SELECT sum(spent_tokens), sum(reserved_tokens) FROM budget_shares"
            assert database.execute(spent).fetchone() == (10, 0)
        for refused in (("put", "notes", "rex", "Another hound"), ("search", "notes", "x" * 12)):
            code, _, err = await asyncio.to_thread(run, *refused)
            assert (code, "The budget of the workspace, 12 tokens, is spent" in err) == (1, True)
        assert len(provider.requests) == 1
