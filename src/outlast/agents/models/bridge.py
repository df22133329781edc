"""Every provider that pydantic-ai knows, through its Model layer; not through its agents.

`BridgedModel.named("anthropic:claude-sonnet-5-5", …)` imports the provider's SDK, which costs
seconds and tens of megabytes, once. Only the runner retries after a failure: the SDKs' own retries
are off.
"""

import difflib
import re
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING, Any

import orjson

from outlast.agents.estimate import estimated_usage
from outlast.agents.models.assemble import LONGEST_NAME, finish_reason, names_failure
from outlast.agents.models.bridge_provider import provider_factory, request_settings
from outlast.agents.models.bridge_wire import BrokenOff, CutShort, read_plainly
from outlast.agents.models.openai_chat import MAX_ANSWER_BYTES
from outlast.agents.models.providers import secrets_of
from outlast.agents.models.refusal import broken_off, cut_short, rate_limited, refusal, scrub
from outlast.agents.models.schemas import inlined, read_by_schema
from outlast.agents.port import (
    Answer,
    CallPiece,
    ModelEvent,
    ModelRequest,
    TextPiece,
    ThinkingPiece,
)
from outlast.model.clock import Clock
from outlast.model.error import (
    ContextTooLong,
    Misconfigured,
    ModelRejected,
    ModelUnavailable,
    OutlastError,
)
from outlast.model.extra import install
from outlast.model.provider import OPENAI_CHAT, ProviderSpec
from outlast.model.text import storable
from outlast.model.usage import counted

if TYPE_CHECKING:
    from pydantic_ai.models import Model, StreamedResponse

_EXTRAS = {"anthropic", "google", "groq", "mistral", "bedrock"}
_OWN = "At an endpoint like OpenAI's, such as Ollama: openai-chat:{}, and set OPENAI_BASE_URL."
PROVIDERS = frozenset(
    """
    alibaba anthropic azure azure-responses bedrock bedrock-mantle cerebras cohere crusoe deepseek
    fireworks github github-copilot google google-cloud google-decisions groq heroku huggingface
    litellm meta mistral moonshotai nebius ollama openai openai-chatgpt openai-codex
    openai-decisions openai-responses openrouter ovhcloud sambanova snowflake together typesafe
    vercel vllm xai zai
    """.split()  # noqa: SIM905  a table
)
"""Providers of pydantic-ai, known even if it is not installed; `gateway/` may precede them."""
_ENDED = "the provider's stream ended in mid-answer."
_SPOKEN = ("content", "content_delta", "args", "args_delta")
"""Attributes with the text of a part or a delta."""
_VARIABLE = re.compile(r"\b[A-Z][A-Z0-9]*_[A-Z0-9_]*\b")


