r"""The Python client of the HTTP API.

    async with Client("http://127.0.0.1:8321", key) as client:
        async for frame in client.stream("support", "Where is my order?"):
            match frame.type:
                case "text_delta":
                    print(frame.data["text"], end="", flush=True)
                case "retry":  # the text since the last step is void: it comes anew
                    print("\n(once more)")
                case "done":
                    print(f"\n{frame.data['execution']['usage']['totalTokens']} tokens")
                case "error":
                    print(f"\n{frame.data['code']}: {frame.data['message']}")

Answers are the API's JSON as dicts. A stream that breaks is taken up again where it stood, with no
gap and no repeat; a request that starts an execution is sent again under the same Idempotency-Key.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from types import TracebackType
from typing import Any, ClassVar, Final, Self
from urllib.parse import quote

import httpx2
import orjson

from outlast.model.clock import Clock, SystemClock
from outlast.model.error import InvalidField, OutlastError
from outlast.model.text import storable

_CONNECT_SECONDS: Final = 5.0
_ANSWER_SECONDS: Final = 60.0
_SILENCE_SECONDS: Final = 45.0
"""A stream says something every 15 seconds; three times that means that the server is gone."""
_FIRST_WAIT: Final = 0.1
_LONGEST_WAIT: Final = 5.0
_PASSING: Final = frozenset({429, 502, 503, 504})
_IN_PROGRESS: Final = "request_in_progress"
_LAST: Final = frozenset({"done", "error"})
"""The frames that end a stream."""
_MOVING: Final = frozenset({"queued", "running"})
_POLL_SECONDS: Final = 1.0
_ENDED: Final = frozenset({"completed", "failed", "cancelled"})


class Unreachable(OutlastError):
    """The server does not answer."""

    code: ClassVar[str] = "unreachable"


class Refused(OutlastError):
    """The server answered with an error."""

    def __init__(self, status: int, message: str, code: str, request_id: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        """The HTTP status."""
        self.reason = code
        """The API's own code, such as `execution_not_found`."""
        self.request_id = request_id


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame of a stream."""

    id: str | None
    """The cursor behind it."""
    data: dict[str, Any]

    @property
    def type(self) -> str:
        """text_delta, tool_call_start, tool_call_end, retry, done, error and the others."""
        return str(self.data.get("type", ""))


class Client:
    """One server and one key. Every method raises Unreachable and Refused.

    Half of a surrogate pair in what is sent, which no JSON can spell, is sent as U+FFFD; two that
    meet are sent as their character. Raises InvalidField for a header that is not ASCII.
    """

    def __init__(
        self,
        url: str,
        key: str,
        *,
        patience: float = 60.0,
        clock: Clock | None = None,
        transport: httpx2.AsyncBaseTransport | None = None,
    ) -> None:
        """`patience` is for how many seconds a server that is away is waited for.

        Without a key only `ready` is answered.
        """
        _require_ascii(key, "The API key", "key")
        self._clock = clock or SystemClock()
        self._patience = patience
        self.url = url.rstrip("/")
        self._http = httpx2.AsyncClient(
            base_url=self.url,
            headers={"Authorization": f"Bearer {key}"} if key else {},
            timeout=httpx2.Timeout(_ANSWER_SECONDS, connect=_CONNECT_SECONDS),
            transport=transport,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Give back connections."""
        await self._http.aclose()

    # --- executions

    async def execute(
        self,
        agent: str,
        input: str,
        *,
        background: bool = False,
        idempotency_key: str | None = None,
        user: str | None = None,
        forwarded_headers: Mapping[str, str] | None = None,
        **more: Any,
    ) -> dict[str, Any]:
        """Run an agent and answer the execution: when it rests, or with `background` at once.

        `more` are fields of the body as the API names them: conversationId, metadata, memory,
        budget, onBusy. `user` is your end user; `forwarded_headers` go out with the calls of HTTP
        tools and are not kept.
        An execution that failed is an answer, not an error.
        """
        given = {"user": user, "forwardedHeaders": forwarded_headers and dict(forwarded_headers)}
        body = {"input": input, **more}
        body |= {name: value for name, value in given.items() if value is not None}
        if background:
            body["background"] = True
        _require_ascii(idempotency_key or "", "The Idempotency-Key", "idempotency_key")
        headers = {"Idempotency-Key": idempotency_key or self._clock.new_id("req")}
        answer = await self._persist(
            "POST",
            f"/v1/agents/{_segment(agent)}/execute",
            json=body,
            headers=headers,
            timeout=None if not background else _ANSWER_SECONDS,
        )
        while not background and answer.get("status") in _MOVING:  # the server left before its end
            await self._clock.sleep(_POLL_SECONDS)
            path = f"/v1/executions/{_segment(str(answer['id']))}"
            answer = await self._persist("GET", path)
        return answer

    async def stream(
        self, agent: str, input: str, *, idempotency_key: str | None = None, **more: Any
    ) -> AsyncGenerator[Frame, None]:
        """Run an agent and yield its frames to the last; see `execute` and `follow`."""
        started = await self.execute(
            agent, input, background=True, idempotency_key=idempotency_key, **more
        )
        async with aclosing(self.follow(str(started["id"]))) as frames:
            async for frame in frames:
                yield frame

    async def follow(
        self, execution_id: str, after: str | None = None
    ) -> AsyncGenerator[Frame, None]:
        """Yield an execution's frames to the last, from the first or from behind `after`.

        Held open while the execution is suspended or paused. A broken connection is made again.
        """
        _require_ascii(after or "", "The cursor", "after")
        wait, away = _FIRST_WAIT, None
        over = False
        while True:
            last = None
            try:
                async with aclosing(self._frames(execution_id, after)) as frames:
                    async for last in frames:
                        wait, away = _FIRST_WAIT, None
                        after = last.id or after
                        yield last
                if over or (last is not None and last.type in _LAST):
                    return
                over = (await self.get(execution_id)).get("status") in _ENDED
            except Unreachable:
                away = away or self._clock.monotonic()
                if self._clock.monotonic() - away > self._patience:
                    raise
            await self._clock.sleep(wait)
            wait = min(2 * wait, _LONGEST_WAIT)

    async def get(self, execution_id: str) -> dict[str, Any]:
        """One execution."""
        return await self._ask("GET", f"/v1/executions/{_segment(execution_id)}")

    async def list(self, **filters: Any) -> dict[str, Any]:
        """A page of executions, newest first: {data, hasMore, nextCursor}.

        `filters` as the API names them: agentId, status, limit, after, before, startDate, endDate,
        conversationId, parentId, user; `**{"metadata.KEY": value}` where the server indexes KEY.
        """
        params = {name: value for name, value in filters.items() if value is not None}
        return await self._ask("GET", "/v1/executions", params=params)

    async def cancel(self, execution_id: str) -> dict[str, Any]:
        """Cancel a live execution: {id, status, output, usage}. Refused (409) if it has ended."""
        return await self._ask("POST", f"/v1/executions/{_segment(execution_id)}/cancel")

    async def pause(
        self, execution_id: str, *, now: bool = False, reason: str | None = None
    ) -> dict[str, Any]:
        """Pause a live execution, at its next step or `now`; it may still be running its step."""
        body = {"now": now, "reason": reason}
        return await self._ask("POST", f"/v1/executions/{_segment(execution_id)}/pause", json=body)

    async def resume(self, execution_id: str, checkpoint_id: str | None = None) -> dict[str, Any]:
        """Go on from the newest checkpoint, or roll back to the named one."""
        body = {"checkpointId": checkpoint_id}
        return await self._ask("POST", f"/v1/executions/{_segment(execution_id)}/resume", json=body)

    async def checkpoints(self, execution_id: str) -> dict[str, Any]:
        """The execution's checkpoints, oldest first: {data}."""
        return await self._ask("GET", f"/v1/executions/{_segment(execution_id)}/checkpoints")

    async def delete(self, execution_id: str) -> None:
        """Delete an execution for good; one that runs is terminated first."""
        await self._ask("DELETE", f"/v1/executions/{_segment(execution_id)}")

    # --- approvals

    async def approvals(self, **page: Any) -> dict[str, Any]:
        """A page of the approvals that wait: {data, hasMore, nextCursor}."""
        params = {name: value for name, value in page.items() if value is not None}
        return await self._ask("GET", "/v1/approvals", params=params)

    async def decide(
        self, execution_id: str, tool_call_id: str, *, approved: bool, **more: Any
    ) -> dict[str, Any]:
        """Decide a tool call; `more` are reason, parameters, result. Refused (409) if decided."""
        path = f"/v1/executions/{_segment(execution_id)}/approvals/{_segment(tool_call_id)}"
        return await self._ask("POST", path, json={"approved": approved, **more})

    # --- conversations and agents

    async def conversations(self, **filters: Any) -> dict[str, Any]:
        """A page of conversations, newest activity first: {data, hasMore, nextCursor}.

        `filters` as the API names them: agentId, user, after, limit.
        """
        params = {name: value for name, value in filters.items() if value is not None}
        return await self._ask("GET", "/v1/conversations", params=params)

    async def conversation(self, conversation_id: str) -> dict[str, Any]:
        """One conversation with its turns."""
        return await self._ask("GET", f"/v1/conversations/{_segment(conversation_id)}")

    async def delete_conversation(self, conversation_id: str) -> None:
        """Delete a conversation for good."""
        await self._ask("DELETE", f"/v1/conversations/{_segment(conversation_id)}")

    async def agents(self, **page: Any) -> dict[str, Any]:
        """A page of agents: {data, hasMore, nextCursor}."""
        params = {name: value for name, value in page.items() if value is not None}
        return await self._ask("GET", "/v1/agents", params=params)

    async def agent(self, id_or_name: str) -> dict[str, Any]:
        """One agent."""
        return await self._ask("GET", f"/v1/agents/{_segment(id_or_name)}")

    async def ready(self) -> bool:
        """Whether the server takes work."""
        try:
            answer = await self._http.get("/readyz")
        except httpx2.TransportError as error:
            raise self._unreachable(error) from error
        return answer.status_code == httpx2.codes.OK

    # --- the wire

    async def _persist(self, method: str, path: str, **request: Any) -> dict[str, Any]:
        """Ask until there is an answer that stands, as long as the patience lasts."""
        wait, began = _FIRST_WAIT, self._clock.monotonic()
        while True:
            try:
                return await self._ask(method, path, **request)
            except (Unreachable, Refused) as error:
                passing = not isinstance(error, Refused) or (
                    error.status in _PASSING or error.reason == _IN_PROGRESS
                )
                if not passing or self._clock.monotonic() - began > self._patience:
                    raise
            await self._clock.sleep(wait)
            wait = min(2 * wait, _LONGEST_WAIT)

    async def _ask(self, method: str, path: str, **request: Any) -> dict[str, Any]:
        for name in ("json", "params"):
            if name in request:
                request[name] = storable(request[name])
        try:
            answer = await self._http.request(method, path, **request)
        except httpx2.TransportError as error:
            raise self._unreachable(error) from error
        if answer.status_code == httpx2.codes.NO_CONTENT:
            return {}
        content = _json(answer.content)
        if not answer.is_success:
            raise _refused(answer.status_code, content, answer.headers)
        if content is None:
            raise Refused(answer.status_code, f"{self.url} did not answer JSON.", "not_json")
        return content

    async def _frames(self, execution_id: str, after: str | None) -> AsyncGenerator[Frame, None]:
        """The frames of one connection. Raises Unreachable where it breaks or is not served now."""
        headers = {"Accept": "text/event-stream"}
        if after is not None:
            headers["Last-Event-ID"] = after
        path = f"/v1/executions/{_segment(execution_id)}/stream"
        timeout = httpx2.Timeout(_SILENCE_SECONDS, connect=_CONNECT_SECONDS)
        try:
            async with self._http.stream("GET", path, headers=headers, timeout=timeout) as answer:
                if answer.status_code in _PASSING:
                    raise Unreachable(f"{self.url} is not ready ({answer.status_code}).")
                if not answer.is_success:
                    raise _refused(answer.status_code, _json(await answer.aread()), answer.headers)
                async for frame in _parse(answer.aiter_bytes()):
                    yield frame
        except httpx2.TransportError as error:
            raise self._unreachable(error) from error

    def _unreachable(self, error: Exception) -> Unreachable:
        return Unreachable(f"{self.url} does not answer: {str(error) or type(error).__name__}.")


