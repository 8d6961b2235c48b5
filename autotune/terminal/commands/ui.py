"""`autotune ui`."""

from __future__ import annotations

from typing import Annotated

import typer

from autotune.terminal.commands.options import Json, print_json


def ui(
    port: Annotated[int, typer.Option("--port", metavar="NUMBER", help="0: any free port.")] = 0,
    as_json: Json = False,
) -> None:
    """Start the MLflow server on loopback and print its address."""
    from autotune.datasets import home
    from autotune.tracking import serve_ui

    def ready(address: str) -> None:
        print_json({"schema_version": 1, "address": address}) if as_json else typer.echo(address)

    serve_ui(home(), port or None, on_ready=ready)
