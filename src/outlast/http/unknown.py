"""Finds fields of a body and parameters of a query that a model does not have.

They are ignored, so that a client of a newer version or of another product is not refused; the
response names them in `Outlast-Warning`, and a strict request is refused for them.
"""

from collections.abc import Iterator
from functools import cache
from typing import Any, Final, get_args

from pydantic import AliasChoices, BaseModel

WARNING_HEADER: Final = "Outlast-Warning"
_MOST: Final = 10
"""Maximum names in one warning."""
_LONGEST: Final = 80


@cache
def _known(model: type[BaseModel]) -> dict[str, type[BaseModel] | None]:
    """Return the accepted names of fields, with the models of those that are objects."""
    known: dict[str, type[BaseModel] | None] = {}
    for name, field in model.model_fields.items():
        inner = next(
            (
                kind
                for kind in (field.annotation, *get_args(field.annotation))
                if isinstance(kind, type) and issubclass(kind, BaseModel)
            ),
            None,
        )
        alias = field.validation_alias or field.alias
        spelled = alias.choices if isinstance(alias, AliasChoices) else [alias or name]
        by_name = [name] if model.model_config.get("populate_by_name") else []
        known |= {str(one): inner for one in (*spelled, *by_name)}
    return known


def unknown_fields(model: type[BaseModel], fields: dict[str, Any]) -> Iterator[str]:
    """Return the names that the model does not have, those in nested objects with their path."""
    known = _known(model)
    for name, value in fields.items():
        if name not in known:
            yield name
        elif (inner := known[name]) is not None and isinstance(value, dict):
            yield from (f"{name}.{below}" for below in unknown_fields(inner, value))


def warning_of(names: list[str]) -> str:
    """Return the header's value: `unknown: a, b`, in printable ASCII."""
    shown = [ascii(name[:_LONGEST])[1:-1] for name in names[:_MOST]]
    more = [f"and {len(names) - _MOST} more"] if len(names) > _MOST else []
    return f"unknown: {', '.join([*shown, *more])}"
