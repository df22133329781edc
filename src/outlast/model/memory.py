"""Memory stores: texts by key that outlast executions, with the versions of each."""

import hashlib
import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from outlast.model.error import InvalidField
from outlast.model.ids import MEMORY_ITEM
from outlast.model.price import ModelPrice
from outlast.model.words import words_to_find
from outlast.model.workspace import USUAL_LIMITS, MemoryLimits, Plan

MAX_NAME: Final = 255
"""Maximum characters of a store's name."""
MAX_DESCRIPTION: Final = 1024
"""Maximum characters of a store's description."""
MAX_KEY_BYTES: Final = 1024
MAX_CONTENT_BYTES: Final = 102_400
MAX_VERSIONS: Final = 1000
"""Newest versions of an item that are kept."""
MAX_STORES: Final = 8
"""Maximum stores of one execution."""
MAX_QUERY_CHARACTERS: Final = 16_384
MAX_FOUND: Final = 50
"""Maximum items that one search returns."""
_ITEM_ID: Final = re.compile(rf"{MEMORY_ITEM}_[0-9a-z]{{26}}")
_LAST_TWO: Final = 0xFFFE
"""The last two code points of a plane."""
_ABOVE_ALL: Final = "\U0010ffff"
"""Greater than any character of a key."""


class Access(StrEnum):
    """What an execution may do with a memory store."""

    READ_ONLY = "read_only"
    READ_WRITE = "read_write"


@dataclass(frozen=True, slots=True)
class MemoryAccess:
    """A memory store of an execution."""

    id: str
    access: Access = Access.READ_WRITE


@dataclass(frozen=True, slots=True)
class NamedStore:
    """A memory store that an agent's executions have by default, by its name."""

    name: str
    access: str = Access.READ_WRITE.value
    """read_write or read_only."""


@dataclass(frozen=True, slots=True)
class NewStore:
    """A store that an agents file creates at the start, if there is none of its name."""

    description: str = ""
    embedding: str | None = None
    """Its embedding model."""


@dataclass(frozen=True, slots=True)
class VectorsState:
    """Which vectors a store has: two reads with equal states have found the same."""

    changed: int = 0
    """Counts the changes."""
    deleted: int = 0
    """`changed` after the last one that has deleted a vector."""


