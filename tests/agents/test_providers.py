"""Providers that the operator names: found by model strings, with all that is said of them."""

from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from outlast import settings
from outlast.agents.loader import LoadedAgents, load
from outlast.agents.port import Answer
from outlast.agents.readiness import not_ready
from outlast.model.error import Misconfigured
from outlast.model.provider import ProviderSpec, read_providers
from tests.support.authority import authority
from tests.support.provider import FakeProvider
from tests.support.providers import REQUEST, answered, catalogue
from tests.support.tunnel_proxy import TunnelProxy

pytestmark = pytest.mark.anyio


def written(folder: Path, providers: str) -> LoadedAgents:
    file = folder / "agents.yaml"
    file.write_text(f"agents:\n  - {{name: one, model: 'left:words-3'}}\n{providers}")
    return load(str(file))


async def test_two_providers_behind_two_urls_get_each_what_is_said_of_it(tmp_path: Path) -> None:
    async with FakeProvider() as left, FakeProvider() as right:
        loaded = written(
            tmp_path,
            f"""providers:
  left:
    baseUrl: {left.url}/
    apiKey: ${{LEFT_KEY}}
    headers: {{X-Title: "shop ${{SHOP}}"}}
    extraBody: {{reasoning_effort: low, temperature: null, provider: {{order: [a, b]}}}}
  right: {{kind: openai-chat, baseUrl: {right.url}}}
""",
        )
        models = catalogue(loaded.providers, tmp_path, LEFT_KEY=" sk-left ", SHOP="7")
        assert await answered(models, "left:words-3") == "fake-1"
        assert await answered(models, "right:org/words-2") == "fake-1"
        await models.close()
    (request,), (other,) = left.requests, right.requests
    assert request["reasoning_effort"] == "low"
    assert request["provider"] == {"order": ["a", "b"]}
    assert "temperature" not in request
    assert (other["temperature"], other["model"]) == (0.5, "org/words-2")
    assert b"authorization: bearer sk-left\r\n" in left.headers[0].lower()
    assert b"x-title: shop 7" in left.headers[0].lower()
    assert b"authorization" not in right.headers[0].lower()


async def test_a_provider_wins_over_the_environment_of_its_name(tmp_path: Path) -> None:
    async with FakeProvider() as provider:
        spec = ProviderSpec("openai-chat", base_url=provider.url)
        nowhere = "http://127.0.0.1:9/v1"
        models = catalogue({"openai-chat": spec}, tmp_path, OPENAI_BASE_URL=nowhere)
        assert await answered(models, "openai-chat:words-1") == "fake-1"
        await models.close()


async def test_a_variable_that_is_not_set_is_named_before_the_first_run(tmp_path: Path) -> None:
    loaded = written(
        tmp_path, "providers: {left: {baseUrl: 'https://x.example/v1', apiKey: '${LEFT_KEY}'}}"
    )
    models = catalogue(loaded.providers, tmp_path)
    (problem,) = not_ready(loaded.specs, models, {})
    assert str(problem) == (
        'agent "one": The provider left needs LEFT_KEY in the environment of the process that runs '
        "the agent: export LEFT_KEY=…"
    )


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("baseUrl", "http://["),
        ("baseUrl", "ftp://hunter22.example/v1"),
        ("apiKey", "hunter22\nX-Other: a"),
        ("proxy", "hunter22"),
        ("caFile", "hunter22\ta"),
        ("headers", "hunter22\r\nX-Other: a"),
    ],
)
def test_a_variable_that_holds_what_cannot_be_is_named_without_its_value(
    tmp_path: Path, key: str, value: str
) -> None:
    filled_in = {"X-Pass": "${VALUE}"} if key == "headers" else "${VALUE}"
    table = {"left": {"baseUrl": "https://x.example/v1"} | {key: filled_in}}
    models = catalogue(read_providers(table), tmp_path, VALUE=f"{value}\u2603")
    with pytest.raises(Misconfigured) as raised:
        models.find("left:m")
    assert raised.value.message.startswith(f"The provider left, its variables filled in: {key}: ")
    assert "hunter22" not in raised.value.message


@pytest.mark.parametrize("url", ["http://[", "http://h:x/v1", "http://h:0/v1"])
def test_a_url_of_the_environment_that_cannot_be_is_refused(tmp_path: Path, url: str) -> None:
    with pytest.raises(Misconfigured, match="OPENAI_BASE_URL is not a URL"):
        catalogue({}, tmp_path, OPENAI_BASE_URL=url).find("openai-chat:m")


@pytest.mark.parametrize("proxy", ["http://[", "http://h:x"])
def test_a_proxy_of_the_environment_that_cannot_be_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, proxy: str
) -> None:
    monkeypatch.setenv("http_proxy", proxy)
    with pytest.raises(Misconfigured, match="proxy"):
        catalogue({}, tmp_path, OPENAI_BASE_URL="http://x.example/v1").find("openai-chat:m")


