"""A charge: what one piece of work has cost, written once and never changed.

Every recorded step that costs anything has one, whatever becomes of the step, and so has a model
request that a pause has closed. Charges hold no content: they outlast what they were made for.
"""

from dataclasses import dataclass

from outlast.model.usage import NO_USAGE, Usage


@dataclass(frozen=True, slots=True)
class Charge:
    """One row of the ledger."""

    id: str
    """The step's own; of a request that a pause has closed, one that no step has."""
    step: int | None
    """The step's number; none of a request that a pause has closed."""
    kind: str
    """model or tool."""
    name: str
    """The model that answered, or the tool."""
    credits: int
    """Billionths."""
    at: int
    """Milliseconds since the epoch."""
    usage: Usage = NO_USAGE
    """Its tokens; the ledger keeps those in and those out."""
