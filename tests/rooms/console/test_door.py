"""Who may open the console's pages, and how they are guarded."""

import re
from urllib.parse import parse_qs, urlsplit

import pytest

from outlast.http.endpoint import Endpoint
from outlast.model.workspace import Scope
from outlast.rooms.console.routes import PAGES
from outlast.rooms.console.routes.door import HEADERS, next_page
from outlast.services.sessions import LINK_SECONDS, SESSION_SECONDS
from outlast.testing import FakeClock
from tests.support.api import Api, MakeApi
from tests.support.console import ORIGIN, SAME_ORIGIN, Reader, signed_in
from tests.support.databases import SQLITE

pytestmark = [pytest.mark.anyio, pytest.mark.only(SQLITE)]

SCOPED = [page for page in PAGES if page.scopes]
READ = [page for page in PAGES if page.method == "GET"]
FORMS = [page for page in PAGES if page.method == "POST"]


def spelled(endpoint: Endpoint) -> str:
    return f"{endpoint.method} {endpoint.path}"


IDS = {
    "executionId": "exec_01k6zj3t7hf2a9q1x5m8r4c0vb",
    "toolCallId": "tc_01k6zj3t7hf2a9q1x5m8r4c0vb",
    "scheduleId": "sch_01k6zj3t7hf2a9q1x5m8r4c0vb",
    "storeId": "mem_01k6zj3t7hf2a9q1x5m8r4c0vb",
    "itemId": "item_01k6zj3t7hf2a9q1x5m8r4c0vb",
    "keyId": "key_01k6zj3t7hf2a9q1x5m8r4c0vb",
    "owner": "key_01k6zj3t7hf2a9q1x5m8r4c0vb",
    "checkpointId": "cp_01k6zj3t7hf2a9q1x5m8r4c0vb",
}


def path_of(endpoint: Endpoint) -> str:
    return re.sub(r"{(\w+)}", lambda found: IDS.get(found[1], "none"), endpoint.path)


def test_every_page_but_the_door_s_own_needs_a_key() -> None:
    public = {page.path.removeprefix("/console") for page in PAGES if not page.scopes}
    door = {"/", "/sign-in", "/enter", "/sign-out", "/preferences", "/static/{digest}/{name}"}
    assert public == door


@pytest.mark.parametrize("endpoint", SCOPED, ids=spelled)
async def test_a_page_without_a_session_leads_to_sign_in(api: Api, endpoint: Endpoint) -> None:
    reader = Reader(api)
    answer = await reader.client.request(endpoint.method, path_of(endpoint), headers=SAME_ORIGIN)
    assert answer.status_code == 303
    there = urlsplit(answer.headers["location"])
    assert there.path == "/console/sign-in"
    expected = path_of(endpoint) if endpoint.method == "GET" else "/console"
    assert parse_qs(there.query)["next"] == [expected]


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (f"{ORIGIN}/console/executions?q=agent%3Aa", "/console/executions?q=agent%3Aa"),
        ("https://evil.example//evil.example", "/console"),
        ("//[", "/console"),
        (None, "/console"),
    ],
)
async def test_a_piece_without_a_session_leads_its_page_to_sign_in_and_back(
    api: Api, shown: str | None, expected: str
) -> None:
    headers = {"HX-Request": "true"} | ({} if shown is None else {"HX-Current-URL": shown})
    answer = await Reader(api).get("/console/news/approvals", **headers)
    there = urlsplit(answer.headers["hx-redirect"])
    assert (answer.status_code, there.path) == (204, "/console/sign-in")
    assert parse_qs(there.query)["next"] == [expected]


async def test_the_console_s_address_may_end_with_a_slash(api: Api) -> None:
    answer = await Reader(api).get("/console/")
    assert (answer.status_code, answer.headers["location"]) == (303, "/console")


async def test_head_is_answered_as_get_without_the_body(api: Api) -> None:
    for client in ((await signed_in(api)).client, Reader(api).client):
        for path in map(path_of, READ):
            got, head = await client.get(path), await client.head(path)
            assert (head.status_code, head.content) == (got.status_code, b""), path
            for name in ("content-type", "location"):
                assert head.headers.get(name) == got.headers.get(name), path


async def test_head_of_a_live_page_s_stream_begins_no_stream(api: Api) -> None:
    reader, run = await signed_in(api), await api.started(input="Go")
    head = await reader.client.head(f"/console/executions/{run}/live")
    assert head.headers["content-type"].startswith("text/event-stream")
    assert (head.status_code, head.content) == (200, b"")


