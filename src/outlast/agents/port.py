"""The ports of models and tools.

The runner is independent of providers. It requests one answer of a Model, reads it piece by piece,
and calls the tools that the answer names.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol, TypeAlias

from outlast.agents.browser.held import HeldBrowser
from outlast.agents.call_images import CallImages
from outlast.model.agent import AgentSpec, ToolSpec
from outlast.model.image import Image
from outlast.model.input_request import Answers, GivenInput, InputRequest
from outlast.model.memory import MemoryAccess, MemoryWrite
from outlast.model.message import AssistantMessage, Message, ToolMessage
from outlast.model.usage import Usage
from outlast.model.wait import WaitKind

MAX_CALLS: Final = 1000
"""Maximum tool calls of one answer. The engine refuses one with more, so a model may omit calls
after the first excess one."""
MAX_ERROR_BYTES: Final = 65_536
"""Maximum bytes of a tool's error, stored and shown to the model; a longer one is cut."""


@dataclass(frozen=True, slots=True)
class ModelRequest:
    """One request to a model."""

    instructions: str
    messages: tuple[Message, ...]
    """Already repaired: every tool call is answered."""
    tools: tuple[ToolSpec, ...] = ()
    tool_choice: str = "auto"
    """auto, none, required or a tool's name."""
    settings: dict[str, Any] = field(default_factory=dict)
    """temperature, max_tokens, max_completion_tokens, reasoning_effort, top_p, stop, seed,
    web_search."""
    images: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    """Bytes of the images that the model is shown, by id; of others it reads the text alone."""

    def shown(self, message: ToolMessage) -> list[tuple[Image, bytes]]:
        """Return the images of a message that the model is shown."""
        if not self.images:
            return []
        return [(one, self.images[one.id]) for one in message.images if one.id in self.images]

    @property
    def answer_limit(self) -> int | None:
        """Maximum tokens of the answer, reasoning included; None: as many as the model takes.

        What is left of a budget is `max_tokens`, whatever the agent calls its own limit.
        """
        given = (self.settings.get("max_tokens"), self.settings.get("max_completion_tokens"))
        return min((limit for limit in given if limit is not None), default=None)


@dataclass(frozen=True, slots=True)
class TextPiece:
    """A piece of text as sent by the provider; never empty."""

    text: str


@dataclass(frozen=True, slots=True)
class ThinkingPiece:
    """A piece of reasoning; never empty."""

    text: str


@dataclass(frozen=True, slots=True)
class CallPiece:
    """A piece of a tool call, which is not shown: only its length counts."""

    characters: int


@dataclass(frozen=True, slots=True)
class Answer:
    """The end of the stream: the whole message and its usage."""

    message: AssistantMessage
    """Its text and thinking parts are exactly the streamed pieces, a part ends when the kind
    changes; its tool calls have Outlast's ids (tc_…)."""
    usage: Usage
    model: str
    """The name of the model that answered, as the provider writes it."""
    finish_reason: str
    """stop, length, tool_calls, content_filter."""


ModelEvent: TypeAlias = TextPiece | ThinkingPiece | CallPiece | Answer


class Model(Protocol):
    """A language model that streams."""

    def stream(self, request: ModelRequest) -> AsyncGenerator[ModelEvent, None]:
        """Send the request, yield pieces as they come, then one Answer.

        Closing the generator, or cancelling the task that reads it, closes the provider's socket.
        Raises ModelUnavailable (unreachable, 5xx, died in mid-stream, garbage), ModelRateLimited
        (429), ModelRejected (401, 403, other 4xx), ContextTooLong. No error shows a key.
        """
        ...

    async def close(self) -> None:
        """Close connections and child processes."""
        ...


@dataclass(frozen=True, slots=True)
class Offer:
    """A model at a provider."""

    provider: str
    """Kind of the provider, as in model strings."""
    url: str | None
    """The provider's URL; None: that of its kind."""
    model: str
    named: str | None = None
    """The operator's id of the provider in the list; None: found by URL or kind."""


