"""Answers of the API as types, made from its OpenAPI document.

`python -m tests.support.client_types` writes them. Everything is a dict at run time; a server that
is newer may send more than stands here.
"""

from __future__ import annotations

from typing import Any, Literal, NotRequired, TypedDict


class Accepted(TypedDict):
    data: RunAccepted


Access = Literal["read_only", "read_write"]


class Agent(TypedDict):
    id: str
    name: str
    description: str
    model: str
    instructions: str
    tools: list[AgentTool]
    version: int
    paused: bool
    schedules: list[ScheduleSummary]
    createdAt: str
    updatedAt: str


class AgentPage(TypedDict):
    data: list[Agent]
    hasMore: bool
    nextCursor: str | None
    nextToken: str | None


class AgentTool(TypedDict):
    name: str
    description: str
    parameters: dict[str, Any]
    effect: Literal["read_only", "idempotent", "destructive"]


class Approval(TypedDict):
    executionId: str
    toolCallId: str
    name: str
    kind: Literal["approval", "unknown_outcome"]
    parameters: dict[str, Any]
    effectiveParameters: dict[str, Any]
    approved: bool | None
    reason: str | None
    result: Any
    decidedBy: str | None
    requestedAt: str
    decidedAt: str | None
    expiresAt: str | None


class ApprovalPage(TypedDict):
    data: list[Approval]
    hasMore: bool
    nextCursor: str | None


Bucket = Literal["hour", "day", "month"]


class BudgetAmounts(TypedDict):
    tokens: int | None
    credits: float | None
    steps: int | None
    seconds: float | None


class BudgetList(TypedDict):
    data: list[BudgetObject]
    hasMore: bool
    nextCursor: str | None


class BudgetObject(TypedDict):
    owner: str
    kind: Kind
    max: BudgetAmounts
    spent: BudgetAmounts
    reserved: BudgetAmounts
    remaining: BudgetAmounts
    period: Period
    timeZone: str
    startsAt: str | None
    resetsAt: str | None


class Cancelled(TypedDict):
    id: str
    status: Literal["queued", "running", "suspended", "paused", "completed", "failed", "cancelled"]
    output: str | None
    usage: Usage


CatchUp = Literal["last", "none", "all"]


class Checkpoint(TypedDict):
    id: str
    step: int
    label: str | None
    superseded: bool
    createdAt: str
    memoryWrites: list[WrittenMemory]


class Checkpoints(TypedDict):
    data: list[Checkpoint]


class ClientCall(TypedDict):
    executionId: str
    toolCallId: str
    name: str
    parameters: dict[str, Any]
    result: Any
    isError: bool | None
    decidedBy: str | None
    requestedAt: str
    decidedAt: str | None
    expiresAt: str | None


class Conversation(TypedDict):
    id: str
    agentId: str
    turns: list[Turn]
    tokenCount: int
    turnCount: int
    createdAt: str
    lastActiveAt: str


class ConversationPage(TypedDict):
    data: list[ConversationSummary]
    hasMore: bool
    nextCursor: str | None


class ConversationSummary(TypedDict):
    id: str
    agentId: str
    agentName: str
    user: str | None
    executionCount: int
    createdAt: str
    lastActiveAt: str


class CreatedKey(TypedDict):
    id: str
    name: str
    scopes: list[Scope]
    agentId: str | None
    createdAt: str
    expiresAt: str | None
    revokedAt: str | None
    lastUsedAt: str | None
    key: str


class Embedding(TypedDict):
    model: str
    dimensions: int | None
    pending: int
    error: str | None