@pytest.mark.parametrize("endpoint", SCOPED, ids=spelled)
async def test_a_page_refuses_a_key_without_its_scope(api: Api, endpoint: Endpoint) -> None:
    rest = frozenset(Scope) - set(endpoint.scopes)
    if not rest:
        pytest.skip("every key opens it")
    made = await api.core.services.keys.create(api.caller.workspace_id, "other", rest)
    reader = await signed_in(api, made.secret)
    answer = await reader.client.request(endpoint.method, path_of(endpoint), headers=SAME_ORIGIN)
    assert answer.status_code == 403
    assert "Your key may not do this" in answer.text


@pytest.mark.parametrize("endpoint", FORMS, ids=spelled)
@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site", "Origin": ORIGIN},
        {"Origin": "https://evil.example"},
        {"Origin": "http://127.0.0.1:9"},
        {"Origin": "null"},
        {},
    ],
    ids=str,
)
async def test_a_form_of_another_site_is_refused(
    api: Api, endpoint: Endpoint, headers: dict[str, str]
) -> None:
    reader = await signed_in(api)
    answer = await reader.client.post(path_of(endpoint), headers=headers)
    assert answer.status_code == 403
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize("endpoint", PAGES, ids=spelled)
async def test_a_foreign_host_is_refused(api: Api, endpoint: Endpoint) -> None:
    reader = await signed_in(api)
    headers = {"Host": "rebound.example:8321", **SAME_ORIGIN}
    answer = await reader.client.request(endpoint.method, path_of(endpoint), headers=headers)
    assert answer.status_code == 400


@pytest.mark.parametrize(
    "host", ["localhost", "my.localhost:1", "127.0.0.1", "[::1]:8321", "10.0.0.7", "ai.example"]
)
async def test_hosts_of_the_server_are_known(make_api: MakeApi, host: str) -> None:
    api = await make_api(public_url="https://ai.example")
    answer = await Reader(api).get("/console/sign-in", Host=host)
    assert answer.status_code == 200


@pytest.mark.parametrize("endpoint", PAGES, ids=spelled)
async def test_every_answer_has_the_headers(api: Api, endpoint: Endpoint) -> None:
    reader = await signed_in(api)
    for headers in (SAME_ORIGIN, {"Sec-Fetch-Site": "cross-site"}, {"Host": "evil.example"}):
        answer = await reader.client.request(endpoint.method, path_of(endpoint), headers=headers)
        assert {name: answer.headers.get(name) for name in HEADERS} == HEADERS
        assert answer.headers["cache-control"] == "no-store" or "static" in endpoint.path


async def test_what_has_no_page_is_a_page_too(api: Api) -> None:
    reader = await signed_in(api)
    answer = await reader.get("/console/nothing")
    assert answer.status_code == 404
    assert "There is no such page" in answer.text
    assert answer.headers["content-security-policy"] == HEADERS["Content-Security-Policy"]


async def test_a_key_begins_a_session_and_the_cookie_does_not_hold_it(api: Api) -> None:
    reader = Reader(api)
    refused = await reader.sign_in("sk_wrong")
    assert (refused.status_code, "set-cookie" in refused.headers) == (401, False)
    answer = await reader.send("/console/sign-in", key=f" {api.key} ", next="/console?a=b")
    assert (answer.status_code, answer.headers["location"]) == (303, "/console?a=b")
    cookie = answer.headers["set-cookie"]
    assert api.key not in cookie
    assert cookie.startswith("outlast_8321=")
    for word in ("HttpOnly", "Path=/console", "SameSite=lax", f"Max-Age={SESSION_SECONDS}"):
        assert word in cookie
    assert "Secure" not in cookie
    assert (await reader.get("/console")).status_code in (200, 303)
    assert (await reader.get("/v1/executions")).status_code == 401, "/v1 reads no cookie"


async def test_behind_https_the_cookie_is_secure(make_api: MakeApi) -> None:
    api = await make_api(public_url="https://ai.example")
    reader = Reader(api, "http://ai.example")
    cookie = (await reader.sign_in(api.key)).headers["set-cookie"]
    assert cookie.startswith("__Secure-outlast_443=")
    assert "; Secure" in cookie


async def test_a_session_ends_with_its_key_and_by_signing_out(make_api: MakeApi) -> None:
    clock = FakeClock()
    api = await make_api(clock=clock)
    keys = api.core.services.keys
    made = await keys.create(api.caller.workspace_id, "other")
    reader = await signed_in(api, made.secret)
    await keys.revoke(api.caller.workspace_id, made.key.id)
    assert "sign-in" in (await reader.get("/console")).headers["location"]
    reader = await signed_in(api)
    await reader.send("/console/sign-out")
    assert "sign-in" in (await reader.get("/console")).headers["location"]


