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
