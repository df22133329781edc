"""Answers that are kept for requests that repeat an idempotency key."""

import orjson
from starlette.responses import Response


def kept(response: Response) -> str:
    """Return a response as stored for requests that repeat its idempotency key."""
    headers = {
        name: value
        for name, value in response.headers.items()
        if name not in ("content-length", "content-type")
    }
    answer = {
        "status": response.status_code,
        "headers": headers,
        "body": bytes(response.body).decode(),
    }
    return orjson.dumps(answer).decode()


def replayed(answer: str) -> Response:
    """Return a stored response, marked as replayed."""
    known = orjson.loads(answer)
    response = Response(known["body"], known["status"], known["headers"], "application/json")
    return mark_replayed(response)


def mark_replayed(response: Response) -> Response:
    """Mark the response as a replay of the first request's."""
    response.headers["Idempotency-Replayed"] = "true"
    return response