def test_a_value_that_an_sdk_refuses_is_a_mistake_of_the_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANTHROPIC_BASE_URL", "http://h:x/v1")
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-a")
    with pytest.raises(Misconfigured, match="cannot be created"):
        catalogue({}, tmp_path).find("anthropic:m")


@pytest.mark.parametrize("port", [9, None])
async def test_a_proxy_is_used_where_it_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, port: int | None
) -> None:
    async with FakeProvider() as provider:
        monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
        monkeypatch.setenv("no_proxy", "")
        through = provider.url.removesuffix("/v1")
        proxied = ProviderSpec("left", base_url="http://models.invalid/v1", proxy=through)
        direct = ProviderSpec("left", base_url=provider.url, proxy="")
        models = catalogue({"left": proxied if port else direct}, tmp_path)
        assert await answered(models, "left:words-1") == "fake-1"
        await models.close()


async def test_a_provider_behind_an_authority_of_ones_own_is_trusted(tmp_path: Path) -> None:
    context = authority(tmp_path)
    async with FakeProvider(tls=context) as provider:
        base = provider.url.replace("http://", "https://")
        loaded = written(tmp_path, f"providers: {{left: {{baseUrl: '{base}', caFile: ca.pem}}}}")
        models = catalogue(loaded.providers, tmp_path)
        assert await answered(models, "left:words-1") == "fake-1"
        await models.close()
        (tmp_path / "ca.pem").write_text("nothing of the kind")
        with pytest.raises(Misconfigured, match=r"ca\.pem holds no certificates in PEM"):
            catalogue(loaded.providers, tmp_path).find("left:words-1")


