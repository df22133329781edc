"""`outlast prices`: what models cost, and by which price."""

from typing import Annotated

from typer import Argument, Exit

from outlast.cli.options import AgentsFile, AsJson, settings
from outlast.cli.output import write_json, write_table


def show_prices(
    names: Annotated[
        list[str] | None,
        Argument(help="Model strings, as openai-chat:gpt-5-mini; default: those of the agents."),
    ] = None,
    agents: AgentsFile = None,
    json: AsJson = False,
) -> None:
    """Show what 1,000,000 tokens of each model cost, in credits.

    Exits with 1 if a model has no price of its own, so that the default applies.
    """
    import asyncio

    from outlast.cli.price_table import prices_of

    found = asyncio.run(prices_of(settings(agents=agents), names or []))
    if json:
        write_json([one.as_json() for one in found])
    else:
        columns = ["model", "input", "output", "cache read", "cache write", "price from"]
        write_table(columns, [row for one in found for row in one.rows()])
    if any(one.is_default for one in found):
        raise Exit(1)
