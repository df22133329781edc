"""What the load generator asks of Outlast, of the bare endpoint and of the provider."""

from typing import Any

from bench.client import Answer, ask_once, get, post
from bench.process import Child

KEY = "bench-key-0123456789abcdef0123456789abcdef"
QUESTION = "What is the status of order A-1?"
TOKEN = b'"text_delta"'
"""Marks a token in our frames and in the bare endpoint's."""
DIRECT_TOKEN = b'"content":'
"""Marks a token in the provider's."""


def execute(agent: str, text: str = QUESTION, **more: Any) -> bytes:
    """The bytes that ask Outlast to run an agent."""
    return post(f"/v1/agents/{agent}/execute", {"input": text, **more}, KEY)


def follow(execution_id: str) -> bytes:
    """The bytes that ask Outlast for an execution's events, to its end."""
    return get(f"/v1/executions/{execution_id}/stream", KEY)


def cancel(execution_id: str) -> bytes:
    """The bytes that ask Outlast to cancel an execution."""
    return post(f"/v1/executions/{execution_id}/cancel", {}, KEY)


def pause(execution_id: str) -> bytes:
    """The bytes that ask Outlast to pause an execution."""
    return post(f"/v1/executions/{execution_id}/pause", {}, KEY)


def ask_bare(path: str) -> bytes:
    """The bytes that ask the bare endpoint."""
    return post(path, {"input": QUESTION})


def ask_provider(model: str, *, stream: bool = True) -> bytes:
    """The bytes that ask the provider itself."""
    message = {"role": "user", "content": QUESTION}
    body = {"model": model, "messages": [message], "stream": stream}
    return post("/v1/chat/completions", body)


def is_completed(answer: Answer) -> bool:
    """Whether Outlast's execution ended well."""
    return answer.status == 200 and b'"status":"completed"' in answer.body.replace(b": ", b":")


def is_ok(answer: Answer) -> bool:
    """Whether the answer has status 200 and an output."""
    return answer.status == 200 and bool(answer.body)


async def fetch(child: Child, path: str) -> Any:
    """JSON of a GET from Outlast. Raises RuntimeError."""
    return (await ask_once(child.port, get(path, KEY))).json()