async def test_the_environments_proxy_sees_the_calls_of_models(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("no_proxy", "")
    async with (
        FakeProvider(tls=authority(tmp_path)) as provider,
        TunnelProxy() as proxy,
    ):
        monkeypatch.setenv("https_proxy", proxy.url)
        base = provider.url.replace("http://", "https://")
        for kind in ("openai-chat", "ollama"):
            given = f"{{kind: {kind}, baseUrl: '{base}', apiKey: k, caFile: ca.pem}}"
            models = catalogue(
                written(tmp_path, f"providers: {{left: {given}}}").providers, tmp_path
            )
            assert await answered(models, "left:words-1") == "fake-1"
            await models.close()
    place = base.removeprefix("https://").removesuffix("/v1")
    assert proxy.lines == [f"CONNECT {place} HTTP/1.1"] * 2


async def test_a_provider_of_the_bridge_has_a_url_of_its_own(tmp_path: Path) -> None:
    async with FakeProvider() as provider:
        spec = ProviderSpec(
            "left",
            "ollama",
            base_url=provider.url,
            api_key="sk-left",
            headers={"X-Title": "shop"},
            extra_body={"keep_alive": -1},
        )
        models = catalogue({"left": spec}, tmp_path)
        assert models.kind("left:words-2") == "ollama"
        assert await answered(models, "left:words-2") == "fake-1"
        await models.close()
    assert provider.requests[0]["keep_alive"] == -1
    assert b"authorization: bearer sk-left" in provider.headers[0].lower()
    assert b"x-title: shop" in provider.headers[0].lower()


@pytest.mark.parametrize(
    ("spec", "complaint"),
    [
        (ProviderSpec("left", "deepseek", "https://x.example"), "takes no baseUrl"),
        (ProviderSpec("left", "groq", api_key="k", proxy="http://p:1"), "takes no proxy or caFile"),
        (ProviderSpec("left", "nonsense"), "nonsense:m' is not known"),
    ],
)
def test_what_a_kind_does_not_take_is_refused_by_name(
    tmp_path: Path, spec: ProviderSpec, complaint: str
) -> None:
    with pytest.raises(Misconfigured, match=complaint):
        catalogue({"left": spec}, tmp_path).find("left:m")


async def test_providers_change_in_a_server_that_goes_on(tmp_path: Path) -> None:
    async with FakeProvider() as left, FakeProvider() as right:
        models = catalogue({"a": ProviderSpec("a", base_url=left.url)}, tmp_path)
        running = models.find("a:words-3-5").stream(REQUEST)
        await anext(running)
        models.use({"a": ProviderSpec("a", base_url=right.url)})
        assert await answered(models, "a:words-1") == "fake-1"
        assert isinstance([event async for event in running][-1], Answer)
        assert (len(left.requests), len(right.requests)) == (1, 1)
        models.use({})
        with pytest.raises(Misconfigured, match="'a:words-1' is not known"):
            models.find("a:words-1")
        await models.close()


async def test_a_model_that_was_replaced_is_closed_with_the_others(tmp_path: Path) -> None:
    spec = ProviderSpec("left", "ollama", "http://127.0.0.1:9/v1", api_key="sk-left")
    models = catalogue({"left": spec}, tmp_path)
    replaced: Any = models.find("left:words-2")
    models.use({})
    assert not replaced._model.client.is_closed()
    await models.close()
    assert replaced._model.client.is_closed()


WRONG: list[tuple[Any, str]] = [
    ([], "providers: must be a table of providers, not a list"),
    ({"a": 5}, "providers.a: must be a table of keys, not a number"),
    (
        {"a": {"baseurl": "https://x"}},
        "providers.a.baseurl: unknown key; known keys: kind, baseUrl",
    ),
    ({"a": {}}, "providers.a: the key baseUrl is missing, as https://host/v1"),
    ({"a": {"baseUrl": "x.example"}}, "providers.a.baseUrl: must be a URL like https://host/v1"),
    ({"a": {"baseUrl": ""}}, "providers.a.baseUrl: must be text that is not empty"),
    ({"local": {"baseUrl": "https://x"}}, "providers.local: local: is a kind of model that runs"),
    ({"a:b": {"baseUrl": "https://x"}}, "providers.a:b: a provider's name is text without colons"),
    ({"a": {"kind": "groq", "headers": {"X Y": "z"}}}, "'X Y' is not the name of a header"),
    ({"a": {"kind": "groq", "headers": {"X": 1}}}, "X: must be text on one line, not a number"),
    ({"a": {"kind": "groq", "extraBody": {"model": "m"}}}, "model: is written by Outlast"),
    ({"a": {"kind": "groq", "proxy": "socks5://x"}}, "must be a URL like http://host:3128"),
    ({"a": {"kind": "groq", "timeout": 0}}, "must be a number of seconds above 0"),
    ({"a": {"kind": "groq", "timeout": True}}, "must be a number of seconds above 0"),
    ({"a": {"kind": "groq", "timeout": Decimal("NaN")}}, "must be a number of seconds above 0"),
    ({"a": {"kind": "groq", "timeout": 10**400}}, "must be a number of seconds above 0"),
    ({"a": {"baseUrl": "http://["}}, "providers.a.baseUrl: must be a URL like https://host/v1"),
    ({"a": {"baseUrl": "http://h:99999/v1"}}, "must be a URL like https://host/v1"),
    ({"a": {"baseUrl": "https://h/\nv1"}}, "must be a URL like https://host/v1"),
    ({"a": {"kind": "groq", "proxy": "http://["}}, "must be a URL like http://host:3128"),
    ({"a": {"kind": "groq", "proxy": "http://"}}, "must be a URL like http://host:3128"),
    ({"a": {"kind": "local"}}, "providers.a.kind: local runs here, at no provider"),
    ({"a": {"kind": "scripted"}}, "write the model as scripted:NAME"),
    ({"a": {"kind": "groq:x"}}, "a kind has no colon"),
    ({1: {"baseUrl": "https://x"}}, "providers.1: a provider's name is text"),
    ({"a": {"kind": "groq", "headers": {"": "z"}}}, "'' is not the name of a header"),
    ({"a": {"kind": "groq", "headers": {"a(b": "z"}}}, "'a(b' is not the name of a header"),
    ({"a": {"kind": "groq", "headers": {"X": "\u2603"}}}, "X: must be printable ASCII"),
    ({"a": {"kind": "groq", "apiKey": "a\nb"}}, "providers.a.apiKey: must be printable ASCII"),
    ({"a": {"kind": "groq", "extraBody": {"x": date(2026, 1, 1)}}}, "extraBody: must be JSON"),
    ({"a": {"kind": "groq", "extraBody": {"x": 1 << 70}}}, "extraBody: must be JSON"),
    ({"a": {"kind": "groq", "caFile": "a\0b"}}, "caFile: must be the path of a file"),
]


@pytest.mark.parametrize(("table", "complaint"), WRONG)
def test_a_mistake_names_its_place_and_what_mends_it(table: Any, complaint: str) -> None:
    with pytest.raises(Misconfigured) as raised:
        read_providers(table)
    assert complaint in raised.value.message


def test_all_mistakes_of_a_file_are_said_at_once_with_their_lines(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured) as raised:
        written(tmp_path, "providers:\n  a: {baseUrl: 5}\n  b:\n    timeout: -1\n    x: 1\n")
    lines = raised.value.message.splitlines()
    assert [line.split(": ", 1)[0].rpartition(":")[2] for line in lines] == ["4", "6", "7", "5"]


def test_the_settings_name_providers_too(tmp_path: Path) -> None:
    (tmp_path / "outlast.toml").write_text(
        '[providers.left]\nbaseUrl = "https://x.example/v1"\ntimeout = 2.5\n'
        "extraBody = {top_k = 40, min_p = 0.1}\n"
    )
    spec = settings.load(environment={}, folder=tmp_path).providers["left"]
    assert (spec.base_url, spec.timeout) == ("https://x.example/v1", 2.5)
    assert spec.extra_body == {"top_k": 40, "min_p": 0.1}


def test_a_module_of_agents_names_providers(tmp_path: Path) -> None:
    file = tmp_path / "agents_with_providers.py"
    file.write_text(
        "from outlast import Agent\n"
        "providers = {'left': {'baseUrl': 'https://x.example/v1'}}\n"
        "one = Agent('one', model='left:m')\n"
    )
    assert load(str(file)).providers["left"].base_url == "https://x.example/v1"
