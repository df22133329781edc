# Made from outlast_client.asynchronous by tests.support.blocking_client.
"""The client's methods for keys, usage and budgets."""

from collections.abc import Sequence
from typing import Any

from outlast_client import types
from outlast_client.blocking.schedules import ScheduleMethods
from outlast_client.wire import segment


class AccountMethods(ScheduleMethods):
    """A method for each operation on keys, usage and budgets."""

    # --- keys

    def create_key(
        self,
        name: str,
        scopes: Sequence[str],
        *,
        agent_id: str | None = None,
        expires_at: str | None = None,
        idempotency_key: str | None = None,
    ) -> types.CreatedKey:
        """Create an API key; its secret is `key` of the answer, this once."""
        body = {"name": name, "scopes": [*scopes], "agentId": agent_id, "expiresAt": expires_at}
        headers = self._once(idempotency_key)
        return self._connection.persist("POST", "/v1/keys", json=body, headers=headers)

    def keys(self, **page: Any) -> types.KeyPage:
        """A page of API keys, newest first: {data, hasMore, nextCursor}."""
        params = {name: value for name, value in page.items() if value is not None}
        return self._connection.ask("GET", "/v1/keys", params=params)

    def key(self, key_id: str) -> types.Key:
        """One API key without its secret."""
        return self._connection.ask("GET", f"/v1/keys/{segment(key_id)}")

    def revoke_key(self, key_id: str) -> None:
        """Revoke an API key: it opens nothing any more."""
        self._connection.ask("DELETE", f"/v1/keys/{segment(key_id)}")

    # --- usage

    def usage(self, **query: Any) -> types.UsagePageObject:
        """Return a page of what the workspace has used: {from, to, data, hasMore, nextCursor}.

        `query`: `from`, `to`, `bucket`, `groupBy`, `after`, `limit` as in the API.
        """
        params = {name: value for name, value in query.items() if value is not None}
        return self._connection.ask("GET", "/v1/usage", params=params)

    # --- budgets

    def budgets(self, **page: Any) -> types.BudgetList:
        """Return a page of the budgets, by owner: {data, hasMore, nextCursor}.

        `page`: `kind`, `after`, `limit` as in the API.
        """
        params = {name: value for name, value in page.items() if value is not None}
        return self._connection.ask("GET", "/v1/budgets", params=params)

    def budget(self, owner: str) -> types.BudgetObject:
        """Return a budget by its owner's id, or `workspace`: bounds, spent, reserved, remaining."""
        return self._connection.ask("GET", f"/v1/budgets/{segment(owner)}")

    def set_budget(self, owner: str, bounds: dict[str, Any]) -> types.BudgetObject:
        """Set the whole budget of `workspace`, a key or a conversation, and return it.

        `bounds`: `maxTokens`, `maxCredits`, `maxSteps`, `maxSeconds`, `period`, `timeZone` as in
        the API.
        """
        return self._connection.ask("PUT", f"/v1/budgets/{segment(owner)}", json=bounds)

    def remove_budget(self, owner: str) -> None:
        """Remove a budget, if there is one."""
        self._connection.ask("DELETE", f"/v1/budgets/{segment(owner)}")
