"""Plans of workspaces: how long conversations are kept, and what memory stores may hold."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

from outlast.model.error import Misconfigured
from outlast.model.workspace import USUAL_LIMITS, MemoryLimits, Plan, Workspace

DAY_MILLIS: Final = 24 * 60 * 60 * 1000
NEVER: Final = "never"
"""Written in the settings for a plan whose conversations are kept."""
MOST_DAYS: Final = 36_500
"""Longest retention, a hundred years: what is to be kept longer is kept."""
_DEFAULT: Final = "default"
_DAYS: Final = "retentionDays"
_ITEMS: Final = "memoryItems"
_BYTES: Final = "memoryBytes"
MOST_ITEMS: Final = 50_000
"""As many as a search by meaning compares one by one."""
MOST_BYTES: Final = 1024**3


@dataclass(frozen=True, slots=True)
class Plans:
    """The operator's plans: what each keeps, and which one a new workspace has."""

    days: Mapping[Plan, int | None] = field(
        default_factory=lambda: MappingProxyType(
            {Plan.STARTER: 90, Plan.PROFESSIONAL: 180, Plan.ENTERPRISE: None}
        )
    )
    """Days of inactivity after which a conversation is deleted; None: never."""
    memory: Mapping[Plan, MemoryLimits] = field(default_factory=lambda: USUAL_LIMITS)
    """What each memory store may hold."""
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
    """Read `{default?: PLAN, PLAN: {retentionDays?, memoryItems?, memoryBytes?}}`.

    Raises Misconfigured, naming the entry.
    """
    given = _table("plans", table, (_DEFAULT, *Plan))
    days, memory = dict(Plans().days), dict(USUAL_LIMITS)
    for plan in Plan:
        if plan.value in given:
            where = f"plans.{plan.value}"
            entry = _table(where, given[plan.value], (_DAYS, _ITEMS, _BYTES))
            days[plan] = _days(f"{where}.{_DAYS}", entry.get(_DAYS, days[plan]))
            usual = memory[plan]
            memory[plan] = MemoryLimits(
                _most(f"{where}.{_ITEMS}", entry.get(_ITEMS, usual.items), MOST_ITEMS),
                _most(f"{where}.{_BYTES}", entry.get(_BYTES, usual.bytes), MOST_BYTES),
            )
    default = _plan(given.get(_DEFAULT, Plans().default))
    return Plans(MappingProxyType(days), MappingProxyType(memory), default)


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


def _most(where: str, found: Any, highest: int) -> int:
    if isinstance(found, bool) or not isinstance(found, int) or not 0 <= found <= highest:
        raise Misconfigured(f"{where} must be a whole number from 0 to {highest}.")
    return found


def _plan(found: Any) -> Plan:
    if found not in list(Plan):
        raise Misconfigured(f"plans.{_DEFAULT} must be one of {', '.join(Plan)}.")
    return Plan(found)
