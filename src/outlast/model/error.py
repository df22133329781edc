"""The errors of the core, one tree; each class has a stable code and its docstring is its message.

OutlastError
├── InvalidRequest           400  the caller sent something that cannot be right
│   ├── InvalidId
│   ├── MissingField
│   ├── InvalidFilter
│   └── InvalidCursor
├── Unauthenticated          401
│   └── ExpiredKey
├── MissingScope             403
├── NotFound                 404  also what belongs to another workspace
│   ├── AgentNotFound · ExecutionNotFound · ConversationNotFound
│   ├── ApprovalNotFound · CheckpointNotFound · KeyNotFound · ScheduleNotFound · ImageNotFound
│   ├── BudgetNotFound · ClientCallNotFound · MemoryStoreNotFound · MemoryItemNotFound
├── Conflict                 409
│   ├── AgentPaused · ConversationBusy · StaleWrite · RequestInProgress
│   ├── MemoryArchived · MemoryFull
├── PreconditionFailed       412
├── BodyTooLarge             413
├── UnsupportedEncoding      415  a compressed body
├── InvalidField             422  the right shape with a value that cannot be
│   ├── IdempotencyMismatch · InvalidArguments
├── RateLimited              429
│   ├── TooManyTurns · QuotaExceeded
├── Upstream                 502  a model provider or a tool's server
│   ├── ModelUnavailable · ModelRateLimited · ModelRejected · ContextTooLong · ToolsUnavailable
├── Overloaded               503
├── Refused, ExecutionUnreadable  500  the database does not take this write; a broken or newer row
├── ToolFailed                    shown to the model, never to the caller
│   ├── ToolTimeout
├── LimitExceeded · BudgetExceeded   end an execution
├── CodeFailed · Diverged            a code agent's function ends its execution
└── Misconfigured                 the operator's settings, agents file or installation
    └── StoreLocked
"""

from collections.abc import Callable
from typing import ClassVar

from outlast.model.amount import amount


class OutlastError(Exception):
    """Something went wrong."""

    code: ClassVar[str] = "internal_error"

    def __init__(self, message: str | None = None, *, param: str | None = None) -> None:
        self.message = message or (type(self).__doc__ or "").strip()
        self.param = param
        super().__init__(self.message)


class InvalidRequest(OutlastError):
    """The request cannot be understood."""

    code = "invalid_request"


class InvalidId(InvalidRequest):
    """This is not an id."""

    code = "invalid_field_value"

    def __init__(self, prefix: str, text: str, *, param: str | None = None) -> None:
        self.prefix = prefix
        super().__init__(f"{text[:80]!r} is not an id of the form {prefix}_…", param=param)


class MissingField(InvalidRequest):
    """A required field is missing."""

    code = "missing_required_field"


class InvalidFilter(InvalidRequest):
    """A query parameter has a value that it cannot have."""

    code = "invalid_field_value"


class InvalidCursor(InvalidRequest):
    """This cursor is not one that this server gave out."""

    code = "invalid_field_value"


class BodyTooLarge(OutlastError):
    """The request's body is larger than this server takes."""

    code = "body_too_large"


class UnsupportedEncoding(OutlastError):
    """The request's body is compressed; send it as plain JSON, without Content-Encoding."""

    code = "unsupported_encoding"


class Unauthenticated(OutlastError):
    """No valid API key was sent. Send `Authorization: Bearer <key>`."""

    code = "invalid_api_key"


class ExpiredKey(Unauthenticated):
    """This API key has expired."""

    code = "expired_api_key"


class MissingScope(OutlastError):
    """This API key lacks the scope that the route asks for."""

    code = "insufficient_scope"


class NotFound(OutlastError):
    """There is no such thing."""

    code = "not_found"


class AgentNotFound(NotFound):
    """There is no such agent."""

    code = "agent_not_found"


class ExecutionNotFound(NotFound):
    """There is no such execution."""

    code = "execution_not_found"


class ConversationNotFound(NotFound):
    """There is no such conversation."""

    code = "conversation_not_found"


class ApprovalNotFound(NotFound):
    """The execution has no approval for this tool call."""

    code = "approval_not_found"


class CheckpointNotFound(NotFound):
    """The execution has no such checkpoint."""

    code = "checkpoint_not_found"


class KeyNotFound(NotFound):
    """There is no such key."""

    code = "key_not_found"


class ScheduleNotFound(NotFound):
    """There is no such schedule."""

    code = "schedule_not_found"


class BudgetNotFound(NotFound):
    """There is no such budget."""

    code = "budget_not_found"


class MemoryStoreNotFound(NotFound):
    """There is no such memory store."""

    code = "memory_store_not_found"


