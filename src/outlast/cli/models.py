"""`outlast models`: the models on this machine."""

from typing import Annotated

from typer import Argument, Typer, echo

from outlast.cli.options import AsJson, DataDir, settings
from outlast.cli.output import note, write_json, write_table

models = Typer(help="Models that run on this machine.", no_args_is_help=True)


@models.command("list")
def list_models(data_dir: DataDir = None, json: AsJson = False) -> None:
    """List the models in the data folder and those that can be downloaded."""
    from outlast.agents.models.local_files import SOURCES, installed

    found = {model.name: model for model in installed(settings(data_dir=data_dir).data_dir)}
    here = {name: (model.bytes, str(model.path)) for name, model in found.items()}
    there = {name: (source.member_bytes, None) for name, source in SOURCES.items()}
    rows = sorted((there | here).items())
    if json:
        write_json(
            [
                {"model": f"local:{name}", "installed": bool(path), "bytes": size, "path": path}
                for name, (size, path) in rows
            ]
        )
        return
    write_table(
        ["model", "size", "where"],
        [
            (
                f"local:{name}",
                f"{size // 1_000_000} MB",
                path or f"not here; run: outlast models pull {name}",
            )
            for name, (size, path) in rows
        ],
    )


@models.command("pull")
def pull_model(
    name: Annotated[str, Argument(help="The model's name, such as smollm2.")],
    data_dir: DataDir = None,
) -> None:
    """Download a model into the data folder."""
    from outlast.agents.models.local_files import pull

    echo(str(pull(name, settings(data_dir=data_dir).data_dir, note)))
