"""`autotune run` and `autotune export`: what can be done with a plan."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from autotune.terminal.commands.options import Inputs, Json, PlanFolder, print_json
from autotune.terminal.commands.together import run_several


def run(
    plan: PlanFolder,
    inputs: Inputs,
    output: Annotated[str, typer.Option("--output", "-o", metavar="FILE", help="npz for the outputs.")] = "",
    fallback: Annotated[bool, typer.Option("--fallback", help="Whole-model session if something is missing.")] = False,
    as_json: Json = False,
) -> None:
    """Run a plan on inputs; one of several models on --inputs MODEL:PATH."""
    from autotune import api
    from autotune.runtime import is_joint
    from autotune.terminal.listing import outputs_json, print_outputs, save_outputs

    if is_joint(plan):
        run_several(Path(plan), inputs, output=output, fallback=fallback, as_json=as_json)
        return
    samples = api.run_plan(Path(plan), [Path(path) for path in inputs], fallback=fallback)
    if output:
        save_outputs(samples, Path(output))
    print_json(outputs_json(samples, output)) if as_json else print_outputs(samples, output)


def export(
    plan: PlanFolder,
    format: Annotated[str, typer.Option("--format", metavar="NAME", help="Only ort-config so far.")] = "ort-config",  # noqa: A002 - the flag's name
    output: Annotated[
        str, typer.Option("--output", "-o", metavar="FOLDER", help="For the files.  [default: PLAN-ort-config]")
    ] = "",
    as_json: Json = False,
) -> None:
    """Write what other languages need to run a plan with plain ONNX Runtime."""
    from autotune import api
    from autotune.api.settings import folder_beside
    from autotune.errors import UnknownNameError

    if format != "ort-config":
        raise UnknownNameError("format", format, known=["ort-config"])
    target = Path(output) if output else folder_beside(Path(plan), "-ort-config")
    result = api.export_plan(Path(plan), target)
    if as_json:
        print_json({"schema_version": 1, "path": str(result.path), "feeds": result.feeds, "snippet": result.snippet})
    else:
        typer.echo(f"written: {result.path}\n\n{result.feeds}{result.snippet}", nl=False)
