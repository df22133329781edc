"""The client's methods for memory stores: `client.memory`."""

from collections.abc import Mapping
from typing import Any

from outlast_client import types
from outlast_client.asynchronous.connection import Connection
from outlast_client.wire import require_ascii, segment


class MemoryClient:
    """The memory stores of a workspace. Every method raises Unreachable and Refused."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def create(
        self,
        name: str,
        description: str = "",
        *,
        metadata: Mapping[str, str] | None = None,
        embedding: str | None = None,
        idempotency_key: str | None = None,
    ) -> types.Store:
        """Create a memory store; models read its name and description.

        `embedding`: its embedding model, for good, such as `openai-embeddings:NAME`.
        """
        require_ascii(idempotency_key or "", "The Idempotency-Key", "idempotency_key")
        body: dict[str, Any] = {"name": name, "description": description}
        body |= {"metadata": metadata and dict(metadata)}
        body |= {} if embedding is None else {"embedding": embedding}
        headers = {"Idempotency-Key": idempotency_key or self._connection.clock.new_id("req")}
        path = "/v1/memory-stores"
        return await self._connection.persist("POST", path, json=body, headers=headers)

    async def list(self, **page: Any) -> types.StorePage:
        """Return a page of stores, newest first: {data, hasMore, nextCursor}."""
        params = {name: value for name, value in page.items() if value is not None}
        return await self._connection.ask("GET", "/v1/memory-stores", params=params)

    async def get(self, store_id: str) -> types.Store:
        """Return one store."""
        return await self._connection.ask("GET", _path(store_id))

    async def update(self, store_id: str, **changes: Any) -> types.Store:
        """Change a store: name, description, metadata, archived."""
        return await self._connection.ask("PATCH", _path(store_id), json=changes)

    async def delete(self, store_id: str) -> None:
        """Delete a store for good, with its items and all their versions."""
        await self._connection.ask("DELETE", _path(store_id), timeout=None)

    async def search(
        self,
        store_id: str,
        query: str,
        *,
        prefix: str = "",
        limit: int = 10,
        mode: str | None = None,
    ) -> types.Found:
        """Return the items that a search finds: {data, mode, warning}.

        `mode`: text, semantic or hybrid; by default hybrid if the store has an embedding model.
        """
        body: dict[str, Any] = {"query": query, "prefix": prefix, "limit": limit}
        body |= {} if mode is None else {"mode": mode}
        return await self._connection.ask("POST", f"{_path(store_id)}/search", json=body)

    async def items(self, store_id: str, **page: Any) -> types.ItemPage:
        """Return a page of items by key: {data, hasMore, nextCursor}.

        `page`: prefix, after, limit, full (with contents).
        """
        params = {name: value for name, value in page.items() if value is not None}
        return await self._connection.ask("GET", f"{_path(store_id)}/items", params=params)

    async def item(self, store_id: str, key: str) -> types.Item:
        """Return one item, by its key or id."""
        return await self._connection.ask("GET", _item(store_id, key))

    async def put(
        self,
        store_id: str,
        key: str,
        content: str,
        *,
        metadata: Mapping[str, str] | None = None,
        if_match: str | None = None,
        absent: bool = False,
    ) -> types.Item:
        """Write the item of this key. `if_match`: only over this sha256; `absent`: only a new one.

        Refused (412) if it is another.
        """
        headers = _if_match(if_match) | ({"If-None-Match": "*"} if absent else {})
        body = {"content": content, "metadata": metadata and dict(metadata)}
        return await self._connection.ask("PUT", _item(store_id, key), json=body, headers=headers)

    async def change(
        self, store_id: str, key: str, *, if_match: str | None = None, **changes: Any
    ) -> types.Item:
        """Change an item that is there: key, content, metadata. Refused (412) if it is another."""
        return await self._connection.ask(
            "PATCH", _item(store_id, key), json=changes, headers=_if_match(if_match)
        )

    async def remove(
        self, store_id: str, key: str, *, if_match: str | None = None, purge: bool = False
    ) -> None:
        """Delete an item; its versions stay, unless it is to be purged."""
        params = {"purge": "true"} if purge else {}
        await self._connection.ask(
            "DELETE", _item(store_id, key), params=params, headers=_if_match(if_match)
        )

    async def versions(self, store_id: str, item_id: str, **page: Any) -> types.VersionPage:
        """Return a page of an item's versions, newest first: {data, hasMore, nextCursor}."""
        params = {name: value for name, value in page.items() if value is not None}
        path = f"{_item(store_id, item_id)}/versions"
        return await self._connection.ask("GET", path, params=params)

    async def redact(self, store_id: str, item_id: str, version: int) -> types.Version:
        """Take the content out of an item's version for good, and return the version.

        Refused (409) for what the item holds now: write or delete the item before.
        """
        path = f"{_item(store_id, item_id)}/versions/{version}/redact"
        return await self._connection.ask("POST", path, timeout=None)


def _path(store_id: str) -> str:
    return f"/v1/memory-stores/{segment(store_id)}"


def _item(store_id: str, key: str) -> str:
    return f"{_path(store_id)}/items/{segment(key)}"


def _if_match(sha256: str | None) -> dict[str, str]:
    if sha256 is None:
        return {}
    require_ascii(sha256, "The digest", "if_match")
    return {"If-Match": sha256 if sha256 == "*" else f'"{sha256}"'}
