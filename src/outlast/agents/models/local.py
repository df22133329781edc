"""Models on this machine: any GGUF file, run by llama.cpp in a child process of its own.

The child starts at the first request and is restarted if it dies. Requests of one model are served
one at a time in order: the next begins when the previous one has ended or was closed.
"""

import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any, Final

from outlast.agents.models import local_prompt
from outlast.agents.models.assemble import Spoken, read_arguments
from outlast.agents.models.local_child import Child
from outlast.agents.models.local_files import find, require_extra
from outlast.agents.models.thought_tags import ThoughtTags, collect
from outlast.agents.port import Answer, ModelEvent, ModelRequest
from outlast.model import ids
from outlast.model.agent import ToolSpec
from outlast.model.clock import Clock
from outlast.model.error import ContextTooLong, ModelRejected, ModelUnavailable, OutlastError
from outlast.model.message import AssistantMessage, Part, Text, ToolCall
from outlast.model.usage import Usage

_CONTEXT_TYPE: Final = "exceed_context_size_error"
_SERVER_ERROR: Final = 500


class LocalModel:
    """A Model on a GGUF file.

    Tools: with `tool_choice` a tool's name, or required and one tool, the answer is one call of it,
    its arguments constrained by the tool's schema. With auto the tools are not offered and the
    answer is text: small models cannot choose. `local_prompt` says how the prompt is written.
    Settings: temperature (default 0), max_tokens (default 256), top_p, seed, stop.
    """

    def __init__(self, name_or_path: str, data_dir: Path, clock: Clock) -> None:
        """`given`: the part after `local:`.

        Raises Misconfigured with the command to run if the extra or the file is missing.
        """
        require_extra()
        self._path = find(name_or_path, data_dir)
        self._clock = clock
        self._turn = asyncio.Lock()
        self._child: Child | None = None
        self._settling: asyncio.Task[None] | None = None

    @property
    def name(self) -> str:
        """The file's name without its suffix."""
        return self._path.stem

    @property
    def pid(self) -> int | None:
        """The child's process id; None if there is no child."""
        return None if self._child is None else self._child.pid

    async def stream(self, request: ModelRequest) -> AsyncGenerator[ModelEvent, None]:
        """Send the request, yield pieces as they come, then one Answer. Closing stops it."""
        tool = local_prompt.forced_tool(request)
        async with self._turn:
            child = await self._ready_child()
            spoken, tags = Spoken(), ThoughtTags()
            try:
                await child.ask(local_prompt.body(request, tool))
                while (message := await child.read()).get("end") is None:
                    if "error" in message:
                        raise _error(message["error"])
                    if tool is None:
                        for piece in collect(spoken, tags.feed(message["text"])):
                            yield piece
                    else:
                        spoken.add(Text, message["text"])
                for piece in collect(spoken, tags.finish()):
                    yield piece
            finally:
                self._stop(child)
            yield self._answer(spoken.parts(), message["end"], tool)

    async def close(self) -> None:
        """End the child."""
        if self._settling is not None:
            await self._settling
        if self._child is not None:
            await self._child.kill()
            self._child = None

    async def _ready_child(self) -> Child:
        if self._settling is not None:
            await asyncio.shield(self._settling)
        if self._child is not None and not self._child.is_alive:
            await self._child.kill()
            self._child = None
        if self._child is None:
            self._child = await Child.start(self._path)
        return self._child

    def _stop(self, child: Child) -> None:
        """Stop an unfinished request; only the next request waits for that."""
        if child.is_busy:
            child.cancel()
            self._settling = asyncio.create_task(child.settle(), name="local_model_settle")

    def _answer(self, written: list[Part], end: dict[str, Any], tool: ToolSpec | None) -> Answer:
        usage = end["usage"]
        cached = (usage.get("prompt_tokens_details") or {}).get("cached_tokens", 0)
        call = None if tool is None else self._call(tool, AssistantMessage(tuple(written)).text)
        is_valid = call is not None and call.invalid is None
        return Answer(
            message=AssistantMessage(tuple(written) if call is None else (call,)),
            usage=Usage(usage["prompt_tokens"], usage["completion_tokens"], cached),
            model=self.name,
            finish_reason="tool_calls" if is_valid else end["finish_reason"],
        )

    def _call(self, tool: ToolSpec, text: str) -> ToolCall:
        # Nothing, or half of an object, where max_tokens has cut it off.
        parameters, invalid = read_arguments(text) if text.strip() else ({}, "(nothing)")
        call_id = self._clock.new_id(ids.TOOL_CALL)
        return ToolCall(call_id, tool.name, parameters, invalid)


def _error(error: dict[str, Any]) -> OutlastError:
    message = f"The local model: {error.get('message', 'no reason given')}"
    if error.get("type") == _CONTEXT_TYPE:
        return ContextTooLong(message)
    if error.get("code", _SERVER_ERROR) < _SERVER_ERROR:
        return ModelRejected(message)
    return ModelUnavailable(message)
