"""Answers to what tools' servers request during calls, checked against the requests."""

from typing import Any, Final

from outlast.agents.tools.arguments import InvalidSchema, compile_schema
from outlast.model.error import InvalidField
from outlast.model.input_request import ACTIONS, Answers, InputRequest
from outlast.model.wait import CallResult

_VALUES: Final = (str, int, float, bool, type(None))


def checked_answers(request: InputRequest, given: CallResult) -> CallResult:
    """Return the answers of a client's result, by question. Raises InvalidField.

    A request of one question is answered with `{action, content}`, any with these by id.
    """
    if given.is_error:
        raise InvalidField(
            "The call waits for input: give a result with the action decline or cancel.",
            param="error",
        )
    written = given.result
    if isinstance(written, dict) and isinstance(written.get("action"), str):
        written = dict.fromkeys(request.questions, written) if _is_one(request) else written
    if not isinstance(written, dict) or written.keys() != request.questions.keys():
        ids = ", ".join(request.questions)
        raise InvalidField(
            "The result is an object with an action, and by accept with content; of several "
            f"questions one by id: {ids}.",
            param="result",
        )
    answers: Answers = {
        key: _answer(f"result.{key}" if not _is_one(request) else "result", question, written[key])
        for key, question in request.questions.items()
    }
    return CallResult(answers)


def _is_one(request: InputRequest) -> bool:
    return len(request.questions) == 1


def _answer(param: str, question: dict[str, Any], written: Any) -> dict[str, Any]:
    """Return one answer. Raises InvalidField."""
    action = written.get("action") if isinstance(written, dict) else None
    if action not in ACTIONS:
        words = ", ".join(ACTIONS)
        raise InvalidField(f"The action is one of {words}.", param=f"{param}.action")
    if action != "accept" or question["mode"] != "form":
        return {"action": action}
    content = written.get("content")
    if not isinstance(content, dict):
        raise InvalidField(
            "What is accepted has content, an object by the schema.", param=f"{param}.content"
        )
    _check(f"{param}.content", question["schema"], content)
    return {"action": action, "content": content}


def _check(param: str, schema: dict[str, Any], content: dict[str, Any]) -> None:
    """Raise InvalidField, naming the place, for content that does not fit."""
    for key, value in content.items():
        flat = isinstance(value, list) and all(isinstance(one, str) for one in value)
        if not (flat or isinstance(value, _VALUES)):
            raise InvalidField(
                "A value is text, a number, true or false, or a list of texts.",
                param=f"{param}.{key}",
            )
    try:
        validator = compile_schema(schema)
    except InvalidSchema:
        return  # the server's schema is not valid: what fits it is for the server to say
    for problem in validator.iter_errors(content):
        place = ".".join((param, *(str(key) for key in problem.instance_path)))
        raise InvalidField(problem.message.partition("\n")[0][:300], param=place)
