"""No error of a provider shows what the operator keeps secret."""

from pathlib import Path

import pytest

from outlast.model.error import ModelRejected
from outlast.model.provider import ProviderSpec
from tests.support.provider import FakeProvider, Reply
from tests.support.providers import answered, catalogue

pytestmark = pytest.mark.anyio


async def test_no_error_shows_a_key_or_the_value_of_a_header(tmp_path: Path) -> None:
    async with FakeProvider() as provider:
        provider.replies["m"] = Reply(
            (b'{"error": {"message": "no: hunter22 and opensesame"}}',),
            content_type="application/json",
            status="400 Bad Request",
        )
        spec = ProviderSpec(
            "left", base_url=provider.url, api_key="hunter22", headers={"X-Pass": "opensesame"}
        )
        models = catalogue({"left": spec}, tmp_path)
        with pytest.raises(ModelRejected) as raised:
            await answered(models, "left:m")
        await models.close()
    assert raised.value.message.endswith("no: [hidden] and [hidden]")
    assert "hunter22" not in repr(spec)


async def test_no_error_shows_a_credential_without_the_scheme_before_it(tmp_path: Path) -> None:
    async with FakeProvider() as provider:
        provider.replies["m"] = Reply(
            (b'{"error": {"message": "no: opensesame, c2VjcmV0OnM= and hunter%22"}}',),
            content_type="application/json",
            status="401 Unauthorized",
        )
        headers = {"Authorization": "Token opensesame", "X-Pass": "Basic  c2VjcmV0OnM="}
        url = provider.url.replace("http://", "http://me:hunter%22@")
        spec = ProviderSpec("left", base_url=url, headers=headers)
        models = catalogue({"left": spec}, tmp_path)
        with pytest.raises(ModelRejected) as raised:
            await answered(models, "left:m")
        await models.close()
    assert raised.value.message.endswith("no: [hidden], [hidden] and [hidden]")


async def test_no_error_shows_a_key_as_json_and_urls_spell_it(tmp_path: Path) -> None:
    async with FakeProvider() as provider:
        provider.replies["m"] = Reply(
            (b'{"error": {"sent": "k\\"quo/te99", "url": "?key=k%22quo%2Fte99"}}',),
            content_type="application/json",
            status="400 Bad Request",
        )
        spec = ProviderSpec("left", base_url=provider.url, api_key='k"quo/te99')
        models = catalogue({"left": spec}, tmp_path)
        with pytest.raises(ModelRejected) as raised:
            await answered(models, "left:m")
        await models.close()
    assert raised.value.message.endswith('{"sent":"[hidden]","url":"?key=[hidden]"}')


async def test_no_error_shows_a_secret_of_the_extra_body(tmp_path: Path) -> None:
    extra = {
        "reasoning": "medium-effort",
        "account": "${ACCOUNT}",
        "routes": [{"to": "eu/${ROUTE_KEY}"}],
        "search": {"api_key": "opensesame", "engines": ["exa-search"]},
        "token": ["hunter2222"],
    }
    said = "medium-effort exa-search acct-4711 route-99 eu/route-99 opensesame hunter2222"
    async with FakeProvider() as provider:
        provider.replies["m"] = Reply(
            (b'{"error": {"message": "no: %s"}}' % said.encode(),),
            content_type="application/json",
            status="400 Bad Request",
        )
        spec = ProviderSpec("left", base_url=provider.url, extra_body=extra)
        variables = {"ACCOUNT": "acct-4711", "ROUTE_KEY": "route-99"}
        models = catalogue({"left": spec}, tmp_path, **variables)
        with pytest.raises(ModelRejected) as raised:
            await answered(models, "left:m")
        await models.close()
    (request,) = provider.requests
    assert request["routes"] == [{"to": "eu/route-99"}]
    assert raised.value.message.endswith(
        "no: medium-effort exa-search [hidden] [hidden] [hidden] [hidden] [hidden]"
    )
    assert "opensesame" not in repr(spec)
