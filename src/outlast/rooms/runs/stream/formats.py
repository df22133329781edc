"""The formats that a run can be streamed in."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from outlast.http.fold import NewFold
from outlast.rooms.runs.stream.frames import Fold
from outlast.rooms.runs.stream.native import NativeFold
from outlast.rooms.runs.stream.openai import OpenAIFold
from outlast.rooms.runs.stream.ui import HEADERS, UiFold


class Format(StrEnum):
    """Format of a stream."""

    OPENAI = "openai"
    UI = "ui"
    NATIVE = "native"


EXTRA_HEADERS: Final[Mapping[Format, Mapping[str, str]]] = {Format.UI: HEADERS}


def fold(
    format: Format, execution_id: str, native: NewFold, answered: frozenset[str] = frozenset()
) -> Fold:
    """Return a new fold for one execution's log; `native` makes the main room's.

    `answered`: calls of the client that it is not to run again.
    """
    match format:
        case Format.OPENAI:
            return OpenAIFold(execution_id)
        case Format.UI:
            return UiFold(execution_id, answered)
        case Format.NATIVE:
            return NativeFold(native(execution_id))
