"""Ids: a UUIDv7 each, written as a TypeID (`exec_01k…`), read in every spelling.

Source of the format: the TypeID specification 0.3 (prefix, `_`, 26 characters of Crockford base32).
Inside Outlast an id is always the TypeID string, in SQL too: it sorts by time of creation.
"""

from typing import Final
from uuid import UUID

import uuid_utils
from typeid import TypeID
from typeid.codecs import base32
from typeid.errors import TypeIDException

from outlast.model.error import InvalidId

AGENT: Final = "agt"
EXECUTION: Final = "exec"
CONVERSATION: Final = "conv"
MESSAGE: Final = "msg"
TOOL_CALL: Final = "tc"
CHECKPOINT: Final = "cp"
STEP: Final = "step"
MEMORY: Final = "mem"
WEBHOOK: Final = "wh"
EVENT: Final = "evt"
KEY: Final = "key"
WORKSPACE: Final = "ws"
MEMORY_ITEM: Final = "item"
SCHEDULE: Final = "sch"
IMAGE: Final = "img"

_VERSION_MASK: Final = 0xF << 76
_TIME_SHIFT: Final = 80
_LAST_MILLIS: Final = 2**48 - 1


def new(prefix: str) -> str:
    """Return a new id. Like `TypeID(prefix)` at a quarter of its cost: our prefixes are valid."""
    return f"{prefix}_{base32.encode(uuid_utils.uuid7().bytes)}"


def earliest(prefix: str, millis: int) -> str:
    """Return the id before which every one of an earlier time sorts."""
    value = min(max(0, millis), _LAST_MILLIS) << _TIME_SHIFT
    return f"{prefix}_{base32.encode(value.to_bytes(16))}"


def from_uuid(prefix: str, uuid: UUID) -> str:
    """Write a UUID as a TypeID."""
    return str(TypeID.from_uuid(uuid_utils.UUID(int=uuid.int), prefix))


def parse(prefix: str, text: str) -> str:
    """Read an id in any spelling: TypeID, bare UUID, or the UUID with its version shown as 4.

    Raises InvalidId if the text is none of them, or a TypeID with another prefix.
    """
    try:
        if "_" in text:
            typeid = TypeID.from_string(text.lower())
            if typeid.prefix != prefix:
                raise InvalidId(prefix, text)
            return str(typeid)
        return from_uuid(prefix, _as_version_7(UUID(text)))
    except (TypeIDException, ValueError) as error:
        raise InvalidId(prefix, text) from error


def to_uuid4(typeid: str) -> UUID:
    """Return the bare UUID of an id with its version nibble set to 4; the other bits stay."""
    uuid = UUID(str(TypeID.from_string(typeid).uuid))
    return UUID(int=(uuid.int & ~_VERSION_MASK) | (4 << 76))


def _as_version_7(uuid: UUID) -> UUID:
    return UUID(int=(uuid.int & ~_VERSION_MASK) | (7 << 76))
