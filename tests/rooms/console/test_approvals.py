"""Approvals and unknown outcomes on their pages: forms from schemas, changes, first answer wins."""

import re
from html import unescape
from typing import Any

import pytest

from outlast.model.agent import Effect, ToolSpec
from outlast.model.workspace import Scope
from outlast.rooms.console.render.arguments import (
    NotArguments,
    difference,
    fields_of,
    filled,
    sent,
    value_of,
)
from outlast.rooms.console.render.words import visible
from tests.support.api import Api, MakeApi
from tests.support.console import Reader, signed_in
from tests.support.databases import SQLITE
from tests.support.models import FakeModel, by_turn
from tests.support.tools import FakeTools, call, spec

pytestmark = [pytest.mark.anyio, pytest.mark.only(SQLITE)]
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "order": {"type": "string", "description": "Its <b>number</b>."},
        "amount": {"type": "number"},
        "currency": {"type": "string", "enum": ["EUR", "USD"]},
        "notify": {"type": "boolean"},
        "lines": {"type": "array", "items": {"type": "integer"}},
        "note": {"type": "string"},
    },
    "required": ["order", "amount"],
    "additionalProperties": False,
}
PROPOSED: dict[str, Any] = {
    "order": "A-1\nsecond line",
    "amount": 12.50,
    "currency": "EUR",
    "lines": [1, 2],
}


def refund(**more: Any) -> ToolSpec:
    return ToolSpec("refund", "Refund it.", SCHEMA, Effect.DESTRUCTIVE, approval=True, **more)


async def waiting(make_api: MakeApi, *extra: ToolSpec) -> tuple[Api, str, FakeTools]:
    """A run whose call waits for a person; the path of its page."""
    tools = FakeTools(refund=lambda arguments: arguments, ship=lambda _: "shipped")
    model = FakeModel(by_turn(["Hm.", call(1, "refund", **PROPOSED)], ["Done."]))
    api = await make_api(model, agent=spec(refund(), *extra), tools=tools)
    run = await api.started(input="Refund my order, please.")
    await api.rested(run)
    return api, f"/console/approvals/{run}/{call(1, 'refund').id}", tools


async def test_calls_of_one_tool_are_decided_together(make_api: MakeApi) -> None:
    tools = FakeTools(refund=lambda arguments: arguments, ship=lambda _: "shipped")
    both = [call(1, "refund", **PROPOSED), call(2, "ship")]
    model = FakeModel(by_turn(["Hm.", *both], ["Done."]))
    ship = ToolSpec("ship", "Ship it.", {"type": "object"}, Effect.DESTRUCTIVE, approval=True)
    api = await make_api(model, agent=spec(refund(), ship), tools=tools)
    runs = [await api.started() for _ in range(3)]
    for run in runs:
        await api.rested(run)
    reader = await signed_in(api)
    calls = [f"{run}/{call(1, 'refund').id}" for run in runs]
    page = await reader.page("/console/approvals")
    assert all(f'name="call" value="{one}"' in page for one in calls)
    path = "/console/approvals/chosen"
    chosen = "&".join(f"call={one}" for one in calls)
    shown = await reader.page(f"{path}?do=deny&{chosen}")
    assert "Deny 3 calls of refund?" in shown
    mixed = await reader.get(f"{path}?do=deny&{chosen}&call={runs[0]}/{call(2, 'ship').id}")
    assert (mixed.status_code, "Choose calls of one tool" in mixed.text) == (400, True)
    await reader.send(f"/console/approvals/{calls[0]}", do="approve", arguments="")
    done = await reader.send(path, do="deny", call=calls, reason="not today")
    assert done.text.count(">denied</b>") == 2
    decided = [(await api.get(f"/v1/executions/{run}")).json()["pendingApprovals"] for run in runs]
    assert [[one["name"] for one in found] for found in decided] == [["ship"]] * 3
    scopes = frozenset({Scope.EXECUTIONS_READ})
    made = await api.core.services.keys.create(api.caller.workspace_id, "reader", scopes)
    other = await signed_in(api, made.secret)
    assert (await other.send(path, do="deny", call=calls)).status_code == 403
    assert "chosen" not in await other.page("/console/approvals")


