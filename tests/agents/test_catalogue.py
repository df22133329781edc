"""Model strings, found or refused with what mends it."""

import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest

from outlast.agents.models.bridge import PROVIDERS
from outlast.agents.models.catalogue import ModelCatalogue
from outlast.agents.models.openai_chat import OpenAIChat
from outlast.agents.models.scripted import ScriptedModel
from outlast.agents.port import Answer, ModelRequest
from outlast.model.clock import SystemClock
from outlast.model.error import Misconfigured
from outlast.model.message import UserMessage
from tests.support.provider import FakeProvider

pytestmark = pytest.mark.anyio


def catalogue(path: Path, **environment: str) -> ModelCatalogue:
    return ModelCatalogue(SystemClock(), path, environment=environment)


async def test_a_model_is_made_once_and_models_share_their_connections(tmp_path: Path) -> None:
    async with FakeProvider() as provider:
        models = catalogue(tmp_path, OPENAI_BASE_URL=provider.url)
        first, second = models.find("openai-chat:words-3"), models.find("openai-chat:words-5:x")
        assert isinstance(first, OpenAIChat)
        assert models.find("openai-chat:words-3") is first
        for model in (first, second):
            request = ModelRequest("", (UserMessage("Hello"),))
            assert [isinstance(event, Answer) async for event in model.stream(request)][-1]
        assert [request["model"] for request in provider.requests] == ["words-3", "words-5:x"]
        assert provider.connection_count == 1
        assert b"authorization" not in provider.headers[0]
        await models.close()
        await provider.wait_idle()


async def test_warming_up_opens_the_endpoint_and_asks_nothing_of_it(tmp_path: Path) -> None:
    async with FakeProvider() as provider:
        models = catalogue(tmp_path, OPENAI_BASE_URL=provider.url)
        for _ in range(2):
            await models.warm_up()
        assert provider.connection_count == 0
        await models.close()
    await catalogue(tmp_path).warm_up()


def test_the_providers_known_without_pydantic_ai_are_those_it_knows() -> None:
    providers = pytest.importorskip("pydantic_ai.providers")
    for name in PROVIDERS:
        try:
            providers.infer_provider_class(name)
        except ImportError:  # known, and its SDK is not installed
            continue
    named = get_args(pytest.importorskip("pydantic_ai.models").KnownModelName.__value__)
    kinds = {name.partition(":")[0].removeprefix("gateway/") for name in named if ":" in name}
    assert kinds - {"openai-chat", "test"} <= PROVIDERS


async def test_a_script_is_found_by_its_path(tmp_path: Path) -> None:
    path = tmp_path / "script.yaml"
    path.write_text("turns: [{steps: [{text: Hi}]}]")
    assert isinstance(catalogue(tmp_path).find(f"scripted:{path}"), ScriptedModel)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("openai-chat:gpt-5-mini", "OPENAI_API_KEY"),
        ("scripted:/nowhere.yaml", "/nowhere.yaml"),
        (
            "gpt-5-mini",
            r"names no kind\. Did you mean openai-chat:gpt-5-mini\? Known: openai-chat:",
        ),
        ("claude-opus", "Did you mean anthropic:claude-opus"),
        ("other", r"names no kind\. Known: openai-chat:"),
        ("openai-chat:", "names no kind"),
        ("llama3.2:3b", "openai-chat:llama3.2:3b, and set OPENAI_BASE_URL. Known: openai-chat:"),
        ("test:x", "not known"),
        ("anthropic:claude-fake-1", "set ANTHROPIC_API_KEY"),
        ("openai:gpt-fake", "set OPENAI_API_KEY"),
        ("google:gemini-fake", "set G(OOGLE|EMINI)_API_KEY"),
        ("groq:fake", r"set GROQ_API_KEY|pip install 'outlast\[groq\]'"),
    ],
)
def test_what_cannot_be_found_says_what_mends_it(
    tmp_path: Path, name: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("ANTHROPIC", "OPENAI", "GOOGLE", "GEMINI", "GROQ"):
        monkeypatch.delenv(f"{variable}_API_KEY", raising=False)
    with pytest.raises(Misconfigured, match=said):
        catalogue(tmp_path).find(name)


@pytest.mark.parametrize(
    ("name", "missing", "said"),
    [
        ("anthropic:claude-fake-1", "pydantic_ai", "pip install '.[anthropic]'"),
        ("anthropic:claude-fake-1", "anthropic", "pip install '.[anthropic]'"),
        ("google:gemini-fake", "google.genai", "pip install '.[google]'"),
        ("openrouter:x/y", "openai", "pip install '.[openai]'"),
        ("gateway/groq:x", "pydantic_ai", "pip install '.["),
        (
            "openai:x",
            "openai",
            "pip install '.[openai]' in a checkout of Outlast. Without it: openai-chat:x",
        ),
        (
            "nonsense:x",
            "pydantic_ai",
            "The model 'nonsense:x' is not known. At an endpoint like OpenAI's",
        ),
    ],
)
def test_a_missing_package_names_the_command(
    tmp_path: Path, name: str, missing: str, said: str
) -> None:
    script = (
        "import sys; from pathlib import Path\n"
        f"sys.modules[{missing!r}] = None\n"
        "from outlast.agents.models.catalogue import ModelCatalogue\n"
        "from outlast.model.clock import SystemClock\n"
        "from outlast.model.error import Misconfigured\n"
        "try: ModelCatalogue(SystemClock(), Path()).find(sys.argv[1])\n"
        "except Misconfigured as error: print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, name],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        cwd=tmp_path,
    )
    assert said in done.stdout


def test_our_own_client_imports_nothing_heavy(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path\n"
        "from outlast.agents.models.catalogue import ModelCatalogue\n"
        "from outlast.model.clock import SystemClock\n"
        "environment = {'OPENAI_BASE_URL': 'http://127.0.0.1:9/v1'}\n"
        "models = ModelCatalogue(SystemClock(), Path(), environment=environment)\n"
        "models.find('openai-chat:x')\n"
        "heavy = {'pydantic_ai', 'openai', 'anthropic', 'httpx2', 'aiohttp'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        env={"PATH": ""},
    )
    assert done.stdout.strip() == "[]"
