"""`autotune search`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from autotune.terminal.commands.options import Dims, Inputs, Json, Model, Processors, Seed, Shapes, print_json


def search(
    model: Model,
    scenario: Annotated[
        str, typer.Option("--scenario", metavar="NAME", help="SingleStream (latency) or Offline (throughput).")
    ] = "",
    hint: Annotated[
        str, typer.Option("--hint", metavar="NAME", help="latency or throughput: other names of the scenarios.")
    ] = "",
    tolerance: Annotated[
        float, typer.Option("--tolerance", metavar="ERROR", help="Largest relative RMS error of an output.")
    ] = 1e-3,
    precision: Annotated[
        str,
        typer.Option(
            "--precision",
            metavar="NAME",
            help="auto: below float32 where real inputs show that outputs bear it; any: on random ones too; float32.",
        ),
    ] = "auto",
    shape: Shapes = [],  # noqa: B006 - Typer copies defaults
    dim: Dims = [],  # noqa: B006
    inputs: Inputs = [],  # noqa: B006
    processors: Processors = "",
    baseline: Annotated[
        str, typer.Option("--baseline", metavar="FILE", help="JSON with your own session options, to be beaten too.")
    ] = "",
    budget: Annotated[
        str, typer.Option("--budget", metavar="TIME", help="For everything: 90s, 2min.  [default: 2m30s]")
    ] = "",
    trials: Annotated[
        int | None,
        typer.Option(
            "--trials", metavar="NUMBER", help="Optuna trials per round.  [default: what a few seconds allow]"
        ),
    ] = None,
    output: Annotated[
        str, typer.Option("--output", "-o", metavar="FOLDER", help="For the plan.  [default: in the home folder]")
    ] = "",
    device: Annotated[
        str,
        typer.Option(
            "--device",
            metavar="recorded:FOLDER",
            help="Not this device, but one whose latencies were recorded elsewhere.",
        ),
    ] = "",
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Find the fastest plan for a model on this device that keeps its outputs."""
    if device:
        _search_recorded(device, model, budget=budget, output=output, seed=seed, as_json=as_json)
        return
    from autotune import api
    from autotune.terminal.flags import search_settings
    from autotune.terminal.progress import show_progress
    from autotune.terminal.report import print_search

    settings = search_settings(
        scenario=scenario,
        hint=hint,
        tolerance=tolerance,
        precision=precision,
        shapes=shape,
        dims=dim,
        inputs=inputs,
        processors=processors,
        baseline=baseline,
        budget=budget,
        trials=trials,
        output=output,
        seed=seed,
    )
    with show_progress() as observer:
        result = api.search(model, settings, observer=observer)
    print_json(result.to_json()) if as_json else print_search(result)


def _search_recorded(device: str, model: str, *, budget: str, output: str, seed: int, as_json: bool) -> None:
    from autotune.api.recorded import DEFAULT_SEARCH_S, search_recorded
    from autotune.api.settings import parse_duration
    from autotune.terminal.listing import print_recorded

    result = search_recorded(
        device,
        model,
        seed=seed,
        seconds=parse_duration(budget) if budget else DEFAULT_SEARCH_S,
        output=Path(output) if output else None,
    )
    print_json(result.to_json()) if as_json else print_recorded(result)