@dataclass(frozen=True, slots=True)
class EmbeddingState:
    """A store's embedding model, and how far its items have vectors."""

    model: str
    """Never changes: vectors of two models cannot be compared."""
    dimensions: int | None = None
    """Of its vectors; None until there is one."""
    pending: int = 0
    """Items that wait for their vectors."""
    error: str | None = None
    """Why the last try failed; None since the last one that succeeded."""
    vectors: VectorsState = field(default=VectorsState(), compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class MemoryStore:
    """A memory store of a workspace. Times are milliseconds since the epoch."""

    id: str
    workspace_id: str
    name: str
    created_at: int
    updated_at: int
    description: str = ""
    """For the models whose executions have the store."""
    metadata: dict[str, Any] = field(default_factory=dict)
    archived_at: int | None = None
    """Since when nothing is written to it, and no new execution gets it."""
    items: int = 0
    bytes: int = 0
    """Bytes of the contents of its items."""
    embedding: EmbeddingState | None = None
    """None: it is searched by words alone."""


@dataclass(frozen=True, slots=True)
class MemoryWriter:
    """Who wrote a version: a tool call of an execution, or a request with a key."""

    execution_id: str | None = None
    step: int | None = None
    """Number of the tool call's step in the execution."""
    tool_call_id: str | None = None
    key_id: str | None = None
    """The API key of the request; for an execution, the key that started it."""


@dataclass(frozen=True, slots=True)
class MemoryItem:
    """A text in a memory store, as last written."""

    id: str
    """Stays when the item is renamed."""
    store_id: str
    key: str
    content: str
    metadata: dict[str, Any]
    sha256: str
    bytes: int
    version: int
    """Number of the newest version, from 1."""
    created_at: int
    updated_at: int
    writer: MemoryWriter


@dataclass(frozen=True, slots=True)
class MemoryVersion:
    """One version of an item; it never changes, but may be redacted."""

    item_id: str
    version: int
    key: str
    content: str | None
    """None: the item was deleted, or the version redacted."""
    sha256: str
    """Empty without a content."""
    at: int
    writer: MemoryWriter
    redacted_at: int | None = None


@dataclass(frozen=True, slots=True)
class WrittenMemory:
    """A version of an item that a step of an execution has written."""

    step: int
    store_id: str
    item_id: str
    key: str
    version: int
    deleted: bool
    """Whether the step deleted the item."""


@dataclass(frozen=True, slots=True)
class EmbeddingPrice:
    """The price of an item's vector."""

    model: str
    price: ModelPrice
    charge_id: str


@dataclass(frozen=True, slots=True)
class MemoryWrite:
    """A change of one item: created or written by its key or id, renamed, or deleted."""

    workspace_id: str
    store_id: str
    at: int
    new_id: str
    """The item's id, if it is created."""
    key: str | None = None
    """The item's key. None: `item_id` names it."""
    item_id: str | None = None
    content: str | None = None
    """None: as it is."""
    metadata: dict[str, Any] | None = None
    """None: as it is."""
    new_key: str | None = None
    """None: as it is."""
    existing: bool = False
    """Whether it changes an item that is there, and only if that makes a difference."""
    deleted: bool = False
    purged: bool = False
    """Whether the versions of a deleted item are deleted too."""
    matching: tuple[str, ...] | None = None
    """Digests of which the item must have one, unless it has the new content already; `*`: any
    item. None: no condition."""
    absent: bool = False
    """Whether the item must not exist."""
    limits: Mapping[Plan, MemoryLimits] = field(default_factory=lambda: USUAL_LIMITS)
    """What the store may hold."""
    writer: MemoryWriter = field(default_factory=MemoryWriter)
    embedding: EmbeddingPrice | None = None
    """What the request is charged for its vector; None: nothing, or its execution is charged."""


def checked_key(text: str, *, param: str = "key") -> str:
    """Return a key in its normal form: NFC, without a leading slash. Raises InvalidField."""
    key = unicodedata.normalize("NFC", text.removeprefix("/"))
    problem = "a key does not look like an item's id" if is_item_id(key) else _problem(key)
    if problem is not None:
        raise InvalidField(f"{param}: {problem}.", param=param)
    return key


def checked_prefix(text: str, *, param: str = "prefix") -> str:
    """Return the beginning of keys in its normal form; it may be empty. Raises InvalidField."""
    prefix = unicodedata.normalize("NFC", text.removeprefix("/"))
    if (problem := _odd(prefix)) is not None:
        raise InvalidField(f"{param}: {problem}.", param=param)
    return prefix


def is_item_id(text: str) -> bool:
    """Whether this is an item's id, and so no key."""
    return _ITEM_ID.fullmatch(text) is not None


def query_words(query: str) -> list[str] | None:
    """Return the words of a query; None for a blank one. Raises InvalidField for a long one."""
    if len(query) > MAX_QUERY_CHARACTERS:
        raise InvalidField(f"query: at most {MAX_QUERY_CHARACTERS} characters.", param="query")
    from outlast.model.text import storable  # it imports orjson, which `--help` does without

    return words_to_find(storable(query)) if query.strip() else None


def above(prefix: str) -> str:
    """Return a text above all keys with this prefix, and below all others that follow them."""
    return prefix + _ABOVE_ALL


def checked_content(text: str, *, param: str = "content") -> str:
    """Return the text. Raises InvalidField if it is too large."""
    if (size := len(text.encode())) > MAX_CONTENT_BYTES:
        raise InvalidField(
            f"{param} is {size} bytes of UTF-8; an item holds at most {MAX_CONTENT_BYTES}.",
            param=param,
        )
    return text


def digest_of(content: str) -> str:
    """Return the SHA-256 of the text's UTF-8, in hexadecimal."""
    return hashlib.sha256(content.encode()).hexdigest()


def accesses_from(stored: Iterable[Iterable[str]]) -> tuple[MemoryAccess, ...]:
    """Read the stores of an execution as they are stored."""
    return tuple(MemoryAccess(store_id, Access(access)) for store_id, access in stored)


def stored_accesses(stores: Iterable[MemoryAccess]) -> list[tuple[str, str]]:
    """Return the stores of an execution as they are stored."""
    return [(store.id, store.access.value) for store in stores]


def _problem(key: str) -> str | None:
    """Return what is wrong with a key; None if nothing."""
    if not key:
        return "a key is not empty"
    if (problem := _odd(key)) is not None:
        return problem
    parts = key.split("/")
    if "" in parts:
        return "a key has no empty part and does not end with a slash"
    if "." in parts or ".." in parts:
        return "no part of a key is . or .."
    return None


def _odd(key: str) -> str | None:
    if len(key.encode(errors="replace")) > MAX_KEY_BYTES:
        return f"a key has at most {MAX_KEY_BYTES} bytes of UTF-8"
    if any(unicodedata.category(char) in ("Cc", "Cs") or _is_no_character(char) for char in key):
        return "a key has no control characters, lone surrogates and noncharacters"
    return None


def _is_no_character(char: str) -> bool:
    """Whether Unicode never assigns this code point (chapter 23.7)."""
    return ord(char) & _LAST_TWO == _LAST_TWO or "\ufdd0" <= char <= "\ufdef"