class MemoryItemNotFound(NotFound):
    """The memory store has no such item."""

    code = "memory_item_not_found"


class Conflict(OutlastError):
    """The thing is not in a state that allows this."""

    code = "conflict"


class AgentPaused(Conflict):
    """This agent is paused and takes no new executions."""

    code = "agent_paused"


class ConversationBusy(Conflict):
    """The conversation already has a live execution."""

    code = "conversation_busy"


class MemoryArchived(Conflict):
    """The memory store is archived: it is read-only."""

    code = "memory_store_archived"


class MemoryFull(Conflict):
    """The memory store can hold no more."""

    code = "memory_store_full"


class PreconditionFailed(OutlastError):
    """The item is another than the request expects."""

    code = "precondition_failed"


class RequestInProgress(Conflict):
    """A request with this Idempotency-Key is still running."""

    code = "request_in_progress"


class StaleWrite(Conflict):
    """The execution has moved on; this write came from an earlier segment."""

    code = "stale_write"


class InvalidField(OutlastError):
    """A field has a value that it cannot have."""

    code = "invalid_field_value"


class IdempotencyMismatch(InvalidField):
    """This Idempotency-Key was used before with another request."""

    code = "idempotency_mismatch"


class InvalidArguments(InvalidField):
    """The arguments do not fit the tool's schema."""

    code = "invalid_arguments"


class RateLimited(OutlastError):
    """Too many requests with this API key."""

    code = "rate_limit_exceeded"


class QuotaExceeded(RateLimited):
    """A budget is spent."""

    code = "quota_exceeded"

    def __init__(self, message: str | None = None, *, retry_after: int | None = None) -> None:
        """`retry_after`: seconds until the budget's next period; None if there is none."""
        super().__init__(message)
        self.retry_after = retry_after


class Upstream(OutlastError):
    """A server that the execution needs has failed."""

    code = "upstream_error"
    passing = False
    """Whether the same request may succeed when it is made again."""

    def __init__(
        self,
        message: str | None = None,
        *,
        retry_after: float | None = None,
        passing: bool | None = None,
    ) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        """Seconds that the server asks us to wait."""
        if passing is not None:
            self.passing = passing


class ModelUnavailable(Upstream):
    """The model provider cannot be reached or answers with an error of its own."""

    code = "model_unavailable"
    passing = True


class TooManyTurns(RateLimited):
    """The conversation has too many turns that wait."""

    def __init__(self, most: int) -> None:
        super().__init__(
            f"The conversation already has {amount(most, 'turn')} waiting, which is the most. Send "
            "the next one when one has ended, or interrupt them with onBusy. The server's setting "
            "is max_queued_turns.",
            param="conversationId",
        )


class ModelRateLimited(Upstream):
    """The model provider refuses more requests for now."""

    code = "rate_limit_exceeded"
    passing = True


class ModelRejected(Upstream):
    """The model provider does not accept the request: its key, its model or its content."""

    code = "model_rejected"


class ContextTooLong(Upstream):
    """The conversation no longer fits the model's context."""

    code = "context_length_exceeded"


class ToolsUnavailable(Upstream):
    """A server that lists tools of the agent cannot be reached."""

    code = "tools_unavailable"


class Overloaded(OutlastError):
    """The server cannot take this request now; try again."""

    code = "overloaded"


class Refused(OutlastError):
    """The database refused this write."""

    code = "internal_error"


class ToolFailed(OutlastError):
    """A tool answered with an error, which the model gets as the result."""

    code = "tool_error"

    def __init__(self, message: str | None = None, *, cause: str | None = None) -> None:
        super().__init__(message)
        self.cause = self.message if cause is None else cause
        """The same for a log, which shows nothing that a model or a tool has said."""

    def hide(self, hidden: Callable[[str], str]) -> None:
        """Say both without what must not be shown."""
        self.message, self.cause = hidden(self.message), hidden(self.cause)
        self.args = (self.message,)


class ToolTimeout(ToolFailed):
    """A tool did not answer in time; the model gets this as the result."""

    code = "tool_timeout"


class LimitExceeded(OutlastError):
    """A limit of the agent is spent."""

    code = "limit_exceeded"


class BudgetExceeded(OutlastError):
    """The budget of the execution is spent."""

    code = "budget_exceeded"


class CodeFailed(OutlastError):
    """The agent's function failed."""

    code = "code_failed"


class Diverged(OutlastError):
    """The agent's function did not repeat a tool call that may not run twice."""

    code = "diverged"


class Misconfigured(OutlastError):
    """The settings, the agents file or the installation are not right."""

    code = "misconfigured"


class StoreLocked(Misconfigured):
    """Another process has this database file open."""

    code = "store_locked"
