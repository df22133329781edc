"""What a client of the records room reads, and that its trees add up."""

from collections.abc import Iterator
from decimal import Decimal
from json import loads
from typing import Any
from uuid import UUID

import httpx2

from outlast.model.ids import to_uuid4
from outlast.model.price import NANO, ModelPrice, Prices
from tests.support.api import Api

PATH = "/api/v1/executions"
PRICES = Prices({"actor": ModelPrice(7, 11, 2, 3)}, {"look": 5, "pay": NANO // 3})
MODEL = 6 * 7 + 3 * 2 + 1 * 3 + 5 * 11
"""Billionths that an answer of the actor costs."""
Node = dict[str, Any]


def uuid(typeid: str) -> str:
    return str(to_uuid4(typeid))


def read(response: httpx2.Response) -> Any:
    """JSON whose decimals are those that were written."""
    assert response.status_code == 200, response.text
    return loads(response.text, parse_float=Decimal)


async def one(api: Api, record_id: str) -> Node:
    found: Node = read(await api.get(f"{PATH}/{record_id}"))
    return found


async def page(api: Api, **query: Any) -> list[Node]:
    found: list[Node] = read(await api.get(PATH, **query))
    return found


async def tree(api: Api, execution_id: str) -> Node:
    found: Node = read(await api.get(f"{PATH}/nestings", executionId=execution_id))
    return found


def walk(node: Node) -> Iterator[Node]:
    yield node
    for child in node["children"]:
        yield from walk(child)


async def sound(api: Api, root: Node) -> list[Node]:
    """Every node of a tree, which adds up, and which GET finds as it is."""
    nodes = list(walk(root))
    assert len({node["id"] for node in nodes}) == len(nodes)
    for node in nodes:
        assert UUID(node["id"]).version == 4
        children = node["children"]
        assert all(child["parentId"] == node["id"] for child in children)
        if children:
            assert sum(child["creditsUsed"] for child in children) == node["creditsUsed"]
        alone = {name: value for name, value in node.items() if name != "children"}
        assert await one(api, node["id"]) == alone
    return nodes


async def refused(api: Api, path: str, **query: Any) -> tuple[int, str, str]:
    """(status, code, message) of an error in the room's shape."""
    response = await api.client.get(path, params=query)
    return response.status_code, *error_of(response)


def error_of(response: httpx2.Response) -> tuple[str, str]:
    error = response.json()
    assert set(error) == {"code", "name", "message", "feedback", "cta"}
    assert set(error["feedback"]) == {"enUs", "esEs", "ptBr"}
    assert len(set(error["feedback"].values())) == 3
    assert set(error["cta"]) == {"type", "url"}
    return error["code"], error["message"]
