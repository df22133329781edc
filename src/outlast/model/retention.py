"""How long conversations are kept after their last activity, by the plan of their workspace."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

from outlast.model.error import Misconfigured
from outlast.model.workspace import Plan, Workspace

DAY_MILLIS: Final = 24 * 60 * 60 * 1000
NEVER: Final = "never"
"""Written in the settings for a plan whose conversations are kept."""
MOST_DAYS: Final = 36_500
"""Longest retention, a hundred years: what is to be kept longer is kept."""
_DEFAULT: Final = "default"
_DAYS: Final = "retentionDays"


@dataclass(frozen=True, slots=True)
class Plans:
    """The operator's plans: what each keeps, and which one a new workspace has."""

    days: Mapping[Plan, int | None] = field(
        default_factory=lambda: MappingProxyType(
            {Plan.STARTER: 90, Plan.PROFESSIONAL: 180, Plan.ENTERPRISE: None}
        )
    )
    """Days of inactivity after which a conversation is deleted; None: never."""
    default: Plan = Plan.ENTERPRISE
    """Plan of a new workspace that names none."""

    def days_of(self, workspace: Workspace) -> int | None:
        """Return the days of a workspace; its own may only be fewer than its plan's. None: never.

        A conversation is due once its last activity is that long ago, to the millisecond.
        """
        both = (self.days[workspace.plan], workspace.retention_days)
        return min((days for days in both if days is not None), default=None)


# --- the settings' table


def read_plans(table: Any) -> Plans:
    """Read `{default?: PLAN, PLAN: {retentionDays: DAYS or "never"}}`.

    Raises Misconfigured, naming the entry.
    """
    given = _table("plans", table, (_DEFAULT, *Plan))
    days = dict(Plans().days)
    for plan in Plan:
        if plan.value in given:
            where = f"plans.{plan.value}"
            entry = _table(where, given[plan.value], (_DAYS,))
            days[plan] = _days(f"{where}.{_DAYS}", entry.get(_DAYS, days[plan]))
    return Plans(MappingProxyType(days), _plan(given.get(_DEFAULT, Plans().default)))


def _table(where: str, found: Any, known: tuple[str, ...]) -> Mapping[str, Any]:
    if not isinstance(found, Mapping):
        raise Misconfigured(f"{where} must be a table.")
    if unknown := sorted(set(found) - set(known)):
        raise Misconfigured(f"{where}: unknown key {unknown[0]!r}. Known: {', '.join(known)}.")
    return found


def _days(where: str, found: Any) -> int | None:
    if found is None or found == NEVER:
        return None
    if isinstance(found, bool) or not isinstance(found, int) or not 1 <= found <= MOST_DAYS:
        raise Misconfigured(
            f'{where} must be a whole number of days from 1 to {MOST_DAYS}, or "{NEVER}".'
        )
    return found


def _plan(found: Any) -> Plan:
    if found not in list(Plan):
        raise Misconfigured(f"plans.{_DEFAULT} must be one of {', '.join(Plan)}.")
    return Plan(found)
