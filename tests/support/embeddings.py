"""An endpoint of embeddings on loopback whose model knows a few words' meanings."""

import asyncio
import re
from collections.abc import Callable
from typing import Any, Self

from aiohttp import web

MEANINGS = (
    {"dog", "hound", "puppy", "pet"},
    {"car", "vehicle", "automobile", "drives"},
    {"food", "meal", "dish", "eats", "vegetarian", "tofu"},
    {"city", "town", "berlin", "lives"},
    {"money", "invoice", "pays", "billing"},
)


class EmbeddingProvider:
    """The server, what it received, and how it is to fail."""

    def __init__(self) -> None:
        self.requests: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.status = 200
        self.more = 0
        """Dimensions beyond those of the meanings."""
        self.body: Any = None
        """Answered instead of vectors."""
        self.refuses: Callable[[str], bool] = lambda _: False
        self.gate: asyncio.Event | None = None
        """What an answer waits for."""
        self.arrived = asyncio.Event()
        self._runner: web.AppRunner | None = None
        self.url = ""

    @property
    def texts(self) -> list[str]:
        return [text for request in self.requests for text in request["input"]]

    async def __aenter__(self) -> Self:
        app = web.Application(client_max_size=64 << 20)
        app.router.add_post("/v1/embeddings", self._answer)
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        port = self._runner.addresses[0][1]
        self.url = f"http://127.0.0.1:{port}/v1"
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._runner is not None
        await self._runner.cleanup()

    async def _answer(self, request: web.Request) -> web.Response:
        received = await request.json()
        self.requests.append(received)
        self.headers.append({name.lower(): text for name, text in request.headers.items()})
        self.arrived.set()
        if self.gate is not None:
            await self.gate.wait()
        if self.body is not None:
            return web.json_response(self.body)
        texts = received["input"]
        if self.status != 200 or any(map(self.refuses, texts)):
            echo = {"error": {"message": f"cannot embed {texts}", "type": "some"}}
            return web.json_response(echo, status=self.status if self.status != 200 else 400)
        data = [
            {"object": "embedding", "index": at, "embedding": self._vector(text)}
            for at, text in enumerate(texts)
        ]
        usage = {"prompt_tokens": 7 * len(texts), "total_tokens": 7 * len(texts)}
        return web.json_response({"data": data[::-1], "model": "m", "usage": usage})

    def _vector(self, text: str) -> list[float]:
        words = set(re.findall(r"\w+", text.lower()))
        meant = [2.0 * len(words & meaning) for meaning in MEANINGS]
        return [*meant, 0.5, *([0.1] * self.more)]
