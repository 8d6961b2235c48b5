"""Plans under load, for people."""

from __future__ import annotations

from typing import Any

from autotune.api.under_load import LoadResult
from autotune.core.codec import encode
from autotune.terminal.tables import console, rows_table

MADE_BY = {"own": "autotune's own generator", "loadgen": "MLPerf's LoadGen"}


def load_json(result: LoadResult) -> dict[str, Any]:
    """One JSON object."""
    return {
        "schema_version": 1,
        "model": result.plan.model.name,
        "scenario": str(result.scenario),
        "report": encode(result.report),
        "server": encode(result.server),
    }


def print_load(result: LoadResult) -> None:
    """The answer first, then the runs."""
    out = console()
    name, report, server = result.plan.model.name, result.report, result.server
    runs = server.runs if server else (report,) if report else ()
    if server and report:
        line = f"{server.rate_per_s:.4g} queries/s keep p99 within {server.bound_us / 1e3:g} ms."
    elif server:
        line = result.bound_message
    else:
        p90, p99 = (f"{value / 1e3:.3g} ms" for value in (runs[0].p90_us, runs[0].p99_us))
        line = f"{runs[0].throughput_per_s:.4g} samples/s, p90 {p90}, p99 {p99}."
    out.print(f"{name}, {result.scenario}: {line}", soft_wrap=True)
    rows = [
        (
            f"{run.load.rate_per_s:.4g}" if run.load.rate_per_s else "–",
            *(f"{value / 1e3:.3g}" for value in (run.p50_us, run.p90_us, run.p99_us)),
            f"{run.throughput_per_s:.4g}",
        )
        for run in runs
    ]
    out.print(rows_table("", ("arrivals per s", "p50 ms", "p90 ms", "p99 ms", "samples per s"), rows))
    made_by = MADE_BY.get(runs[0].generator, runs[0].generator)
    least, most = (pick(run.load.queries for run in runs) for pick in (min, max))
    queries = f"{least}" if least == most else f"{least} to {most}"
    out.print(f"Load: {made_by}, {queries} queries a run; not an MLPerf result.", soft_wrap=True)