async def result_of(api: Api, path: str) -> Any:
    run = path.split("/")[3]
    found = await api.rested(run)
    assert found["status"] == "completed", found
    return found["toolCalls"][0]


async def test_what_waits_is_listed_and_opens_with_a_form_of_its_schema(
    make_api: MakeApi,
) -> None:
    api, path, _ = await waiting(make_api)
    reader = await signed_in(api)
    listed = await reader.page("/console/approvals")
    assert f'href="{path}"' in listed
    assert "Refund my order, please." in listed
    assert 'class="badge"' in await reader.page("/console/news/approvals")
    page = await reader.page(path)
    named = re.findall(r'name="argument\.(\w+)"', page)
    assert named == list(SCHEMA["properties"])
    assert "Its &lt;b&gt;number&lt;/b&gt;." in page
    assert "cannot be taken back" in page


async def test_approved_as_it_is_it_runs_with_the_model_s_arguments(make_api: MakeApi) -> None:
    api, path, _ = await waiting(make_api)
    reader = await signed_in(api)
    answer = await reader.send(path, do="approve", **form_of(await reader.page(path)))
    run = path.split("/")[-2]
    there = f"/console/approvals?done=approved&of={run}"
    assert (answer.status_code, answer.headers["location"]) == (303, there)
    assert (await result_of(api, path))["parameters"] == PROPOSED
    after = await reader.page(there)
    assert f'The call is approved. <a href="/console/executions/{run}">' in after
    assert "javascript" not in await reader.page("/console/approvals?done=approved&of=javascript:x")
    decided = await reader.page(path)
    assert "by your key" in decided
    assert 'class="diff"' not in decided, "nothing was edited"


def form_of(page: str) -> dict[str, str]:
    """The fields of the decision's form as a browser would send them."""
    (page,) = re.findall(r'<form[^>]* class="decision.*?</form>', page, re.DOTALL)
    areas = re.findall(r'<textarea[^>]* name="([^"]+)"[^>]*>\n?(.*?)</textarea>', page, re.DOTALL)
    inputs = re.findall(r'<input [^>]*name="([^"]+)" value="([^"]*)"', page)
    selects = [
        (name, (re.findall(r'value="([^"]*)" selected', options) or [""])[0])
        for name, options in re.findall(
            r'<select [^>]*name="([^"]+)"[^>]*>(.*?)</select>', page, re.DOTALL
        )
    ]
    return {name: unescape(text) for name, text in (*areas, *inputs, *selects)}


async def test_edited_arguments_are_shown_as_a_diff_and_then_used(make_api: MakeApi) -> None:
    api, path, _ = await waiting(make_api)
    reader = await signed_in(api)
    edits = form_of(await reader.page(path)) | {
        "argument.amount": "10",
        "argument.notify": "true",
        "argument.lines": "[2]",
    }
    reviewed = await reader.send(path, do="review", **edits)
    assert reviewed.status_code == 200
    page = unescape(reviewed.text)
    assert '<ins>  "amount": 10,</ins>' in page
    assert '<del>  "amount": 12.5,</del>' in page
    assert form_of(reviewed.text) == edits | {"reason": ""}
    assert (
        await reader.send(path, **edits | {"do": "approve", "reason": "half"})
    ).status_code == 303
    found = await result_of(api, path)
    assert found["parameters"] == PROPOSED | {"amount": 10, "notify": True, "lines": [2]}
    assert "<ins>" in await reader.page(path)


async def test_arguments_that_do_not_fit_are_refused_at_their_field(make_api: MakeApi) -> None:
    api, path, _ = await waiting(make_api)
    reader = await signed_in(api)
    given = form_of(await reader.page(path))
    for field, text in (("amount", "much"), ("lines", "[1"), ("lines", '["a"]')):
        answer = await reader.send(path, do="approve", **given | {f"argument.{field}": text})
        assert answer.status_code == 422, field
        assert re.search(rf'name="argument\.{field}"[^>]*aria-invalid="true"', answer.text), field
        assert unescape(form_of(answer.text)[f"argument.{field}"]) == text
    assert "waits for approval" in await reader.page(path)


