"""The console in this process: a browser without scripts, signed in by a key."""

from typing import Any, Final

import httpx2

from tests.support.api import Api
from tests.support.waiting import BOUND

ORIGIN: Final = "http://127.0.0.1:8321"
SAME_ORIGIN: Final = {"Sec-Fetch-Site": "same-origin"}


class Reader:
    """A browser: it keeps cookies, sends forms, and does not follow where it is led."""

    def __init__(self, api: Api, base_url: str = ORIGIN) -> None:
        self.client = httpx2.AsyncClient(
            transport=httpx2.ASGITransport(api.app), base_url=base_url, timeout=BOUND
        )

    async def sign_in(self, key: str) -> httpx2.Response:
        return await self.send("/console/sign-in", key=key)

    async def get(self, path: str, **headers: str) -> httpx2.Response:
        return await self.client.get(path, headers=headers)

    async def page(self, path: str, *, follow: bool = False) -> str:
        """A page that must be there; `follow`: where it leads."""
        answer = await self.client.get(path, follow_redirects=follow)
        assert answer.status_code == 200, (path, answer.status_code, answer.text)
        return answer.text

    async def send(self, path: str, **fields: Any) -> httpx2.Response:
        """Send a form from one of the console's pages."""
        return await self.client.post(path, data=fields, headers=SAME_ORIGIN)


async def signed_in(api: Api, key: str | None = None) -> Reader:
    reader = Reader(api)
    answer = await reader.sign_in(key or api.key)
    assert answer.status_code == 303, answer.text
    return reader