async def test_a_session_lasts_twelve_hours_behind_its_last_request(make_api: MakeApi) -> None:
    clock = FakeClock()
    api = await make_api(clock=clock)
    reader = await signed_in(api)
    for _ in range(3):
        clock.advance(SESSION_SECONDS - 60)
        assert "sign-in" not in (await reader.get("/console")).headers.get("location", "")
    clock.advance(SESSION_SECONDS + 1)
    assert "sign-in" in (await reader.get("/console")).headers["location"]


async def link_of(api: Api) -> str:
    answer = await api.client.post("/console/link")
    assert answer.status_code == 200
    return str(answer.json()["path"])


async def test_a_link_signs_in_once(api: Api) -> None:
    path, reader = await link_of(api), Reader(api)
    entered = await reader.get(path, **{"Sec-Fetch-Site": "none"})
    assert (entered.status_code, entered.headers["location"]) == (303, "/console")
    assert "sign-in" not in (await reader.get("/console")).headers.get("location", "")
    again = await Reader(api).get(path, **{"Sec-Fetch-Site": "none"})
    assert (again.status_code, "works once" in again.text) == (401, True)


async def test_a_link_on_another_site_is_confirmed_first(api: Api) -> None:
    path, reader = await link_of(api), Reader(api)
    offered = await reader.get(path, **{"Sec-Fetch-Site": "cross-site"})
    assert (offered.status_code, "set-cookie" in offered.headers) == (200, False)
    ticket = parse_qs(urlsplit(path).query)["ticket"][0]
    entered = await reader.send("/console/enter", ticket=ticket)
    assert entered.status_code == 303


async def test_a_link_expires_and_nothing_else_is_one(make_api: MakeApi) -> None:
    clock = FakeClock()
    api = await make_api(clock=clock)
    path = await link_of(api)
    clock.advance(LINK_SECONDS + 1)
    for late in (path, "/console/enter?ticket=nix", "/console/enter"):
        answer = await Reader(api).get(late, **{"Sec-Fetch-Site": "none"})
        assert answer.status_code == 401
    reader = await signed_in(api)
    sealed = reader.client.cookies["outlast_8321"]
    crossed = await Reader(api).get(f"/console/enter?ticket={sealed}", **{"Sec-Fetch-Site": "none"})
    assert crossed.status_code == 401, "a session is no link"


async def test_a_link_needs_a_key(api: Api) -> None:
    reader = await signed_in(api)
    assert (await reader.send("/console/link")).status_code == 401


@pytest.mark.parametrize(
    "text",
    [
        *("", "//evil.example", "https://evil.example", "/v1", "/console//evil", "/consoles"),
        *("/console/../v1", "/console\\evil", "/console/\n", "/console/é"),
    ],
)
def test_only_pages_of_the_console_are_led_to(text: str) -> None:
    assert next_page(text) == "/console"


async def test_the_theme_is_kept_in_a_cookie(api: Api) -> None:
    reader = await signed_in(api)
    answer = await reader.send("/console/preferences", theme="dark", next="/console/nothing")
    assert answer.headers["location"] == "/console/nothing"
    assert '<html lang="en" data-theme="dark">' in (await reader.get("/console/sign-in")).text
    await reader.send("/console/preferences", theme="")
    assert '<html lang="en">' in (await reader.get("/console/sign-in")).text


async def test_a_server_without_a_console_has_none(make_api: MakeApi) -> None:
    api = await make_api(console=False)
    for path in ("/console", "/console/sign-in"):
        assert (await Reader(api).get(path)).status_code == 404
    assert (await api.client.post("/console/link")).status_code == 404
    home = await api.client.get("/", headers={"Accept": "text/html"})
    assert home.json()["name"] == "Outlast"


async def test_the_first_page_leads_browsers_alone_to_the_console(api: Api) -> None:
    led = await api.client.get("/", headers={"Accept": "text/html,*/*"})
    assert (led.status_code, led.headers["location"]) == (303, "/console")
    assert (await api.client.get("/")).json()["docs"] == "/docs"


async def test_behind_a_prefix_every_link_and_the_cookie_have_it(make_api: MakeApi) -> None:
    api = await make_api(root_path="/ai")
    reader = Reader(api)
    answer = await reader.get("/console")
    assert answer.headers["location"].startswith("/ai/console/sign-in")
    shown = await reader.page("/ai/console/sign-in")
    links = re.findall(r'(?:href|src|action)="(/[^"]*)"', shown)
    assert links
    assert all(link.startswith("/ai/console") for link in links)
    began = await reader.send("/ai/console/sign-in", key=api.key)
    assert "Path=/ai/console" in began.headers["set-cookie"]
