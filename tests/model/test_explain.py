"""Every validation error that a user can see is plain English, never the validator's own phrase."""

import re
from collections.abc import Iterator
from typing import Any, get_args

import pytest
from pydantic import BaseModel, ValidationError
from pydantic_core._pydantic_core import list_all_errors

from outlast.agents.agents_file import file_entry
from outlast.model.error import OutlastError
from outlast.model.explain import explain
from outlast.rooms.background import schemas as background
from outlast.rooms.executions import schemas as executions
from outlast.rooms.records import schemas as records
from outlast.rooms.runs import schemas as runs
from outlast.rooms.tasks import schemas as tasks

FOREIGN = re.compile(
    r"[Ii]nput should|[Ii]nputs are|[Ii]nstance of|valid (dict|string|integer|list)"
)
MODELS = [
    file_entry(),
    *(
        model
        for room in (background, executions, records, runs, tasks)
        for model in vars(room).values()
        if isinstance(model, type) and issubclass(model, BaseModel) and model is not BaseModel
    ),
]
ODD: tuple[Any, ...] = (
    *(None, True, -1, 10**6, 2.5, float("nan"), 10**30, "", "x", "12.5", "1" * 400, [], {}),
    *([None], [1, "x"], ["x"] * 200, {"a": 1}, [{}], [[]], {"x": None}),
)


def errors_of(kind: str) -> dict[str, Any]:
    known = next(one for one in list_all_errors() if one["type"] == kind)
    context = known.get("example_context") or {}
    return {
        "type": kind,
        "loc": ("field",),
        "msg": known["example_message_python"],
        "input": object(),
        "ctx": context,
    }


@pytest.mark.parametrize("kind", [one["type"] for one in list_all_errors()])
def test_no_kind_of_mistake_shows_the_validators_own_phrase(kind: str) -> None:
    detail = errors_of(kind)
    (found,) = explain([detail], {"field": detail["input"]})
    assert found.path == ("field",)
    assert found.text
    assert not FOREIGN.search(found.text)


def mutants(model: type[BaseModel]) -> Iterator[Any]:
    yield from ODD
    for name, field in model.model_fields.items():
        key = field.alias or name
        yield from ({key: odd} for odd in ODD)
        for inner in (field.annotation, *get_args(field.annotation)):
            if isinstance(inner, type) and issubclass(inner, BaseModel):
                yield from ({key: below} for below in mutants(inner))
                yield from ({key: [below]} for below in mutants(inner))


@pytest.mark.parametrize("model", MODELS, ids=lambda model: f"{model.__module__}.{model.__name__}")
def test_whatever_is_sent_the_answer_says_where_and_what_in_plain_english(
    model: type[BaseModel],
) -> None:
    for document in mutants(model):
        try:
            model.model_validate(document)
        except ValidationError as error:
            for found in explain(error.errors(include_url=False), document):
                assert not FOREIGN.search(found.text), (document, found)
                assert re.match(r"must |is |names ", found.text), (document, found)
                assert "ApprovalEntry" not in str(found.path)
        except OutlastError:
            continue  # an id that is none is a thing that is not there


def said(model: type[BaseModel], document: dict[str, Any]) -> list[str]:
    with pytest.raises(ValidationError) as caught:
        model.model_validate(document)
    return [
        f"{'.'.join(map(str, one.path))}: {one.text}"
        for one in explain(caught.value.errors(include_url=False), document)
    ]


@pytest.mark.parametrize(
    ("model", "document", "text"),
    [
        (executions.ListQuery, {"limit": "500"}, "limit: must be at most 100, not 500"),
        (executions.ListQuery, {"limit": "many"}, 'limit: must be a whole number, not "many"'),
        (executions.ExecuteBody, {"input": 5}, "input: must be text, not 5"),
        (executions.ExecuteBody, {"input": ""}, "input: must not be empty"),
        (
            executions.ExecuteBody,
            {"input": "Hi", "onBusy": "panic"},
            'onBusy: must be enqueue, reject or interrupt, not "panic"',
        ),
        (
            executions.ExecuteBody,
            {"input": "Hi", "user": "u" * 257},
            "user: must have at most 256 characters",
        ),
        (
            runs.RunBody,
            {"messages": [{"role": "user", "content": 5}]},
            "messages.0.content: must be text or a list, not 5",
        ),
        (
            runs.RunBody,
            {"messages": [{"role": "user", "content": [{"text": "Hi"}]}]},
            "messages.0.content.0.type: is missing",
        ),
    ],
)
def test_what_was_expected_and_what_was_given_are_said(
    model: type[BaseModel], document: dict[str, Any], text: str
) -> None:
    assert said(model, document) == [text]


@pytest.mark.parametrize(
    "document",
    [
        {"input": "Hi", "forwardedHeaders": {"Authorization": 4711}},
        {"input": "Hi", "forwardedHeaders": "4711"},
        {"input": "Hi", "memory": {"session": "4711"}},
    ],
)
def test_what_may_be_a_secret_is_not_repeated(document: dict[str, Any]) -> None:
    assert all("4711" not in text for text in said(executions.ExecuteBody, document))