class BridgedModel:
    """One model of pydantic-ai."""

    def __init__(
        self,
        name: str,
        model: "Model[Any]",
        clock: Clock,
        *,
        read_timeout: float = 300.0,
        provider: ProviderSpec | None = None,
    ) -> None:
        read_plainly(getattr(model, "client", None))
        self._extra = request_settings(provider)
        self._at = "" if provider is None else provider.name
        self._secrets = () if provider is None else secrets_of(provider)
        self._name = name
        self._model = model
        self._clock = clock
        self._read_timeout = read_timeout

    @classmethod
    def named(
        cls,
        name: str,
        clock: Clock,
        *,
        read_timeout: float = 300.0,
        known: str = "",
        provider: ProviderSpec | None = None,
    ) -> "BridgedModel":
        """Return the model of that pydantic-ai string. Raises Misconfigured with a remedy."""
        kind = name.partition(":")[0]
        try:
            from pydantic_ai.models import infer_model
        except ImportError as error:
            if kind.removeprefix("gateway/") not in PROVIDERS:
                raise _unknown(name, known) from error
            raise _not_installed(name, kind) from error
        try:
            model = (
                infer_model(name)
                if provider is None
                else infer_model(name, provider_factory=provider_factory(provider))
            )
        except ImportError as error:
            raise _not_installed(name, kind) from error
        except OutlastError:
            raise
        except Exception as error:  # each SDK refuses an odd value in its own way
            hidden = () if provider is None else secrets_of(provider)
            raise _misconfigured(name, scrub(str(error), hidden), known) from error
        client: Any = getattr(model, "client", None)
        if isinstance(getattr(client, "max_retries", None), int):
            client.max_retries = 0
        return cls(name, model, clock, read_timeout=read_timeout, provider=provider)

    async def stream(self, request: ModelRequest) -> AsyncGenerator[ModelEvent, None]:
        """Send the request, yield pieces as they come, then one Answer; errors as in the port."""
        from pydantic_ai.direct import model_request_stream
        from pydantic_ai.exceptions import AgentRunError, UserError

        from outlast.agents.models.bridge_messages import to_theirs

        try:
            async with model_request_stream(
                self._model,
                to_theirs(request, self._model.system, self._at),
                model_settings=self._settings(request),
                model_request_parameters=_parameters(request),
                instrument=False,
            ) as stream:
                size = 0
                async for event in stream:
                    if (piece := _piece(event)) is not None:
                        yield piece
                    size = self._bounded(size + _size(event))
                end = self._answer(request, stream)
        except AgentRunError as error:
            raise self._translated(error) from error
        except UserError as error:
            raise Misconfigured(f"{self._name}: {scrub(str(error), self._secrets)}") from error
        except BrokenOff as error:
            raise broken_off(self._name, error.error, secrets=self._secrets) from error
        except CutShort as error:
            raise ModelUnavailable(f"{self._name}: {_ENDED}") from error
        except OutlastError:
            raise
        except Exception as error:  # pydantic-ai lets errors of the SDKs and their clients through
            detail = scrub(f"{type(error).__name__}: {error}", self._secrets)
            raise ModelUnavailable(f"{self._name}: {detail}") from error
        yield end

    async def close(self) -> None:
        """Close the SDK's connections."""
        client = getattr(self._model, "client", None)
        close = getattr(client, "close", None) or getattr(client, "aclose", None)
        if close is not None and (closing := close()) is not None:
            await closing

    def _settings(self, request: ModelRequest) -> Any:
        settings = {"timeout": self._read_timeout, **self._extra, **request.settings}
        limit, effort = request.answer_limit, settings.pop("reasoning_effort", None)
        for ours in ("max_completion_tokens", "web_search"):
            settings.pop(ours, None)
        if limit is not None:
            settings["max_tokens"] = limit
        if effort is not None:
            settings["thinking"] = effort if effort != "none" else False
        if (stop := settings.pop("stop", None)) is not None:
            settings["stop_sequences"] = [stop] if isinstance(stop, str) else stop
        if request.tools and request.tool_choice != "auto":
            choice = request.tool_choice
            settings["tool_choice"] = choice if choice in {"none", "required"} else [choice]
        return settings

    def _bounded(self, size: int) -> int:
        """Return the size so far. Raises ModelUnavailable if it is too large."""
        if size <= MAX_ANSWER_BYTES:
            return size
        text = f"{self._name}: the provider's answer is larger than {MAX_ANSWER_BYTES} bytes."
        raise ModelUnavailable(text, passing=False)

    def _answer(self, request: ModelRequest, stream: "StreamedResponse") -> Answer:
        from outlast.agents.models.bridge_messages import text_of, to_ours

        response = stream.get()
        finish, raw = response.finish_reason, (response.provider_details or {}).get("finish_reason")
        if finish is None and raw is None:
            raise ModelUnavailable(f"{self._name}: {_ENDED}")
        for reason in (finish, raw):
            if reason is not None and names_failure(text_of(reason)):
                raise cut_short(self._name, text_of(reason))
        message = to_ours(response.parts, self._clock, self._model.system, self._at)
        message = read_by_schema(message, request)
        figures = response.usage
        usage = counted(
            figures.input_tokens,
            figures.output_tokens,
            figures.cache_read_tokens,
            figures.cache_write_tokens,
        )
        return Answer(
            message,
            estimated_usage(request, message) if usage is None else usage,
            text_of(response.model_name or self._name)[:LONGEST_NAME],
            finish_reason(finish or "stop", message),
        )

    def _translated(self, error: Exception) -> OutlastError:
        from pydantic_ai import exceptions

        text = f"{self._name}: {scrub(str(error), self._secrets)}"
        match error:
            case exceptions.ModelContextWindowExceededError():
                return ContextTooLong(text)
            case exceptions.ModelHTTPError():
                return self._refused(error.status_code, error.body, error.retry_after)
            case exceptions.ModelRateLimitError():
                return rate_limited(text, "", error.retry_after, self._clock.now())
            case exceptions.ModelRequestRejectedError() | exceptions.ContentFilterError():
                return ModelRejected(text)
            case _:
                return ModelUnavailable(text)

    def _refused(self, status: int, body: Any, wait: float | None) -> OutlastError:
        try:
            written = orjson.dumps(storable(body), default=str)
        except (TypeError, RecursionError):  # nested deeper than can be written
            written = b""
        headers = {} if wait is None else {"retry-after": f"{wait:f}"}
        return refusal(
            self._name,
            status,
            written,
            secrets=self._secrets,
            headers=headers,
            now=self._clock.now(),
        )


