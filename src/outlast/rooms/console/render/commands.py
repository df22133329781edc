"""What a page's actions are as curl, on the command line, and in Python; the key is a variable."""

import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final, NamedTuple
from urllib.parse import quote

import orjson

from outlast.http.call import Call


class Action(NamedTuple):
    """One action; its texts name the ids of what it is done to."""

    name: str
    method: str
    path: str
    body: dict[str, Any] | None
    command: str
    """Of the command line; empty if it has none."""
    python: str
    typescript: str = ""


_EXECUTION: Final = "/v1/executions/{execution}"
_BUDGET: Final = "/v1/budgets/{owner}"
_VIEW: Final = "/v1/views/{view}"
_SCHEDULE: Final = "/v1/schedules/{schedule}"
ACTIONS: Final[dict[str, Action]] = {
    "execute": Action(
        "Send",
        "POST",
        "/v1/agents/{agent}/execute",
        {"input": "Hello"},
        "outlast run {agent} Hello",
        'client.execute({agent}, "Hello")',
        'for await (const frame of outlast.stream({agent}, "Hello")) console.log(frame)',
    ),
    "turn": Action(
        "Send",
        "POST",
        "/v1/agents/{agent}/execute",
        {"input": "And then?", "conversationId": "{conversation}"},
        "",
        'client.execute({agent}, "And then?", conversation_id={conversation})',
        'await outlast.execute({agent}, "And then?", {{ conversationId: {conversation} }})',
    ),
    "pause": Action(
        "Pause",
        "POST",
        _EXECUTION + "/pause",
        {},
        "outlast executions pause {execution}",
        "client.pause({execution})",
    ),
    "resume": Action(
        "Resume",
        "POST",
        _EXECUTION + "/resume",
        {},
        "outlast executions resume {execution}",
        "client.resume({execution})",
    ),
    "cancel": Action(
        "Cancel",
        "POST",
        _EXECUTION + "/cancel",
        None,
        "outlast executions cancel {execution}",
        "client.cancel({execution})",
    ),
    "delete": Action(
        "Delete",
        "DELETE",
        _EXECUTION,
        None,
        "outlast executions delete {execution}",
        "client.delete({execution})",
    ),
    "roll_back": Action(
        "Roll back",
        "POST",
        _EXECUTION + "/resume",
        {"checkpointId": "{checkpoint}"},
        "outlast executions resume {execution} --checkpoint {checkpoint}",
        "client.resume({execution}, {checkpoint})",
    ),
    "approve": Action(
        "Approve",
        "POST",
        _EXECUTION + "/approvals/{tool_call}",
        {"approved": True},
        "outlast approve {execution} {tool_call}",
        "client.decide({execution}, {tool_call}, approved=True)",
    ),
    "deny": Action(
        "Deny",
        "POST",
        _EXECUTION + "/approvals/{tool_call}",
        {"approved": False, "reason": "too much"},
        "outlast deny {execution} {tool_call} --reason 'too much'",
        'client.decide({execution}, {tool_call}, approved=False, reason="too much")',
    ),
    "answer": Action(
        "Give its result",
        "POST",
        _EXECUTION + "/client-calls/{tool_call}",
        {"result": "done"},
        "outlast executions answer {execution} {tool_call} --result '\"done\"'",
        'client.answer({execution}, {tool_call}, "done")',
    ),
    "give_input": Action(
        "Give its input",
        "POST",
        _EXECUTION + "/client-calls/{tool_call}",
        {"result": {"action": "decline"}},
        "outlast executions answer {execution} {tool_call} --decline",
        'client.answer({execution}, {tool_call}, {{"action": "decline"}})',
    ),
    "delete_conversation": Action(
        "Delete",
        "DELETE",
        "/v1/conversations/{conversation}",
        None,
        "",
        "client.delete_conversation({conversation})",
    ),
    "fire": Action(
        "Run now",
        "POST",
        _SCHEDULE + "/fire",
        {},
        "outlast schedules fire {schedule}",
        "client.fire_schedule({schedule})",
    ),
    "pause_schedule": Action(
        "Pause",
        "POST",
        _SCHEDULE + "/pause",
        None,
        "outlast schedules pause {schedule}",
        "client.pause_schedule({schedule})",
    ),
    "resume_schedule": Action(
        "Resume",
        "POST",
        _SCHEDULE + "/resume",
        None,
        "outlast schedules resume {schedule}",
        "client.resume_schedule({schedule})",
    ),
    "set_budget": Action(
        "Set",
        "PUT",
        _BUDGET,
        {"maxCredits": 5},
        "outlast budgets set {owner} --max-credits 5",
        'client.set_budget({owner}, {{"maxCredits": 5}})',
    ),
    "remove_budget": Action(
        "Remove",
        "DELETE",
        _BUDGET,
        None,
        "outlast budgets remove {owner}",
        "client.remove_budget({owner})",
    ),
    "save_view": Action(
        "Save this filter as a view",
        "PUT",
        _VIEW,
        {"filter": "{filter}"},
        "outlast views save {view} {filter}",
        "client.put_view({view}, {filter})",
    ),
    "remove_view": Action(
        "Remove the view",
        "DELETE",
        _VIEW,
        None,
        "outlast views remove {view}",
        "client.remove_view({view})",
    ),
    "revoke": Action(
        "Revoke",
        "DELETE",
        "/v1/keys/{key}",
        None,
        "outlast keys revoke {key}",
        "client.revoke_key({key})",
    ),
}


@dataclass(frozen=True, slots=True)
class Commands:
    """One action as it is done without the console."""

    name: str
    curl: str
    command: str
    python: str
    typescript: str = ""


def commands(call: Call, names: list[str], **ids: str) -> list[Commands]:
    """Return the named actions with their ids."""
    url = f"{call.scope['scheme']}://{call.headers.get('host', '')}{call.link('')}"
    return [_commands(url, ACTIONS[name], ids) for name in names]


def commands_of_each(call: Call, name: str, each: Iterable[dict[str, str]]) -> list[Commands]:
    """Return one action on each of several things, a line for each; none if there is none."""
    made = [one for ids in each for one in commands(call, [name], **ids)]
    if not made:
        return []
    lines = zip(*((one.curl, one.command, one.python) for one in made), strict=True)
    return [Commands(made[0].name, *("\n".join(texts).strip() for texts in lines))]


def _commands(url: str, action: Action, ids: dict[str, str]) -> Commands:
    address = url + action.path.format(**{name: quote(one, "") for name, one in ids.items()})
    method = "" if action.method == "POST" and action.body is not None else f"-X {action.method} "
    curl = f'curl {method}{shlex.quote(address)} -H "Authorization: Bearer $OUTLAST_API_KEY"'
    if action.body is not None:
        body = {
            name: value.format(**ids) if isinstance(value, str) else value
            for name, value in action.body.items()
        }
        curl += f" -d {shlex.quote(orjson.dumps(body).decode())}"
    words = {name: shlex.quote(one) for name, one in ids.items()}
    literals = {name: orjson.dumps(one).decode() for name, one in ids.items()}
    return Commands(
        action.name,
        curl,
        action.command.format(**words),
        action.python.format(**literals),
        action.typescript.format(**literals),
    )