async def test_denied_with_a_reason_it_does_not_run(make_api: MakeApi) -> None:
    api, path, tools = await waiting(make_api)
    reader = await signed_in(api)
    await reader.send(path, do="deny", reason="Not this <customer>.")
    assert (await result_of(api, path))["isError"] is True
    assert not tools.order
    assert "Not this &lt;customer&gt;." in await reader.page(path)


async def test_the_first_answer_wins_and_the_second_is_shown_it(make_api: MakeApi) -> None:
    api, path, _ = await waiting(make_api)
    first, second = await signed_in(api), Reader(api)
    made = await api.core.services.keys.create(api.caller.workspace_id, "second")
    await second.sign_in(made.secret)
    page = await second.page(path)
    assert "Deny" in page
    await first.send(path, do="approve")
    late = await second.send(path, do="deny")
    assert late.status_code == 409
    assert "the first decision stands" in late.text
    assert "by the key" in late.text


async def test_a_key_that_may_not_decide_sees_no_form(make_api: MakeApi) -> None:
    api, path, _ = await waiting(make_api)
    scopes = frozenset({Scope.EXECUTIONS_READ})
    made = await api.core.services.keys.create(api.caller.workspace_id, "reader", scopes)
    reader = await signed_in(api, made.secret)
    assert 'name="do"' not in await reader.page(path)
    assert (await reader.send(path, do="approve")).status_code == 403


async def test_a_decision_opens_the_next_call_that_waits(make_api: MakeApi) -> None:
    api, path, _ = await waiting(make_api)
    other = await api.started()
    await api.rested(other)
    reader = await signed_in(api)
    answer = await reader.send(path, do="deny")
    assert answer.headers["location"].startswith(f"/console/approvals/{other}/")
    assert "The call before is denied" in await reader.page(answer.headers["location"])


async def test_another_workspace_s_call_is_not_there(make_api: MakeApi) -> None:
    api, path, _ = await waiting(make_api)
    other = await api.core.services.workspaces.put("other")
    made = await api.core.services.keys.create(other.id, "theirs")
    reader = await signed_in(api, made.secret)
    assert (await reader.get(path)).status_code == 404
    assert (await reader.send(path, do="approve")).status_code == 404
    assert "Nothing waits for you" in await reader.page("/console/approvals")


# --- forms


def test_what_a_form_cannot_show_is_json() -> None:
    assert fields_of(None, {}) == []
    assert fields_of({"type": "object"}, {"a": 1}) == []
    assert fields_of(SCHEMA, {"order": "1", "other": 2}) == [], "an argument without a field"
    odd = {"properties": {"a": {"type": "string"}, "b": True, "c": {"type": ["string", "null"]}}}
    kinds = [field.kind for field in fields_of(odd, {"a": 5})]
    assert kinds == ["json", "json", "json"]


def test_fields_that_were_not_touched_keep_their_values_exactly() -> None:
    proposed = {"order": "x", "amount": 2**60 + 1, "lines": [1.0, 1e300]}
    fields = fields_of(SCHEMA, proposed)
    form = {f"argument.{field.name}": field.text for field in fields}
    assert sent(fields, form, proposed) == proposed
    assert sent(fields, {}, proposed) == proposed
    assert "note" not in sent(fields, form | {"argument.note": ""}, proposed)
    assert sent(fields, form | {"argument.order": ""}, proposed)["order"] == ""
    assert "amount" not in sent(fields, form | {"argument.amount": ""}, proposed)


def test_line_ends_that_browsers_change_stay_as_the_model_wrote_them() -> None:
    schema = {"properties": {name: {"type": "string"} for name in ("mail", "mixed", "mac")}}
    proposed = {"mail": "Dear Ann,\r\n\r\nBob", "mixed": "a\r\nb\nc", "mac": "a\rb"}
    fields = fields_of(schema, proposed)
    as_sent = {"mail": "Dear Ann,\n\nBob", "mixed": "a\nb\nc", "mac": "a\nb"}
    form = {f"argument.{name}": text for name, text in as_sent.items()}
    assert sent(fields, form, proposed) == proposed
    edited = sent(fields, form | {"argument.mail": "Dear Eve,\n\nBob"}, proposed)
    assert edited["mail"] == "Dear Eve,\r\n\r\nBob"