def _parameters(request: ModelRequest) -> Any:
    from pydantic_ai.models import ModelRequestParameters
    from pydantic_ai.native_tools import WebSearchTool
    from pydantic_ai.tools import ToolDefinition

    tools = [
        ToolDefinition(
            name=spec.name,
            description=spec.description,
            parameters_json_schema=inlined(spec.parameters),
            strict=False,
        )
        for spec in request.tools
    ]
    return ModelRequestParameters(
        function_tools=tools,
        native_tools=[WebSearchTool()] if request.settings.get("web_search") else [],
        allow_text_output=True,
    )


def _piece(event: Any) -> TextPiece | ThinkingPiece | CallPiece | None:
    from pydantic_ai import messages as theirs

    match event:
        case theirs.PartStartEvent(part=theirs.TextPart(content=text)) if text:
            return TextPiece(text)
        case theirs.PartDeltaEvent(delta=theirs.TextPartDelta(content_delta=text)) if text:
            return TextPiece(text)
        case theirs.PartStartEvent(part=theirs.ThinkingPart(content=text)) if text:
            return ThinkingPiece(text)
        case theirs.PartDeltaEvent(delta=theirs.ThinkingPartDelta(content_delta=text)) if text:
            return ThinkingPiece(text)
        case (
            theirs.PartStartEvent(part=theirs.ToolCallPart())
            | theirs.PartDeltaEvent(delta=theirs.ToolCallPartDelta())
        ):
            size = _size(event)
            return CallPiece(size) if size else None
        case _:
            return None


def _size(event: Any) -> int:
    """Return the characters of an event's text, thinking or arguments."""
    new = {"part_start": "part", "part_delta": "delta"}.get(event.event_kind)
    if new is None:
        return 0
    part = getattr(event, new)
    found = (getattr(part, name, None) for name in _SPOKEN)
    return sum(len(text) for text in found if isinstance(text, str))


def _not_installed(name: str, kind: str) -> Misconfigured:
    extra = next((extra for extra in _EXTRAS if kind.startswith(extra)), "openai")
    hint = f". Without it: {OPENAI_CHAT}:{name.partition(':')[2]}" if kind == "openai" else ""
    return Misconfigured(f"The model {name!r} needs its provider's SDK: {install(extra)}{hint}")


def _unknown(name: str, known: str) -> Misconfigured:
    kind = name.partition(":")[0]
    kinds = [found.removesuffix(":") for found in known.replace(",", " ").split()] + [*PROVIDERS]
    near = difflib.get_close_matches(kind, kinds, n=1, cutoff=0.8)
    hint = f"Did you mean {near[0]}:{name.partition(':')[2]}?" if near else _OWN.format(name)
    return Misconfigured(f"The model {name!r} is not known. {hint} Known: {known}.")


def _misconfigured(name: str, problem: str, known: str) -> Misconfigured:
    if problem.startswith("Unknown model"):
        return _unknown(name, known)
    if variable := _VARIABLE.search(problem):
        return Misconfigured(f"The model {name!r} needs a key: set {variable[0]}.")
    return Misconfigured(f"The model {name!r} cannot be created: {scrub(problem)}")
