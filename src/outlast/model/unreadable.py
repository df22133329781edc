"""The error of what is stored of an execution and cannot be read."""

from outlast.model.error import OutlastError


class ExecutionUnreadable(OutlastError):
    """What is recorded of this execution cannot be read by this version of the server."""

    code = "execution_unreadable"

    def __init__(self, execution_id: str) -> None:
        self.execution_id = execution_id
        what = (type(self).__doc__ or "").removesuffix(".")
        super().__init__(
            f"{what}; a newer version may have written it. "
            f"`outlast executions delete {execution_id}` removes it."
        )


class TurnUnreadable(ExecutionUnreadable):
    """An earlier turn of a conversation cannot be read, so that a later one has no history."""

    def __init__(self, execution_id: str) -> None:
        super().__init__(execution_id)
        self.message = (
            f"The conversation's turn {execution_id} cannot be read by this version of the server; "
            f"a newer version may have written it. `outlast executions delete {execution_id}` "
            "takes it out of the conversation, and this execution can be resumed then."
        )
