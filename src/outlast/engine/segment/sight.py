"""The images that a model is shown: the newest of its history, if it sees.

An older image stays what it is in the text of its result, a placeholder: no request grows with the
screenshots before it. A request without images in its history costs no statement.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final
from urllib.parse import urlsplit

from outlast.agents.models.openai_chat import OPENAI
from outlast.agents.port import ModelRequest, Models
from outlast.engine.segment.segment import Segment
from outlast.model.agent import AgentSpec
from outlast.model.error import ContextTooLong, ModelRejected
from outlast.model.image import MOST_SHOWN, Image
from outlast.model.message import Message, ToolMessage
from outlast.model.provider import OPENAI_CHAT
from outlast.store.blobs import ImageStore

OF_IMAGES: Final = (ModelRejected, ContextTooLong)
"""Errors that a request may have for its images alone."""
_SEEING: Final = frozenset({"anthropic", "google", "google-cloud"})
"""Kinds of providers whose models see."""
_OF_OPENAI: Final = frozenset({OPENAI_CHAT, "openai", "openai-responses"})
"""Kinds whose models see at OpenAI itself; elsewhere nothing says so."""
_BLIND: Final = frozenset({"local", "scripted"})
"""Kinds that have no images in their requests."""


@dataclass(frozen=True, slots=True)
class Sight:
    """Adds images to model requests."""

    images: ImageStore
    models: Models

    async def shown(
        self, segment: Segment, spec: AgentSpec, model: str, request: ModelRequest
    ) -> ModelRequest:
        """Return the request with the newest images of its history, if this model is shown any."""
        messages = newest(request.messages)
        if messages is request.messages:
            return request
        if model in segment.blind or not self._sees(spec, model):
            return without_images(request)
        wanted = [image.id for message in messages for image in _of(message)]
        found = await self.images.some(segment.execution.workspace_id, wanted)
        return replace(request, messages=messages, images=found)

    def _sees(self, spec: AgentSpec, model: str) -> bool:
        """Whether an agent's model is shown images: as the agent says, else by its provider."""
        if self.models.kind(model) in _BLIND:
            return False
        if spec.images is not None:
            return spec.images
        offer = self.models.offer(model)
        if offer is None:
            return False
        at_openai = offer.url is None or urlsplit(offer.url).hostname == urlsplit(OPENAI).hostname
        return offer.provider in _SEEING or (offer.provider in _OF_OPENAI and at_openai)


def without_images(request: ModelRequest) -> ModelRequest:
    """Return the request as a model reads it that does not see."""
    return replace(request, images={}) if request.images else request


def newest(messages: tuple[Message, ...]) -> tuple[Message, ...]:
    """Return the messages with their newest images, each once; the same if there are none."""
    kept: dict[int, tuple[Image, ...]] = {}
    seen: set[str] = set()
    for at in range(len(messages) - 1, -1, -1):
        message = messages[at]
        if isinstance(message, ToolMessage) and message.images:
            new = [image for image in message.images if image.id not in seen]
            kept[at] = tuple(new[-(MOST_SHOWN - len(seen)) :] if len(seen) < MOST_SHOWN else ())
            seen |= {image.id for image in kept[at]}
    if not kept:
        return messages
    return tuple(
        replace(message, images=kept[at])
        if isinstance(message, ToolMessage) and at in kept
        else message
        for at, message in enumerate(messages)
    )


def _of(message: Message) -> Sequence[Image]:
    return message.images if isinstance(message, ToolMessage) else ()
