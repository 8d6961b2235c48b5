"""`autotune bench`: a plan beside its baselines, or under load."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from autotune.terminal.commands.options import Inputs, Json, PlanFolder, Seed, print_json
from autotune.terminal.commands.together import bench_several


def bench(
    plan: PlanFolder,
    launches: Annotated[int, typer.Option("--launches", metavar="NUMBER", min=2, help="Fresh processes.")] = 6,
    inputs: Inputs = [],  # noqa: B006
    baseline: Annotated[
        str, typer.Option("--baseline", metavar="FILE", help="JSON with your own session options, measured too.")
    ] = "",
    scenario: Annotated[
        str,
        typer.Option(
            "--scenario", metavar="NAME", help="Under load instead: SingleStream, MultiStream, Server or Offline."
        ),
    ] = "",
    latency_bound: Annotated[str, typer.Option("--latency-bound", metavar="TIME", help="Of Server's p99: 50ms.")] = "",
    queries: Annotated[int, typer.Option("--queries", metavar="NUMBER", min=1, help="At most, of each run.")] = 200,
    generator: Annotated[
        str,
        typer.Option("--generator", metavar="NAME", help="own or loadgen.  [default: LoadGen where it is installed]"),
    ] = "",
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Measure a plan and its baselines again, side by side; or the plan under load in a scenario."""
    from autotune.errors import UsageError
    from autotune.runtime import is_joint

    if baseline and (is_joint(plan) or scenario or latency_bound):
        raise UsageError("--baseline is measured beside the plan of one model in its own scenario: leave it out here")
    if is_joint(plan):
        if scenario or latency_bound:
            raise UsageError("under load one model is measured at a time: name its folder inside the joint plan")
        bench_several(Path(plan), inputs, launches=launches, as_json=as_json)
        return
    if scenario or latency_bound:
        _bench_load(plan, scenario or "Server", latency_bound, queries, generator, inputs, seed=seed, as_json=as_json)
        return
    from autotune import api
    from autotune.core.codec import encode
    from autotune.terminal.listing import print_bench
    from autotune.terminal.progress import show_progress

    with show_progress() as observer:
        result = api.bench_plan(
            Path(plan),
            launches=launches,
            inputs=[Path(path) for path in inputs],
            baseline=Path(baseline) if baseline else None,
            observer=observer,
        )
    print_json(
        {"schema_version": 1, "launches": result.launches, "rows": encode(result.rows)}
    ) if as_json else print_bench(result)


def _bench_load(
    plan: str,
    scenario: str,
    latency_bound: str,
    queries: int,
    generator: str,
    inputs: list[str],
    *,
    seed: int,
    as_json: bool,
) -> None:
    from autotune.api.under_load import bench_load, load_scenario
    from autotune.errors import LatencyBoundError
    from autotune.terminal.flags import parse_bound
    from autotune.terminal.loads import load_json, print_load
    from autotune.terminal.progress import show_progress

    with show_progress() as observer:
        result = bench_load(
            Path(plan),
            load_scenario(scenario),
            latency_bound_us=parse_bound(latency_bound),
            queries=queries,
            inputs=[Path(path) for path in inputs],
            generator_name=generator,
            seed=seed,
            observer=observer,
        )
    print_json(load_json(result)) if as_json else print_load(result)
    if result.bound_message:
        raise LatencyBoundError(result.bound_message)
