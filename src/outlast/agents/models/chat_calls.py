"""Assigns deltas to tool calls: endpoints differ in how they number and name them.

A delta may come without index, without id, with an index that all calls share, with a new id each
time, with the name repeated or in pieces. A new call begins if a delta names a function and the
arguments of the previous call are complete, or its id and its name differ.
"""

import re
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from outlast.agents.models.assemble import MARK_PROVIDER, read_arguments
from outlast.agents.port import MAX_CALLS
from outlast.model import ids
from outlast.model.clock import Clock
from outlast.model.json_depth import is_too_deep
from outlast.model.message import Part, Thinking, ToolCall
from outlast.model.text import storable

LONGEST_NAME: Final = 1024
"""Maximum characters of a function's name and of a call's id; providers use less than a tenth."""
_STRUCTURE: Final = re.compile(r'["\\{}\[\]]')


@dataclass(slots=True, eq=False)
class CallDraft:
    """A tool call whose arguments are still arriving."""

    index: int | float | str | None = None
    number: int = 0
    """Its place among the calls of the answer, from 0."""
    id: str = ""
    """The provider's id."""
    name: str = ""
    extra: dict[str, Any] = field(default_factory=dict)
    """The provider's `extra_content`, which it wants back."""
    _pieces: list[str] = field(default_factory=list)
    _scanned: int = 0
    """Number of pieces whose brackets were counted."""
    _is_blank: bool = True
    """Whether no piece holds anything but blanks."""
    _depth: int = 0
    _in_string: bool = False
    _escaped: bool = False

    def add(self, arguments: str) -> None:
        """Add a piece of the arguments."""
        self._pieces.append(arguments)
        self._is_blank = self._is_blank and arguments.isspace()

    @property
    def arguments(self) -> str:
        """The arguments so far."""
        return "".join(self._pieces)

    @property
    def is_begun(self) -> bool:
        """Whether arguments have come."""
        return bool(self._pieces)

    def is_whole(self) -> bool:
        """Whether there are arguments and all brackets are closed; each piece is read once."""
        for piece in self._pieces[self._scanned :]:
            self._scan(piece)
        self._scanned = len(self._pieces)
        return self._depth <= 0 and not self._is_blank

    def _scan(self, piece: str) -> None:
        skipped = 0 if self._escaped else -1
        self._escaped = False
        for found in _STRUCTURE.finditer(piece):
            mark, at = found[0], found.start()
            if at == skipped:
                continue
            if mark == "\\":
                if self._in_string:
                    skipped = at + 1
                    self._escaped = skipped == len(piece)
            elif mark == '"':
                self._in_string = not self._in_string
            elif not self._in_string:
                self._depth += 1 if mark in "{[" else -1

    def finish(self, clock: Clock, model: str) -> list[Part]:
        """Return the call, preceded by the mark to be sent back with it.

        Arguments that are not a JSON object become its `invalid`.
        """
        parameters, invalid = read_arguments(self.arguments)
        call_id = clock.new_id(ids.TOOL_CALL)
        call = ToolCall(call_id, self.name, parameters, invalid, self.id or None)
        if not self.extra:
            return [call]
        mark = {"provider": MARK_PROVIDER, "model": model, "next": True, "extra": self.extra}
        return [Thinking("", orjson.dumps(mark).decode()), call]


class CallDrafts:
    """The calls of one answer."""

    __slots__ = ("_all", "_by_id", "_by_index")

    def __init__(self) -> None:
        self._all: list[CallDraft] = []
        self._by_index: dict[int | float | str | None, CallDraft] = {}
        """The last call of each index."""
        self._by_id: dict[str, CallDraft] = {}

    def take(self, call: dict[str, Any]) -> int:
        """Add a delta; return its characters. Raises TypeError for a field of the wrong type."""
        return self._take(call)[1]

    def place(self, call: dict[str, Any]) -> tuple[int, bool, str] | None:
        """Add a delta; return its call's number, whether it begins it, and its part of the name.

        None if it says nothing. Raises like `take`.
        """
        draft, _, begins, name = self._take(call)
        return None if draft is None else (draft.number, begins, name)

    def _take(self, call: dict[str, Any]) -> tuple[CallDraft | None, int, bool, str]:
        """Add a delta; return its call, its characters, whether it begins it, what it names."""
        if len(self._all) > MAX_CALLS:
            return None, 0, False, ""
        function = call.get("function") or {}
        call_id, name = _id(call.get("id")), _name(function.get("name"))
        arguments = _arguments(function.get("arguments"))
        index, extra = _index(call.get("index")), call.get("extra_content")
        given = call_id or name or arguments.strip() or extra
        if not given and index not in self._by_index:
            return None, 0, False, ""
        before = len(self._all)
        draft = self._draft(index, call_id, name)
        if not draft.id and call_id:
            draft.id = call_id
            self._by_id.setdefault(call_id, draft)
        named = "" if name == draft.name else name
        if named:
            draft.name = _name(draft.name + named)
        if arguments:
            draft.add(arguments)
        if isinstance(extra, dict) and not is_too_deep(extra):
            draft.extra.update(storable(extra))
        return draft, len(name) + len(arguments), len(self._all) > before, named

    def finish(self, clock: Clock, model: str) -> list[Part]:
        """Return the calls in order, each preceded by its mark if it has one."""
        return [part for draft in self._all for part in draft.finish(clock, model)]

    def __bool__(self) -> bool:
        return bool(self._all)

    def _draft(self, index: float | str | None, call_id: str, name: str) -> CallDraft:
        draft = self._by_index.get(index)
        if index is None and call_id:
            draft = self._by_id.get(call_id, draft)
        elif draft is None and not name:
            draft = self._continued(call_id)
        if draft is None or (name and _is_another(draft, index, call_id, name)):
            draft = CallDraft(index, len(self._all))
            self._all.append(draft)
        self._by_index[index] = draft
        return draft

    def _continued(self, call_id: str) -> CallDraft | None:
        """Return the call continued under a new index: by id, else the last if possible."""
        if call_id:
            return self._by_id.get(call_id)
        return self._all[-1] if self._all and not self._all[-1].is_whole() else None


def _is_another(draft: CallDraft, index: float | str | None, call_id: str, name: str) -> bool:
    """Whether a delta that names a function begins another call."""
    if index is None:
        return call_id != draft.id if call_id and draft.id else bool(draft.name)
    if not draft.name:
        return False
    if draft.is_whole():
        return True
    differs = bool(call_id and draft.id and call_id != draft.id)
    return name != draft.name and (differs or draft.is_begun)


def _index(value: Any) -> int | float | str | None:
    return value if isinstance(value, int | float | str) else None


def _id(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return ""
    if not isinstance(value, str | int):
        raise TypeError("an id is a string")
    return _bounded(str(value))


def _name(value: Any) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise TypeError("a function's name is a string")
    return _bounded(value)


def _bounded(text: str) -> str:
    if len(text) > LONGEST_NAME:
        raise TypeError("too long for a name")
    return text


def _arguments(value: Any) -> str:
    if value is None or isinstance(value, str):
        return value or ""
    return orjson.dumps(storable(value)).decode()
