"""docs/errors.md, made from the classes of errors; a test compares the two.

`python -m tests.support.error_page` writes it.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from outlast.http.errors import STATUS
from outlast.model import error
from outlast.model.client_call import ClientCallNotFound
from outlast.model.error import OutlastError
from outlast.model.image import ImageNotFound

PAGE: Final = Path(__file__).parents[2] / "docs" / "errors.md"
_HEAD: Final = """# Errors

Every code that an answer or a failed execution may have, made from the classes of errors by
`python -m tests.support.error_page`. [How an error looks](http.md#errors).
"""
_LIST: Final = "Compare the id with a list; what belongs to another workspace is not there."
_PROVIDER: Final = (
    "The server has tried again already. `outlast models check` sends each model a request."
)
HELPS: Final = {
    "agent_not_found": f"{_LIST} `outlast agents list`",
    "agent_paused": "Resume it: `POST /v1/agents/{agentId}/resume`.",
    "approval_not_found": f"{_LIST} `outlast approvals`",
    "body_too_large": "Send less, or raise the setting `max_body_bytes`.",
    "budget_exceeded": "Start again with a higher `budget`; of others: `outlast budgets list`",
    "budget_not_found": f"{_LIST} `outlast budgets list`",
    "checkpoint_not_found": "List them: `outlast executions checkpoints ID`",
    "client_call_not_found": "Read the execution: its `pendingClientCalls` are what waits.",
    "code_failed": "The message says what the function raised; mend it, then resume the execution.",
    "conflict": "Read the execution: another one may have moved it on. The first decision wins.",
    "context_length_exceeded": "Begin a new conversation, or use a model with a longer context.",
    "conversation_busy": "Wait for its end, or send `onBusy` `enqueue` or `interrupt`.",
    "conversation_not_found": f"{_LIST} Retention may have deleted it.",
    "diverged": "A code agent's function must call tools in the same order when it runs again.",
    "execution_not_found": f"{_LIST} `outlast executions list`",
    "execution_unreadable": "Update the processes that are older; a damaged one can be deleted.",
    "expired_api_key": "Make another: `outlast keys create`",
    "idempotency_mismatch": "Take a new Idempotency-Key for another request.",
    "image_not_found": "Read the execution: its `toolCalls` name their `images`.",
    "insufficient_scope": "Take a key with the scope that the message names: `outlast keys list`",
    "internal_error": "The server's log has it under the `requestId`. `outlast doctor`",
    "invalid_api_key": "Send `Authorization: Bearer <key>`; make one: `outlast keys create`",
    "invalid_arguments": "`param` names the place; the tool's schema says what fits.",
    "invalid_field_value": "`param` names the field, the message what it may be.",
    "invalid_request": "Send a JSON object in UTF-8.",
    "key_not_found": f"{_LIST} `outlast keys list`",
    "limit_exceeded": "Raise the agent's `limits`, or give it less to do. Where the message says "
    "that an answer's tokens were used before its first word, as by a model that thinks at length, "
    "raise `maxTokens` in the agent's `settings`.",
    "memory_item_not_found": f"{_LIST} `outlast memory list`",
    "memory_store_archived": "Take it out of the archive: change `archived`.",
    "memory_store_full": "Delete items, or use another store.",
    "memory_store_not_found": f"{_LIST} `outlast memory list`",
    "method_not_allowed": "`Allow` of the answer names the methods of this path.",
    "misconfigured": "`outlast doctor` names what is not right, and how to mend it.",
    "missing_required_field": "`param` names the field.",
    "model_rejected": "The message is the provider's: key, model name, base URL or content. "
    "`outlast doctor`. A content filter of the provider that withheld the whole answer is one too: "
    "change the input or the instructions.",
    "model_unavailable": _PROVIDER,
    "not_found": "Look for the path in the [HTTP API](http.md).",
    "overloaded": "Send it again after `Retry-After`, with the same Idempotency-Key.",
    "precondition_failed": "Read the item again, and send its newest `sha256`.",
    "quota_exceeded": "Wait until `Retry-After`, or raise it: `outlast budgets list`",
    "rate_limit_exceeded": "Wait, then send it again; waiting turns: `max_queued_turns`.",
    "request_in_progress": "Wait: the same request is being answered. Clients of ours do.",
    "schedule_not_found": f"{_LIST} `outlast schedules list`",
    "stale_write": "No answer has it: it is how a segment notices that another has taken over.",
    "store_locked": "One process uses a SQLite file: stop the one that is named, or use Postgres.",
    "tool_error": "The model reads it and goes on; in a code agent, catch it.",
    "tool_timeout": "Raise the tool's `timeout`, or make it answer sooner.",
    "tools_unavailable": "Look whether the MCP server runs: `outlast doctor`",
    "unsupported_encoding": "Send it without `Content-Encoding`.",
    "upstream_error": _PROVIDER,
}
"""What helps, by code."""
_OF_ROUTES: Final = {
    "method_not_allowed": "| The path exists with other methods. | 405 | `invalid_request_error` |",
}
"""Codes without a class: the row of their table."""


def classes() -> dict[str, list[type[OutlastError]]]:
    """Return the classes of each code."""
    found: dict[str, list[type[OutlastError]]] = {}
    for kind in (*vars(error).values(), ClientCallNotFound, ImageNotFound):
        if isinstance(kind, type) and issubclass(kind, OutlastError):
            found.setdefault(kind.code, []).append(kind)
    return dict(sorted(found.items()))


def codes() -> list[str]:
    """Return every code."""
    return sorted({*classes(), *_OF_ROUTES})


def page() -> str:
    """Return the whole page."""
    return "\n".join([_HEAD, *(line for code in codes() for line in _section(code))])


def _section(code: str) -> Iterator[str]:
    yield from (f"## {code}", "", "| when | status | type |", "|---|---|---|")
    if code in _OF_ROUTES:
        yield _OF_ROUTES[code]
    for kind in classes().get(code, ()):
        branch = next((STATUS[above] for above in kind.__mro__ if above in STATUS), None)
        status, name = branch or ("", "of an execution, or at a start")
        text = " ".join((kind.__doc__ or "").split("\n\n")[0].split())
        yield f"| {text} | {status} | {f'`{name}`' if branch else name} |"
    yield from ("", f"What helps: {HELPS[code]}", "")


if __name__ == "__main__":
    PAGE.write_text(page())
