"""How deep JSON may be nested: a stored value must still be serializable inside a response."""

from typing import Any, Final

DEEPEST: Final = 64
"""Maximum levels of objects and arrays in input: bodies, arguments, results."""


def is_too_deep(value: Any) -> bool:
    """Whether the value has more levels than DEEPEST; without recursion."""
    level = [value]
    for _ in range(DEEPEST):
        level = [child for parent in level for child in _children(parent)]
        if not level:
            return False
    return any(isinstance(item, dict | list) for item in level)


def _children(value: Any) -> list[Any]:
    match value:
        case dict():
            return list(value.values())
        case list():
            return value
        case _:
            return []