class Execution(TypedDict):
    id: str
    agentId: str
    agentName: str
    conversationId: str
    parentId: str | None
    status: Literal["queued", "running", "suspended", "paused", "completed", "failed", "cancelled"]
    input: str
    output: str | None
    error: Failure | None
    toolCalls: list[ToolCall]
    pendingApprovals: list[PendingApproval]
    pendingClientCalls: NotRequired[list[PendingClientCall]]
    pendingInputs: NotRequired[list[PendingInput]]
    usage: Usage
    creditsUsed: float
    timing: Timing
    user: str | None
    metadata: dict[str, Any]
    memoryStores: NotRequired[list[str | ReadOnlyStore]]
    isPurged: bool
    superseded: NotRequired[bool]
    createdAt: str
    startedAt: str | None
    completedAt: str | None
    schedule: NotRequired[ScheduledRun]
    truncated: NotRequired[Truncated]


class ExecutionPage(TypedDict):
    data: list[Execution]
    hasMore: bool
    nextCursor: str | None


class Failure(TypedDict):
    type: str
    code: str
    message: str


class FiredRun(TypedDict):
    id: NotRequired[str]
    scheduleId: str
    trigger: Trigger
    executionId: str | None
    queued: bool


class Found(TypedDict):
    data: list[FoundItem]
    mode: Literal["text", "semantic", "hybrid"]
    warning: str | None


class FoundItem(TypedDict):
    id: str
    storeId: str
    key: str
    content: NotRequired[str]
    metadata: dict[str, str]
    sha256: str
    bytes: int
    version: int
    createdAt: str
    updatedAt: str
    writtenBy: Writer
    foundBy: list[Literal["text", "semantic"]]
    similarity: float | None


Grouping = Literal["agent", "model", "tool", "key", "conversation"]


class Image(TypedDict):
    id: str
    mediaType: Literal["image/png", "image/jpeg", "image/gif", "image/webp"]
    bytes: int


class Item(TypedDict):
    id: str
    storeId: str
    key: str
    content: NotRequired[str]
    metadata: dict[str, str]
    sha256: str
    bytes: int
    version: int
    createdAt: str
    updatedAt: str
    writtenBy: Writer


class ItemPage(TypedDict):
    data: list[Item]
    hasMore: bool
    nextCursor: str | None


class Key(TypedDict):
    id: str
    name: str
    scopes: list[Scope]
    agentId: str | None
    createdAt: str
    expiresAt: str | None
    revokedAt: str | None
    lastUsedAt: str | None


class KeyPage(TypedDict):
    data: list[Key]
    hasMore: bool
    nextCursor: str | None


Kind = Literal["workspace", "key", "conversation", "tree"]

Overlap = Literal["skip", "queue", "cancel", "allow"]

PausedReason = Literal["requested", "agent_paused", "failures", "ended", "unreadable"]


class PendingApproval(TypedDict):
    toolCallId: str
    name: str
    parameters: dict[str, Any]
    kind: Literal["approval", "unknown_outcome"]
    executionId: NotRequired[str]


class PendingClientCall(TypedDict):
    toolCallId: str
    name: str
    parameters: dict[str, Any]
    expiresAt: str | None
    executionId: NotRequired[str]


class PendingInput(TypedDict):
    toolCallId: str
    name: str
    parameters: dict[str, Any]
    questions: list[Question]
    expiresAt: str | None
    executionId: NotRequired[str]


Period = Literal["none", "day", "month"]


class Question(TypedDict):
    id: str
    message: str
    mode: Literal["form", "url"]
    schema: NotRequired[dict[str, Any]]
    url: NotRequired[str]


class ReadOnlyStore(TypedDict):
    id: str
    access: Literal["read_only"]


class RunAccepted(TypedDict):
    message: str
    requestId: str
    agentId: str


class RunPage(TypedDict):
    data: list[ScheduleRun]
    hasMore: bool
    nextCursor: str | None


class Schedule(TypedDict):
    id: str
    name: str | None
    cron: str | None
    times: list[str] | None
    timezone: str
    status: Literal["active", "paused"]
    pausedReason: PausedReason | None
    nextRunAt: str | None
    lastRunAt: str | None
    agentId: str
    source: Literal["api", "file"]
    input: str
    metadata: dict[str, Any]
    conversationId: str | None
    memoryStores: list[ScheduleMemory] | None
    budget: ScheduleBudget
    overlap: Overlap
    catchUp: CatchUp
    catchUpWindow: int
    startAt: str | None
    endAt: str | None
    jitterSeconds: int
    pauseAfterFailures: int
    failures: int
    queued: bool
    nextRuns: list[str]
    createdAt: str
    updatedAt: str