def test_a_choice_is_what_the_schema_has_of_whatever_type() -> None:
    schema = {
        "properties": {
            "size": {"type": "string", "enum": ["1", "2"]},
            "count": {"type": "integer", "enum": [1, 2]},
            "unit": {"type": "string", "enum": ["", "kg"]},
        },
        "required": True,  # of an old draft, in tools of MCP servers
    }
    fields = fields_of(schema, {"size": "1", "count": 1.0, "unit": "kg"})
    assert [field.kind for field in fields] == ["choice", "choice", "text"]
    assert fields[1].choices == ("1.0", "1", "2"), "what was proposed stays chosen"
    chosen = {"argument.size": "2", "argument.count": "2", "argument.unit": ""}
    assert sent(fields, chosen, {"unit": "kg"}) == {"size": "2", "count": 2, "unit": ""}


def test_characters_that_do_not_show_are_shown() -> None:
    assert visible("a\u202eb\x9b31m\u200b\ufeff") == r"a\u202eb\u009b31m\u200b\ufeff"
    assert visible("ok\U000e006e\U000e006f") == r"ok\u{e006e}\u{e006f}", "tags, which models read"
    as_people_write = "a\tb\r\n👨\u200d👩\u200d👧 می\u200cخواهم"
    assert visible(as_people_write) == as_people_write


@pytest.mark.parametrize("schema", [SCHEMA, {"type": "object"}], ids=["fields", "json"])
async def test_what_does_not_show_in_a_field_is_shown_below(
    make_api: MakeApi, schema: dict[str, Any]
) -> None:
    tool = ToolSpec("refund", "Refund it.", schema, Effect.DESTRUCTIVE, approval=True)
    asks = call(1, "refund", order="A\u202e1-B", amount=1)
    model = FakeModel(by_turn([asks], ["Done."]))
    api = await make_api(model, agent=spec(tool), tools=FakeTools(refund=lambda _: ""))
    run = await api.started()
    await api.rested(run)
    page = await (await signed_in(api)).page(f"/console/approvals/{run}/{asks.id}")
    field, _, below = page.partition("With the characters that do not show")
    assert "A\u202e1-B" in field
    assert r"A\u202e1-B" in below.partition("</p>")[0]


def test_no_number_is_rounded() -> None:
    fields, long = fields_of(SCHEMA, {}), "1" * 30
    forms: list[dict[str, str]] = [
        {"argument.amount": long},
        {"argument.lines": f"[{long}]"},
        {"argument.amount": "1e400"},
        {"argument.amount": "1,5"},
    ]
    for form in forms:
        with pytest.raises(NotArguments, match=r"beyond 64 bits|not a number"):
            sent(fields, form, {})
    assert value_of(long) == long
    assert value_of(str(2**64 - 1)) == 2**64 - 1


def test_everything_as_json_is_one_object() -> None:
    assert sent([], {"arguments": '{"a": 1}'}, {}) == {"a": 1}
    for text in ("[1]", "{", "", "1"):
        with pytest.raises(NotArguments):
            sent([], {"arguments": text}, {"a": 2})


def test_a_field_shows_what_is_wrong_with_it() -> None:
    fields = filled(fields_of(SCHEMA, {}), {"argument.amount": "x"}, NotArguments("amount", "No."))
    wrong = {field.name: (field.text, field.problem) for field in fields if field.problem}
    assert wrong == {"amount": ("x", "No.")}


def test_a_difference_ignores_the_order_of_keys() -> None:
    assert difference({"a": 1, "b": 2}, {"b": 2, "a": 1}) == []
    assert ("ins", '  "b": 3') in difference({"b": 2}, {"b": 3})


def test_a_difference_of_many_lines_takes_no_squared_time() -> None:
    before, after = ({"rows": [f"{word} {n}" for n in range(20_000)]} for word in ("a", "b"))
    assert len(difference(before, after)) == 401