class Models(Protocol):
    """Finds the Model for a model string."""

    def kind(self, name: str) -> str:
        """Return the kind of a model string, which determines its implementation."""
        ...

    def find(self, name: str) -> Model:
        """Return the model of this name, created at first use. Raises Misconfigured."""
        ...

    def offer(self, name: str) -> Offer | None:
        """Return the provider and its name of the model; None for a model without a provider."""
        ...

    async def warm_up(self) -> None:
        """Load what the first call needs, so that it does not wait; safe to call many times."""
        ...

    async def close(self) -> None:
        """Close every model that was created."""
        ...


@dataclass(frozen=True, slots=True)
class ToolContext:
    """The context of a tool call."""

    workspace_id: str
    execution_id: str
    tool_call_id: str
    """Also the idempotency key: the same whenever this call is repeated."""
    session: dict[str, Any] = field(default_factory=dict)
    metadata: dict[str, Any] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict, repr=False)
    """Headers forwarded from the request that started the execution; a tool's own win over them."""
    user: str | None = None
    """The caller's end user, as given when the execution was started."""
    memory_stores: tuple[MemoryAccess, ...] = ()
    """The execution's memory stores."""
    writes: list[MemoryWrite] = field(default_factory=list, repr=False)
    """What the call writes to them, in the transaction that records it."""
    embedded: list[tuple[str, int]] = field(default_factory=list, repr=False)
    """Embedding models that the call has used, each with the tokens of a request."""
    handle: dict[str, Any] | None = field(default=None, repr=False)
    """What `defer` was given before a crash: the call goes on, and is not made again."""
    defer: Callable[[dict[str, Any]], Awaitable[None]] | None = field(default=None, repr=False)
    """Records at once a handle by which the call's result is found after a crash."""
    ask: Callable[[InputRequest], Awaitable[Answers]] | None = field(default=None, repr=False)
    """Returns a person's answers while the call goes on; None: no call can wait for input."""
    given: GivenInput | None = field(default=None, repr=False)
    """The input that this call had ended for want of."""
    images: CallImages = field(default_factory=CallImages, repr=False)
    """The images that the call brings, recorded with its result."""
    browser: HeldBrowser | None = field(default=None, repr=False)
    """The execution's browser, for the tools that drive it."""


class InputNeeded(Exception):
    """A call has ended because a person's input is needed; it is made again with the answers."""

    def __init__(self, request: InputRequest) -> None:
        super().__init__("input is needed")
        self.request = request


@dataclass(frozen=True, slots=True)
class WaitFor:
    """What a call waits for instead of running in the server."""

    kind: WaitKind
    seconds: float | None = None
    """Maximum wait, for a timer its duration, in seconds; None: unlimited."""


class Tools(Protocol):
    """Runs an agent's tools."""

    async def call(self, spec: ToolSpec, arguments: dict[str, Any], context: ToolContext) -> Any:
        """Check the arguments against the tool's schema, run it within its timeout, return JSON.

        Raises ToolFailed (bad arguments, the tool's own error, a result too large) and ToolTimeout;
        error texts are for the model and hold no secret. Raises InputNeeded if the context has
        `ask`.
        """
        ...

    async def asks(self, spec: ToolSpec, arguments: dict[str, Any]) -> bool:
        """Return whether a person decides before this call, by the tool's function.

        If the function fails, a person decides.
        """
        ...

    def waits_for(self, spec: ToolSpec, arguments: dict[str, Any]) -> WaitFor | None:
        """Return what a call with these arguments waits for; None if it runs."""
        ...

    def give_up(self, source: ToolSpec, handle: dict[str, Any], context: ToolContext) -> None:
        """Have a source's server informed that a call's result is not wanted; wait for nothing."""
        ...

    @property
    def connections(self) -> int:
        """Connections to servers that list tools, as of now."""
        ...

    async def listed(self, spec: AgentSpec, context: ToolContext) -> AgentSpec:
        """Return the agent with the tools that its sources list now; itself if it has none.

        Raises ToolsUnavailable, Misconfigured.
        """
        ...

    def check(self, spec: ToolSpec, arguments: dict[str, Any]) -> None:
        """Raise InvalidArguments if arguments do not fit the tool's schema, naming the first."""
        ...

    async def warm_up(self) -> None:
        """Load what the first call needs, so that it does not wait; safe to call many times."""
        ...

    async def close(self) -> None:
        """Close connections."""
        ...
