"""`autotune search`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from autotune.terminal.commands.options import Dims, Inputs, Json, Models, Processors, Seed, Shapes, print_json
from autotune.terminal.commands.together import search_several

HONOURED = {"model", "scenario", "hint", "budget", "output", "device", "prove", "seed", "as_json"}
"""Flags that mean something for a recorded device."""


def search(
    context: typer.Context,
    model: Models,
    scenario: Annotated[
        str,
        typer.Option(
            "--scenario",
            metavar="NAME",
            help="SingleStream (latency), Offline (throughput), MultiStream (p99 of 8 samples) or Server (rate).",
        ),
    ] = "",
    latency_bound: Annotated[
        str, typer.Option("--latency-bound", metavar="TIME", help="Of the p99 in --scenario Server: 50ms.")
    ] = "",
    hint: Annotated[
        str, typer.Option("--hint", metavar="NAME", help="latency or throughput: other names of the scenarios.")
    ] = "",
    objectives: Annotated[
        str,
        typer.Option(
            "--objectives",
            metavar="NAMES",
            help="Several of latency, throughput, memory, error: the plan is that for the first, others lie beside.",
        ),
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
        str,
        typer.Option(
            "--budget",
            metavar="TIME",
            help="In all: 2min.  [default: usually at most 2m30s]",
        ),
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
    prove: Annotated[
        str,
        typer.Option(
            "--prove", metavar="TIME", help="With --device: further time to prove how near the optimum it is: 60s."
        ),
    ] = "",
    weight: Annotated[
        list[str], typer.Option("--weight", metavar="MODEL=2", help="Priority among several models; repeatable.")
    ] = [],  # noqa: B006
    fairness: Annotated[
        str,
        typer.Option("--fairness", metavar="NAME", help="Of several models: sum (throughput) or minmax (latency)."),
    ] = "",
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Find the fastest plan for a model, or for several together, that keeps their outputs.

    With several models --shape, --dim and --inputs say which one they mean: --inputs yolo:images.npz.
    """
    several = len(model) > 1
    _check_models(model, device=device, prove=prove, weight=weight, fairness=fairness)
    if device:
        _refuse_what_means_nothing(context, scenario, hint)
        _search_recorded(device, model[0], budget=budget, prove=prove, output=output, seed=seed, as_json=as_json)
        return
    from autotune import api
    from autotune.terminal.flags import search_settings
    from autotune.terminal.paste import dimensions_to_paste
    from autotune.terminal.progress import show_progress
    from autotune.terminal.report import print_search

    settings = search_settings(
        scenario=scenario,
        hint=hint,
        latency_bound=latency_bound,
        objectives=objectives,
        tolerance=tolerance,
        precision=precision,
        shapes=[] if several else shape,
        dims=[] if several else dim,
        inputs=[] if several else inputs,
        processors=processors,
        baseline=baseline,
        budget=budget,
        trials=trials,
        output=output,
        seed=seed,
    )
    if several:
        from autotune.terminal.joint_flags import participants

        models = participants(model, weights=weight, shapes=shape, dims=dim, inputs=inputs)
        with dimensions_to_paste(model, takes_inputs=True):
            search_several(models, settings, fairness=fairness, as_json=as_json)
        return
    with dimensions_to_paste(model, takes_inputs=True), show_progress() as observer:
        result = api.search(model[0], settings, observer=observer)
    print_json(result.to_json()) if as_json else print_search(result)
    if result.bound_missed:
        from autotune.errors import LatencyBoundError

        raise LatencyBoundError(result.bound_message)


def _refuse_what_means_nothing(context: typer.Context, scenario: str, hint: str) -> None:
    """Flags that a recorded device cannot honour are wrong usage, not silently left out."""
    from autotune.core import Scenario
    from autotune.errors import UsageError
    from autotune.terminal.flags import parse_scenarios

    for parameter in context.command.params:
        source = context.get_parameter_source(parameter.name or "")
        if source is not None and source.name == "COMMANDLINE" and parameter.name not in HONOURED:
            raise UsageError(
                f"{parameter.opts[0]} means nothing for a recorded device: its kernels have recorded latencies, "
                f"and nothing is run here. Leave {parameter.opts[0]} out, or leave --device out."
            )
    if parse_scenarios(scenario, hint) is not Scenario.SINGLE_STREAM:
        raise UsageError(
            f"a recorded device knows SingleStream only, not {scenario or hint}: leave it out, or leave --device out."
        )


def _check_models(models: list[str], *, device: str, prove: str, weight: list[str], fairness: str) -> None:
    """Refuses flags that have no meaning for so many models, or for what is measured here."""
    from autotune.errors import UsageError

    if len(models) > 1 and device:
        raise UsageError(
            "--device recorded:FOLDER takes one --model: what is recorded does not say how models disturb each other"
        )
    if len(models) == 1 and (weight or fairness):
        flag = "--weight" if weight else "--fairness"
        raise UsageError(f"{flag} has no meaning for one model: give several --model, or leave it out")
    if prove and not device:
        raise UsageError(
            f"--prove {prove} has no meaning for what is measured here, and never exactly: leave it out, or give "
            "--device recorded:FOLDER"
        )


def _search_recorded(
    device: str, model: str, *, budget: str, prove: str, output: str, seed: int, as_json: bool
) -> None:
    from autotune.api.recorded import DEFAULT_SEARCH_S, search_recorded
    from autotune.api.settings import parse_duration
    from autotune.terminal.listing import print_recorded

    result = search_recorded(
        device,
        model,
        seed=seed,
        seconds=parse_duration(budget) if budget else DEFAULT_SEARCH_S,
        prove_s=parse_duration(prove) if prove else 0.0,
        output=Path(output) if output else None,
    )
    print_json(result.to_json()) if as_json else print_recorded(result)
