"""What is kept of a browser while it is closed: cookies, local storage, place, references."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from outlast.agents.browser.elements import Element, from_json, to_json
from outlast.agents.browser.held import State

_MAX_BYTES: Final = 1_048_576
"""Larger local storage is not kept."""


@dataclass(frozen=True, slots=True)
class BrowserState:
    """The state of a context."""

    url: str
    """Of the current page; empty: none was opened."""
    storage: dict[str, Any]
    """Playwright's storage state: cookies and local storage."""
    elements: Mapping[str, Element] = field(default_factory=dict)
    """Elements of the snapshot that the model saw last, by reference."""
    is_cut: bool = False
    """Whether local storage was too large to be kept."""

    def as_json(self) -> State:
        """Return it as JSON, of bounded size."""
        made: State = {"url": self.url, "storage": self.storage, "elements": to_json(self.elements)}
        if len(orjson.dumps(made)) > _MAX_BYTES:
            made["storage"] = {"cookies": self.storage.get("cookies", []), "origins": []}
            made["cut"] = True
        return made

    @classmethod
    def from_json(cls, given: State) -> "BrowserState":
        """Return what `as_json` has written."""
        elements = from_json(given["elements"])
        return cls(given["url"], given["storage"], elements, given.get("cut", False))
