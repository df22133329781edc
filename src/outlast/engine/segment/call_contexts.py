"""What tools are given of the execution that calls them."""

from dataclasses import dataclass
from typing import Any

import structlog

from outlast.agents.port import ToolContext
from outlast.model.error import ToolFailed
from outlast.model.execution import Execution
from outlast.seal import FORWARDED, DecryptionFailed, Seal

logger = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class CallContexts:
    """Makes the contexts of tool calls."""

    seal: Seal

    def of(self, execution: Execution, tool_call_id: str, **more: Any) -> ToolContext:
        """Return the context of a call, and `more`. Raises ToolFailed if it cannot be read."""
        return ToolContext(
            execution.workspace_id,
            execution.id,
            tool_call_id,
            execution.session,
            execution.metadata,
            self._headers(execution),
            execution.user,
            execution.memory_stores,
            **more,
        )

    def _headers(self, execution: Execution) -> dict[str, str]:
        """Return the forwarded headers. Raises ToolFailed if they cannot be decrypted."""
        sealed = execution.origin.headers
        if sealed is None:
            return {}
        try:
            headers: dict[str, str] = self.seal.open(FORWARDED, sealed)
        except DecryptionFailed as error:
            logger.exception("headers.unreadable", execution=execution.id)
            raise ToolFailed(
                "The headers that this call needs can no longer be read: the server's secret has "
                "changed."
            ) from error
        return headers
