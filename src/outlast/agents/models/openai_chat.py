"""Any endpoint that speaks OpenAI's chat completions, streamed.

This is the path that most executions take: a chunk is one parse, and nothing heavier than orjson is
imported before the first call.
"""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from typing import Any
from urllib.parse import SplitResult, urlsplit

from outlast.agents.models.chat_answer import ChatAnswer
from outlast.agents.models.chat_request import encode
from outlast.agents.models.exchange import Exchange, Provider
from outlast.agents.models.providers import secrets_of
from outlast.agents.models.refusal import refusal, scrub
from outlast.agents.models.sse import EventData
from outlast.agents.port import ModelEvent, ModelRequest
from outlast.model.clock import Clock
from outlast.model.error import Misconfigured, ModelUnavailable
from outlast.model.provider import OPENAI_CHAT, ProviderSpec, http_url

OPENAI = "https://api.openai.com/v1"
MAX_ERROR_BYTES = 65_536
MAX_ANSWER_BYTES = 16_777_216
"""Maximum bytes of one answer; beyond that the request is aborted."""
USAGE_SECONDS = 30.0
"""How long what follows the finish reason, the usage and the end, may take."""
_OK = 200


class OpenAIChat:
    """One model of an endpoint."""

    def __init__(
        self,
        name: str,
        provider: Provider,
        clock: Clock,
        *,
        secrets: tuple[str, ...] = (),
        official: bool = False,
        most: int = MAX_ANSWER_BYTES,
        extra: Mapping[str, Any] | None = None,
    ) -> None:
        self._extra = extra or {}
        self._most = most
        self._name = name
        self._provider = provider
        self._clock = clock
        self._secrets = secrets
        # OpenAI's reasoning models refuse the old name; most other endpoints know only that.
        self._limit_name = "max_completion_tokens" if official else "max_tokens"

    async def stream(self, request: ModelRequest) -> AsyncGenerator[ModelEvent, None]:
        """Send the request, yield pieces as they come, then one Answer; errors as in the port."""
        body = encode(self._name, request, self._limit_name, self._extra)
        answer = ChatAnswer(self._name, self._clock, self._secrets)
        satisfied = False
        exchange = await self._provider.ask(body)
        try:
            if exchange.status != _OK:
                raise await self._refusal(exchange)
            reader = _Reader(self._name, exchange, self._most)
            data = await reader.begin()
            if data.lstrip()[:1] == b"<":
                raise self._page(data)
            if data[:1] == b"{":
                for piece in answer.feed_whole(await reader.whole(data)):
                    yield piece
                data = b""
            events = EventData()
            while data:
                for event in events.feed(data):
                    for piece in answer.feed(event):
                        yield piece
                data = b"" if answer.done else await reader.following(answer)
            for event in events.finish():
                for piece in answer.feed(event):
                    yield piece
            for piece in answer.rest():
                yield piece
            end = answer.answer(request)
            satisfied = not reader.broke_off
        finally:
            exchange.close(satisfied=satisfied)
        yield end

    async def close(self) -> None:
        """Do nothing: the catalogue closes the connections, which its models share."""

    def _page(self, start: bytes) -> ModelUnavailable:
        shown = scrub(start.decode("utf-8", "replace"), self._secrets)
        return ModelUnavailable(
            f"{self._name}: the provider answered with a web page; is its base URL right? {shown}"
        )

    async def _refusal(self, exchange: Exchange) -> Exception:
        body = b""
        while len(body) < MAX_ERROR_BYTES and (more := await exchange.read()):
            body += more
        return refusal(
            self._name,
            exchange.status,
            body,
            secrets=self._secrets,
            headers=exchange.headers,
            now=self._clock.now(),
            url=self._provider.url,
        )


