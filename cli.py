"""The command line: registers the commands of `autotune.terminal.commands` (edit here; imports as autotune.cli)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import typer

from autotune import __version__
from autotune.terminal.commands.bench import bench
from autotune.terminal.commands.datasets import datasets
from autotune.terminal.commands.measure import processors, profile
from autotune.terminal.commands.plans import export, run
from autotune.terminal.commands.predictors import explain, predictors, retrain
from autotune.terminal.commands.search import search
from autotune.terminal.commands.ui import ui

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Finds which processor should run which operators of an ONNX model here, and proves it by measuring.",
)
COMMANDS: tuple[Callable[..., None], ...] = (
    search,
    processors,
    profile,
    retrain,
    predictors,
    explain,
    run,
    bench,
    export,
    ui,
)
for _command in COMMANDS:
    app.command()(_command)
app.add_typer(datasets, name="datasets")


def _version(value: bool) -> None:
    if value:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Finds which processor should run which operators of an ONNX model here, and proves it by measuring."""


def main() -> None:
    """Entry point of `autotune`."""
    from autotune.terminal.guard import exit_codes

    with exit_codes():
        app()
