"""`outlast views`: saved filters of the console's list of executions, through the server."""

from typing import Annotated

from typer import Argument, Typer, echo

from outlast.cli.options import AsJson
from outlast.cli.output import write_json, write_table
from outlast.cli.through import Server, through_server

views = Typer(
    help="Saved filters of executions: list, save, remove.",
    no_args_is_help=True,
)

Name = Annotated[str, Argument(help="Name of the view.")]


@views.command("list")
@through_server()
def list_views(server: Server, *, json: AsJson = False) -> None:
    """List the saved views of the workspace."""
    found = server.request(lambda c: c.views())
    if json:
        write_json(found)
    else:
        write_table(["name", "filter"], [[one["name"], one["filter"]] for one in found["data"]])


@views.command("save")
@through_server()
def save_view(
    server: Server,
    *,
    name: Name,
    filter_: Annotated[
        str,
        Argument(
            metavar="FILTER", help="A filter as the console takes it: 'status:failed since:24h'."
        ),
    ],
    json: AsJson = False,
) -> None:
    """Save a filter of executions; it replaces the view of its name."""
    made = server.request(lambda c: c.put_view(name, filter_))
    if json:
        write_json(made)
    else:
        echo(f"Saved the view {name}.")


@views.command("remove")
@through_server()
def remove_view(server: Server, *, name: Name) -> None:
    """Remove a saved view; no execution is touched."""
    server.request(lambda c: c.remove_view(name))
    echo(f"Removed the view {name}.")