class _Reader:
    """Reads an answer's bytes up to the maximum."""

    __slots__ = ("_exchange", "_most", "_name", "_size", "broke_off")

    def __init__(self, name: str, exchange: Exchange, most: int) -> None:
        self._name = name
        self._exchange = exchange
        self._most = most
        self._size = 0
        self.broke_off = False
        """Whether the connection broke off behind a finished answer."""

    async def begin(self) -> bytes:
        """Return the first bytes that are not all blank; without a BOM if JSON follows."""
        data = await self.read()
        while data.isspace():
            data = await self.read()
        bare = data.removeprefix(b"\xef\xbb\xbf").lstrip()
        return bare if bare[:1] == b"{" else data

    async def read(self) -> bytes:
        """Return the next bytes; empty at the end. Raises ModelUnavailable, also if too many."""
        data = await self._exchange.read()
        self._size += len(data)
        if self._size > self._most:
            raise ModelUnavailable(
                f"{self._name}: the provider's answer is larger than {self._most} bytes.",
                passing=False,
            )
        return data

    async def following(self, answer: ChatAnswer) -> bytes:
        """Return the next bytes; empty also if the answer is finished and then breaks off.

        Some servers cut the connection, or fall silent, in place of an end.
        """
        if not answer.is_finished:
            return await self.read()
        try:
            async with asyncio.timeout(USAGE_SECONDS):
                return await self.read()
        except (ModelUnavailable, TimeoutError) as error:
            if isinstance(error, ModelUnavailable) and not error.passing:
                raise
            self.broke_off = True
            return b""

    async def whole(self, data: bytes) -> bytes:
        """Return these first bytes with all that follow."""
        parts = [data]
        while more := await self.read():
            parts.append(more)
        return b"".join(parts)


class OpenAIEndpoint:
    """One endpoint; its models share one pool of connections."""

    def __init__(
        self,
        spec: ProviderSpec,
        clock: Clock,
        *,
        connect_timeout: float = 10.0,
        read_timeout: float = 300.0,
        max_answer_bytes: int = MAX_ANSWER_BYTES,
    ) -> None:
        """`spec` has its variables filled in; see `providers.filled`. Raises Misconfigured."""
        self._most = max_answer_bytes
        base = (spec.base_url or OPENAI).rstrip("/")
        self._clock = clock
        self._extra = spec.extra_body
        whose = "OPENAI_BASE_URL" if spec.name == OPENAI_CHAT else f"The baseUrl of {spec.name}"
        self._official = _check(base, whose).hostname == urlsplit(OPENAI).hostname
        self._secrets = secrets_of(spec)
        self._connect_timeout = connect_timeout
        self._spec, self._base = spec, base
        if self._official and spec.api_key is None:
            raise Misconfigured(
                "The model needs a key: set OPENAI_API_KEY, or OPENAI_BASE_URL to another endpoint."
            )
        self._provider = self.at("chat/completions", read_timeout)

    def at(self, path: str, read_timeout: float) -> Provider:
        """Return what sends requests to a path below the endpoint's URL. Raises Misconfigured."""
        return Provider(
            f"{self._base}/{path}",
            _headers(self._spec),
            connect_timeout=self._connect_timeout,
            read_timeout=self._spec.timeout or read_timeout,
            proxy=self._spec.proxy,
            ca_file=self._spec.ca_file,
        )

    def model(self, name: str) -> OpenAIChat:
        """Return the model with the endpoint's name for it."""
        return OpenAIChat(
            name,
            self._provider,
            self._clock,
            secrets=self._secrets,
            official=self._official,
            most=self._most,
            extra=self._extra,
        )

    async def warm_up(self) -> None:
        """Import and open what the first request needs."""
        await self._provider.warm_up()

    async def close(self) -> None:
        """Close every connection."""
        await self._provider.close()


def _check(base: str, whose: str) -> SplitResult:
    parts = http_url(base)
    if parts is None:
        raise Misconfigured(f"{whose} is not a URL like https://host/v1.")
    return parts


def _headers(spec: ProviderSpec) -> dict[str, str]:
    headers = {
        "content-type": "application/json",
        "accept": "text/event-stream, application/json",
        "accept-encoding": "identity",
        "user-agent": "outlast",
    }
    if (key := spec.api_key) is not None:
        if not key.isascii() or not key.isprintable():
            whose = "OPENAI_API_KEY" if spec.name == OPENAI_CHAT else f"The apiKey of {spec.name}"
            raise Misconfigured(f"{whose} holds characters that no key has.")
        headers["authorization"] = f"Bearer {key}"
    return headers | {name.lower(): value for name, value in spec.headers.items()}
