"""A charge: the cost of one piece of work, written once and never changed.

Every recorded step that costs anything or has used tokens has one, also if the step is superseded
later, and so has a model request aborted by a pause, and a request to an embedding model that
belongs to no execution. Charges hold no content and outlast the work
that they are for.
"""

from dataclasses import dataclass

from outlast.model.usage import NO_USAGE, Usage


@dataclass(frozen=True, slots=True)
class Charge:
    """One row of the ledger."""

    id: str
    """The step's id; a new id for a request without a step."""
    step: int | None
    """The step's number; None for a request without a step."""
    kind: str
    """model or tool."""
    name: str
    """Name of the model that answered, or of the tool."""
    credits: int
    """Billionths."""
    at: int
    """Milliseconds since the epoch."""
    usage: Usage = NO_USAGE
    """Tokens of the request; the ledger keeps only input and output tokens."""
