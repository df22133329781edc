"""`outlast models`: the models of the agents, and those on this machine."""

from typing import Annotated

from typer import Argument, Exit, Typer, echo

from outlast.cli.options import AgentsFile, AsJson, DataDir, settings
from outlast.cli.output import note, write_json, write_table

models = Typer(help="Check models; list and download local ones.", no_args_is_help=True)


@models.command("list")
def list_models(data_dir: DataDir = None, json: AsJson = False) -> None:
    """List the models in the data folder and those to download."""
    from outlast.agents.embeddings import files as embeddings
    from outlast.agents.models.local_files import SOURCES, folder, installed

    data = settings(data_dir=data_dir).data_dir
    found = {model.name: model for model in installed(data)}
    here = {name: (model.bytes, str(model.path)) for name, model in found.items()}
    here |= {
        name: (source.member_bytes, str(folder(data) / name))
        for name, source in embeddings.SOURCES.items()
        if embeddings.is_there(name, data)
    }
    sources = SOURCES | embeddings.SOURCES
    there = {name: (source.member_bytes, None) for name, source in sources.items()}
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
    from outlast.agents.embeddings import files as embeddings
    from outlast.agents.models import local_files

    pull = embeddings.pull if name in embeddings.SOURCES else local_files.pull
    echo(str(pull(name, settings(data_dir=data_dir).data_dir, note)))


@models.command("check")
def check_models(
    names: Annotated[
        list[str] | None,
        Argument(help="Model strings, as openrouter:NAME; default: those of the agents file."),
    ] = None,
    agents: AgentsFile = None,
    data_dir: DataDir = None,
    json: AsJson = False,
) -> None:
    """Send one small request to each model and show which ones work.

    Exits with 1 if a model does not answer.
    """
    import asyncio

    from outlast.cli.model_check import check

    found = asyncio.run(check(settings(agents=agents, data_dir=data_dir), names or []))
    if json:
        write_json([one.as_json() for one in found])
    else:
        write_table(
            ["model", "result", "seconds", "answered by, or why not"],
            [(one.model, one.result, f"{one.seconds:.2f}", one.text) for one in found],
        )
    if any(one.problem is not None for one in found):
        raise Exit(1)
