"""Forms for what tools' servers request of a person, and the answers that they send."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from outlast.model.input_request import ACTIONS, InputRequest
from outlast.rooms.console.render.arguments import (
    Field,
    NotArguments,
    fields_of,
    filled,
    sent,
)

_ACTION: Final = "action."
"""Of the names of fields that say what is done with one of several questions."""
_LINKS: Final = ("https://", "http://")


class NotAnswers(Exception):
    """What a form holds is no answer; `question` and `field` say where."""

    def __init__(self, question: str, field: str, message: str) -> None:
        super().__init__(message)
        self.question, self.field, self.message = question, field, message


@dataclass(frozen=True, slots=True)
class Question:
    """One question of a request."""

    id: str
    message: str
    prefix: str
    """Of the names of its fields."""
    fields: list[Field]
    url: str
    """Where the person is to go; empty: it has a form."""
    raw: str | None
    """What was sent as JSON, where it has no fields."""
    action: str

    @property
    def leads(self) -> bool:
        """Whether its address may be a link."""
        return self.url.startswith(_LINKS)


def questions_of(
    request: InputRequest, form: Mapping[str, str], problem: NotAnswers | None
) -> list[Question]:
    """Return the questions with their fields, as they were sent."""
    found = []
    for key, question in request.questions.items():
        wrong = problem if problem is not None and problem.question == key else None
        named = None if wrong is None else NotArguments(wrong.field, wrong.message)
        prefix, is_form = _prefix(key), question["mode"] == "form"
        fields = fields_of(question["schema"], _defaults(question)) if is_form else []
        found.append(
            Question(
                key,
                str(question["message"]),
                prefix,
                filled(fields, form, named, prefix),
                "" if is_form else str(question["url"]),
                form.get(prefix),
                form.get(_ACTION + key, ACTIONS[0]),
            )
        )
    return found


def answers_of(request: InputRequest, form: Mapping[str, str]) -> dict[str, Any]:
    """Return the answers of a form, by question. Raises NotAnswers."""
    done = form.get("do", "")
    found: dict[str, Any] = {}
    for key, question in request.questions.items():
        action = done if done in ACTIONS else form.get(_ACTION + key, "")
        found[key] = {"action": action}
        if action == ACTIONS[0] and question["mode"] == "form":
            defaults = _defaults(question)
            fields = fields_of(question["schema"], defaults)
            try:
                found[key]["content"] = sent(fields, form, defaults, _prefix(key))
            except NotArguments as error:
                raise NotAnswers(key, error.name, error.message) from error
    return found


def refused(request: InputRequest, param: str | None, message: str) -> NotAnswers:
    """Return what the API says of an answer, with the question and the field that it names."""
    place = (param or "").removeprefix("result").removeprefix(".")
    question = next(iter(request.questions))
    if len(request.questions) > 1:
        question, _, place = place.partition(".")
    return NotAnswers(question, place.removeprefix("content").strip(".").partition(".")[0], message)


def _prefix(question: str) -> str:
    return f"answer.{question}."


def _defaults(question: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values that the schema proposes."""
    properties = question["schema"].get("properties")
    if not isinstance(properties, dict):
        return {}
    return {
        name: one["default"]
        for name, one in properties.items()
        if isinstance(one, dict) and "default" in one
    }
