"""What a new execution takes out of its conversation: the turns that a client has cut."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Cut:
    """Which turns of its conversation a new execution takes the place of: one and all behind it.

    The first of them is the turn of the same `origin.message_id`, else that of `execution_id`, else
    the one behind `behind`, else with `same_input` the newest where its input is the same. Only
    turns that stand count; where none is found nothing is cut.
    """

    explicit: bool
    """The client says that it cuts. Else only a turn of the same message id is cut; where that is
    the newest, has the same input and neither failed nor was cancelled, this is a repeated request:
    it starts nothing and is answered with that execution."""
    execution_id: str | None = None
    behind: str | None = None
    same_input: bool = False
    required: bool = False
    """Raise where `execution_id` is no turn that stands."""
