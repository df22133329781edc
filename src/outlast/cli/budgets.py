"""`outlast budgets`: what the workspace, keys and conversations may spend, through the server."""

from typing import Annotated, Any, Final

from typer import Argument, Option, Typer, echo

from outlast.cli.options import AsJson, require_one_of
from outlast.cli.output import note, write_json, write_table
from outlast.cli.through import Server, through_server
from outlast.model.budget import MOST_BOUND

budgets = Typer(
    help="Budgets of workspace, keys, conversations: list, set, remove.",
    no_args_is_help=True,
)

_KINDS: Final = ("workspace", "key", "conversation", "tree")
_PERIODS: Final = ("none", "day", "month")
_UNITS: Final = ("tokens", "credits", "steps", "seconds")
Owner = Annotated[str, Argument(help="workspace, or the id of a key or a conversation.")]


@budgets.command("list")
@through_server()
def list_budgets(
    server: Server,
    *,
    kind: Annotated[
        str | None, Option(help="workspace, key, conversation or tree: those only.")
    ] = None,
    limit: Annotated[int, Option(min=1, max=100, help="Maximum number of rows.")] = 20,
    after: Annotated[str | None, Option(help="Cursor of the previous page's end.")] = None,
    json: AsJson = False,
) -> None:
    """List budgets, with what is spent, reserved and left."""
    if kind is not None:
        require_one_of("--kind", kind, _KINDS)
    page = server.request(lambda c: c.budgets(kind=kind, limit=str(limit), after=after))
    if json:
        write_json(page)
        return
    rows = [row for budget in page["data"] for row in _rows(budget)]
    write_table(["owner", "bound", "spent", "reserved", "left", "period", "resets"], rows)
    if page["hasMore"]:
        note(f"There are more: --after {page['nextCursor']}")


@budgets.command("set")
@through_server()
def set_budget(
    server: Server,
    *,
    owner: Owner,
    max_tokens: Annotated[int | None, Option(min=0, help="Maximum tokens.")] = None,
    max_credits: Annotated[
        float | None, Option(min=0, max=MOST_BOUND, help="Maximum credits.")
    ] = None,
    max_steps: Annotated[
        int | None, Option(min=0, help="Maximum model requests and tool calls.")
    ] = None,
    max_seconds: Annotated[
        float | None, Option(min=0, max=MOST_BOUND, help="Maximum seconds of work.")
    ] = None,
    period: Annotated[str, Option(help="none, day or month: how often it begins anew.")] = "none",
    time_zone: Annotated[str, Option(help="Where days and months begin.")] = "UTC",
    json: AsJson = False,
) -> None:
    """Set the whole budget of an owner; it replaces the one before."""
    require_one_of("--period", period, _PERIODS)
    bounds: dict[str, Any] = {
        "maxTokens": max_tokens,
        "maxCredits": max_credits,
        "maxSteps": max_steps,
        "maxSeconds": max_seconds,
        "period": period,
        "timeZone": time_zone,
    }
    made = server.request(lambda c: c.set_budget(owner, bounds))
    if json:
        write_json(made)
    else:
        write_table(
            ["owner", "bound", "spent", "reserved", "left", "period", "resets"], _rows(made)
        )


@budgets.command("remove")
@through_server()
def remove_budget(server: Server, *, owner: Owner) -> None:
    """Remove the budget of an owner."""
    server.request(lambda c: c.remove_budget(owner))
    echo(f"Removed the budget of {owner}.")


def _rows(budget: dict[str, Any]) -> list[list[object]]:
    """Return a row for each bound."""
    return [
        [
            budget["owner"],
            f"{_shown(budget['max'][unit])} {unit}",
            *(_shown(budget[which][unit]) for which in ("spent", "reserved", "remaining")),
            budget["period"],
            budget["resetsAt"] or "-",
        ]
        for unit in _UNITS
        if budget["max"][unit] is not None
    ]


def _shown(number: float) -> str:
    return str(number) if isinstance(number, int) else f"{number:.15g}"