async def _parse(chunks: AsyncIterator[bytes]) -> AsyncGenerator[Frame, None]:
    """Server-sent events (WHATWG HTML standard); a frame that breaks off is dropped."""
    rest = b""
    cursor: str | None = None
    data: list[bytes] = []
    async for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            name, _, value = line.removesuffix(b"\r").partition(b":")
            value = value.removeprefix(b" ")
            if name == b"id":
                cursor = value.decode()
            elif name == b"data":
                data.append(value)
            elif not name and not value and data:
                content = _json(b"\n".join(data))
                data = []
                if content is not None:
                    yield Frame(cursor, content)


def _json(content: bytes) -> dict[str, Any] | None:
    try:
        value = orjson.loads(content)
    except orjson.JSONDecodeError:
        return None
    return value if isinstance(value, dict) else None


def _refused(status: int, content: dict[str, Any] | None, headers: Mapping[str, str]) -> Refused:
    error = (content or {}).get("error")
    error = error if isinstance(error, dict) else {"message": error}
    message = error.get("message") or f"The server answered {status}."
    request_id = error.get("requestId") or headers.get("x-request-id")
    return Refused(status, str(message), str(error.get("code") or "unknown"), request_id)


def _segment(text: str) -> str:
    """The text as one segment of a path."""
    return quote(storable(text), safe="")


def _require_ascii(text: str, what: str, param: str) -> None:
    if not text.isascii() or not text.isprintable():
        raise InvalidField(f"{what} holds a character that is not ASCII.", param=param)
