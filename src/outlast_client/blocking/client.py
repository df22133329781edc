# Made from outlast_client.asynchronous by tests.support.blocking_client.
"""The methods of the client, one per operation of the API."""

import os
from collections.abc import Callable, Generator, Mapping
from contextlib import closing
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar

from outlast_client import types
from outlast_client.blocking.accounts import AccountMethods
from outlast_client.blocking.connection import (
    ANSWER_SECONDS,
    FIRST_WAIT,
    LONGEST_WAIT,
    Connection,
)
from outlast_client.blocking.memory import SyncMemoryClient
from outlast_client.clock import SyncClock, SyncSystemClock
from outlast_client.errors import Unreachable
from outlast_client.frames import Frame
from outlast_client.wire import RawResponse, require_ascii, segment

if TYPE_CHECKING:
    import httpx2

Kind = TypeVar("Kind", bound="SyncClient")
_LAST: Final = frozenset({"done", "error"})
"""Types of frames that end a stream."""
_MOVING: Final = frozenset({"queued", "running"})
_POLL_SECONDS: Final = 1.0
_ENDED: Final = frozenset({"completed", "failed", "cancelled"})


class SyncClient(AccountMethods):
    """One server and one key. Every method raises Unreachable and Refused.

    A lone surrogate, which JSON in UTF-8 cannot encode, is sent as U+FFFD; a pair is sent as its
    character. Raises InvalidField for a header that is not ASCII.
    """

    def __init__(
        self,
        url: str | None = None,
        key: str | None = None,
        *,
        patience: float = 60.0,
        retries: int = 2,
        timeout: float = ANSWER_SECONDS,
        clock: SyncClock | None = None,
        transport: "httpx2.BaseTransport | None" = None,
    ) -> None:
        """Without `url` and `key`, those of OUTLAST_URL and OUTLAST_API_KEY.

        `patience`: seconds to wait for an unavailable server before a request that starts something
        fails. `retries`: how often a request that changes nothing is sent again. `timeout`: seconds
        that an answer may take. Without a key only `ready` works.
        """
        url = url or os.environ.get("OUTLAST_URL") or "http://127.0.0.1:8321"
        key = os.environ.get("OUTLAST_API_KEY", "") if key is None else key
        self._connection = Connection(
            url,
            key,
            patience,
            clock or SyncSystemClock(),
            transport,
            retries=retries,
            timeout=timeout,
        )
        self._clock = self._connection.clock
        self.url = self._connection.url
        self.memory = SyncMemoryClient(self._connection)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.url!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections, also of clients that `with_options` and `with_raw` made of it."""
        self._connection.close()

    def with_options(
        self,
        *,
        timeout: float | None = None,
        retries: int | None = None,
        patience: float | None = None,
    ) -> Self:
        """Return a client with other bounds over the same connections, for one call or for many.

        `client.with_options(timeout=2, retries=0).get(execution_id)`. None leaves one as it
        is. Neither bounds how long `execute` waits for the agent: see `background`.
        """
        return self._over(self._connection.with_options(timeout, retries, patience), type(self))

    def with_raw(self) -> "SyncRawClient":
        """Return a client that keeps the last response as it came, over the same connections.

        `raw = client.with_raw()`, then `raw.get(execution_id)` and `raw.response.headers`.
        Calls that run at the same time need one each.
        """
        return self._over(self._connection.with_options(), SyncRawClient)

    def _over(self, connection: Connection, kind: "type[Kind]") -> "Kind":
        made = kind.__new__(kind)
        vars(made).update(vars(self), _connection=connection, memory=SyncMemoryClient(connection))
        return made

    def each(
        self, page: Callable[..., Any], *of: Any, **filters: Any
    ) -> Generator[Any, None, None]:
        """Yield everything that a paged method lists, over all its pages, as they are needed.

        `client.each(client.list, status="failed")`, `client.each(client.memory.items, store_id)`.
        """
        while True:
            found = page(*of, **filters)
            yield from found["data"]
            if not found.get("hasMore"):
                return
            filters["after"] = found["nextCursor"]

    # --- executions

    def execute(
        self,
        agent: str,
        input: str,
        *,
        background: bool = False,
        idempotency_key: str | None = None,
        user: str | None = None,
        forwarded_headers: Mapping[str, str] | None = None,
        **more: Any,
    ) -> types.Execution:
        """Run an agent and return the execution: when it rests, or with `background` at once.

        `more` are fields of the body as the API names them: conversationId, metadata, memory,
        budget, onBusy. `user` is your end user; `forwarded_headers` are sent with calls of HTTP
        tools and deleted afterwards. A failed execution is returned, not raised.
        """
        given = {"user": user, "forwardedHeaders": forwarded_headers and dict(forwarded_headers)}
        body = {"input": input, **more}
        body |= {name: value for name, value in given.items() if value is not None}
        if background:
            body["background"] = True
        headers = self._once(idempotency_key)
        answer = self._connection.persist(
            "POST",
            f"/v1/agents/{segment(agent)}/execute",
            json=body,
            headers=headers,
            **({} if background else {"timeout": None}),
        )
        while not background and answer.get("status") in _MOVING:  # the server left before its end
            self._clock.sleep(_POLL_SECONDS)
            path = f"/v1/executions/{segment(str(answer['id']))}"
            answer = self._connection.persist("GET", path)
        return answer

    def stream(
        self,
        agent: str,
        input: str,
        *,
        children: bool = False,
        idempotency_key: str | None = None,
        **more: Any,
    ) -> Generator[Frame, None, None]:
        """Run an agent and yield its frames to the last; see `execute` and `follow`."""
        started = self.execute(
            agent, input, background=True, idempotency_key=idempotency_key, **more
        )
        with closing(self.follow(str(started["id"]), children=children)) as frames:
            yield from frames

    def follow(
        self, execution_id: str, after: str | None = None, *, children: bool = False
    ) -> Generator[Frame, None, None]:
        """Yield an execution's frames to the last, from the first or after `after`.

        `children`: with the frames of all executions that it has called; each names its own by
        `executionId`, and `after` is then the id of a frame of such a stream.
        Held open while the execution is suspended or paused. Reconnects if the connection breaks.
        """
        require_ascii(after or "", "The cursor", "after")
        wait, away = FIRST_WAIT, None
        over = False
        while True:
            last = None
            try:
                with closing(
                    self._connection.frames(execution_id, after, children=children)
                ) as frames:
                    for last in frames:
                        wait, away = FIRST_WAIT, None
                        after = last.id or after
                        yield last
                if over or (last is not None and _is_last(last, execution_id)):
                    return
                over = (self.get(execution_id)).get("status") in _ENDED
            except Unreachable:
                away = away or self._clock.monotonic()
                if self._clock.monotonic() - away > self._connection.patience:
                    raise
            self._clock.sleep(wait)
            wait = min(2 * wait, LONGEST_WAIT)

    def get(self, execution_id: str) -> types.Execution:
        """Return one execution."""
        return self._connection.ask("GET", f"/v1/executions/{segment(execution_id)}")

    def list(self, **filters: Any) -> types.ExecutionPage:
        """Return a page of executions, newest first: {data, hasMore, nextCursor}.

        `filters` as the API names them: agentId, status, limit, after, before, startDate, endDate,
        conversationId, parentId, rootId, user; `**{"metadata.KEY": value}` for an indexed KEY.
        """
        params = {name: value for name, value in filters.items() if value is not None}
        return self._connection.ask("GET", "/v1/executions", params=params)

    def cancel(self, execution_id: str) -> types.Cancelled:
        """Cancel a live execution: {id, status, output, usage}. Refused (409) if it has ended."""
        return self._connection.ask("POST", f"/v1/executions/{segment(execution_id)}/cancel")

    def pause(
        self, execution_id: str, *, now: bool = False, reason: str | None = None
    ) -> types.Execution:
        """Pause a live execution, at its next step or `now`; it may still be running its step."""
        body = {"now": now, "reason": reason}
        return self._connection.ask(
            "POST", f"/v1/executions/{segment(execution_id)}/pause", json=body
        )

    def resume(self, execution_id: str, checkpoint_id: str | None = None) -> types.Execution:
        """Continue from the newest checkpoint, or roll back to the named one."""
        body = {"checkpointId": checkpoint_id}
        return self._connection.ask(
            "POST", f"/v1/executions/{segment(execution_id)}/resume", json=body
        )

    def checkpoints(self, execution_id: str) -> types.Checkpoints:
        """Return the execution's checkpoints, oldest first: {data}."""
        return self._connection.ask("GET", f"/v1/executions/{segment(execution_id)}/checkpoints")

    def stream_ticket(self, execution_id: str) -> types.StreamTicket:
        """Return a ticket for this execution's stream, in place of a key: {ticket, expiresAt}."""
        return self._connection.ask("POST", f"/v1/executions/{segment(execution_id)}/stream-ticket")

    def console_link(self) -> dict[str, Any]:
        """Return a link that signs in to the console once, as this key: {path, expiresAt}."""
        return self._connection.ask("POST", "/console/link")

    def delete(self, execution_id: str) -> None:
        """Delete an execution for good; one that runs is terminated first."""
        self._connection.ask("DELETE", f"/v1/executions/{segment(execution_id)}")

    # --- approvals

    def approvals(self, **page: Any) -> types.ApprovalPage:
        """Return a page of open approvals: {data, hasMore, nextCursor}."""
        params = {name: value for name, value in page.items() if value is not None}
        return self._connection.ask("GET", "/v1/approvals", params=params)

    def decide(
        self, execution_id: str, tool_call_id: str, *, approved: bool, **more: Any
    ) -> types.Approval:
        """Decide a tool call; `more` are reason, parameters, result. Refused (409) if decided."""
        path = f"/v1/executions/{segment(execution_id)}/approvals/{segment(tool_call_id)}"
        return self._connection.ask("POST", path, json={"approved": approved, **more})

    # --- calls that the client runs

    def answer(
        self, execution_id: str, tool_call_id: str, result: Any = None, *, error: str | None = None
    ) -> types.ClientCall:
        """Give the result of a call that the client runs, or the error in its place.

        The same again is answered in the same way. Refused (409) if it has another result.
        """
        path = f"/v1/executions/{segment(execution_id)}/client-calls/{segment(tool_call_id)}"
        body = {"result": result} if error is None else {"error": error}
        return self._connection.persist("POST", path, json=body)

    # --- conversations and agents

    def conversations(self, **filters: Any) -> types.ConversationPage:
        """Return a page of conversations, newest activity first: {data, hasMore, nextCursor}.

        `filters` as the API names them: agentId, user, after, limit.
        """
        params = {name: value for name, value in filters.items() if value is not None}
        return self._connection.ask("GET", "/v1/conversations", params=params)

    def conversation(self, conversation_id: str) -> types.Conversation:
        """Return one conversation with its turns."""
        return self._connection.ask("GET", f"/v1/conversations/{segment(conversation_id)}")

    def export_conversation(self, conversation_id: str) -> Generator[dict[str, Any], None, None]:
        """Yield everything that is kept of a conversation, as it is read; the last has type `end`.

        Raises Unreachable also if the answer ends before that.
        """
        path, whole = f"/v1/conversations/{segment(conversation_id)}/export", False
        with closing(self._connection.lines(path)) as lines:
            for line in lines:
                whole = line["type"] == "end"
                yield line
        if not whole:
            raise Unreachable(f"The export of {conversation_id} is not complete.")

    def image(self, execution_id: str, image_id: str) -> bytes:
        """Return the bytes of an image that a tool call has brought."""
        path = f"/v1/executions/{segment(execution_id)}/images/{segment(image_id)}"
        return self._connection.content(path)

    def delete_conversation(self, conversation_id: str) -> None:
        """Delete a conversation for good."""
        self._connection.ask("DELETE", f"/v1/conversations/{segment(conversation_id)}")

    def agents(self, **page: Any) -> types.AgentPage:
        """Return a page of agents: {data, hasMore, nextCursor}."""
        params = {name: value for name, value in page.items() if value is not None}
        return self._connection.ask("GET", "/v1/agents", params=params)

    def agent(self, id_or_name: str) -> types.Agent:
        """Return one agent."""
        return self._connection.ask("GET", f"/v1/agents/{segment(id_or_name)}")

    # --- views

    def views(self) -> types.ViewList:
        """Return all saved views by name: {data}."""
        return self._connection.ask("GET", "/v1/views")

    def put_view(self, name: str, filter_: str) -> types.ViewObject:
        """Save a view, replacing the one of its name: a filter as the console takes it."""
        body = {"filter": filter_}
        return self._connection.ask("PUT", f"/v1/views/{segment(name)}", json=body)

    def remove_view(self, name: str) -> None:
        """Remove a view, if there is one."""
        self._connection.ask("DELETE", f"/v1/views/{segment(name)}")

    def ready(self) -> bool:
        """Return whether the server takes work."""
        return self._connection.ready()


class SyncRawClient(SyncClient):
    """A client that keeps its last response; made by `with_raw`."""

    @property
    def response(self) -> RawResponse:
        """The last response that was read whole. Raises LookupError before the first one."""
        if (last := self._connection.last) is None:
            raise LookupError("There is no response yet.")
        return last


def _is_last(frame: Frame, execution_id: str) -> bool:
    """Whether the frame ends the execution's stream, rather than what one of its children sent."""
    return frame.type in _LAST and frame.data.get("executionId", execution_id) == execution_id