class ScheduleBudget(TypedDict):
    maxTokens: int | None
    maxCredits: float | None
    maxSteps: int | None
    maxSeconds: float | None


class ScheduleMemory(TypedDict):
    id: str
    access: Access


class SchedulePage(TypedDict):
    data: list[Schedule]
    hasMore: bool
    nextCursor: str | None


class ScheduleRun(TypedDict):
    id: str
    scheduleId: str
    trigger: Trigger
    scheduledAt: str | None
    startedAt: str
    executionId: str | None
    error: ScheduleRunError | None
    late: bool
    missed: int


class ScheduleRunError(TypedDict):
    code: str
    message: str


class ScheduleSummary(TypedDict):
    id: str
    name: str | None
    cron: str | None
    times: list[str] | None
    timezone: str
    status: Literal["active", "paused"]
    pausedReason: PausedReason | None
    nextRunAt: str | None
    lastRunAt: str | None


class ScheduledRun(TypedDict):
    scheduleId: str
    scheduledAt: str | None
    late: bool
    missed: int


Scope = Literal[
    "agents:read", "agents:execute", "executions:read", "approvals:write", "keys:manage"
]


class Store(TypedDict):
    id: str
    name: str
    description: str
    metadata: dict[str, str]
    items: int
    bytes: int
    embedding: Embedding | None
    createdAt: str
    updatedAt: str
    archivedAt: str | None


class StorePage(TypedDict):
    data: list[Store]
    hasMore: bool
    nextCursor: str | None


class StreamTicket(TypedDict):
    ticket: str
    expiresAt: str


class Timing(TypedDict):
    totalMs: int
    firstTokenMs: int | None
    toolCallMs: int


class ToolCall(TypedDict):
    id: str
    name: str
    parameters: dict[str, Any]
    result: Any
    isError: bool
    duration: int
    images: NotRequired[list[Image]]


Trigger = Literal["schedule", "manual"]


class Truncated(TypedDict):
    fields: list[str]
    url: str


class Turn(TypedDict):
    id: str
    executionId: str
    role: Literal["user", "assistant"]
    content: str
    toolCalls: NotRequired[list[ToolCall]]
    timestamp: str


class Usage(TypedDict):
    inputTokens: int
    outputTokens: int
    totalTokens: int
    cacheReadTokens: int
    cacheWriteTokens: int
    estimated: bool


UsagePageObject = TypedDict(
    "UsagePageObject",
    {
        "from": "str",
        "to": "str",
        "bucket": "Bucket",
        "groupBy": "Grouping | None",
        "data": "list[UsageRow]",
        "hasMore": "bool",
        "nextCursor": "str | None",
    },
)


class UsageRow(TypedDict):
    start: str
    agentId: str | None
    agent: str | None
    model: str | None
    tool: str | None
    keyId: str | None
    conversationId: str | None
    inputTokens: int
    outputTokens: int
    credits: float
    modelRequests: int
    toolCalls: int


class Version(TypedDict):
    version: int
    key: str
    content: str | None
    sha256: str
    createdAt: str
    writtenBy: Writer
    redactedAt: str | None


class VersionPage(TypedDict):
    data: list[Version]
    hasMore: bool
    nextCursor: int | None


class ViewList(TypedDict):
    data: list[ViewObject]


class ViewObject(TypedDict):
    name: str
    filter: str
    updatedAt: str


class Writer(TypedDict):
    executionId: str | None
    step: int | None
    toolCallId: str | None
    keyId: str | None


class WrittenMemory(TypedDict):
    storeId: str
    itemId: str
    key: str
    version: int
    deleted: bool
    step: int
