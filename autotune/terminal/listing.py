"""Listings of the smaller commands."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from autotune.api import BenchResult, ContentionResult, ProfileResult
from autotune.api.recorded import RecordedResult
from autotune.api.workplace import Workplace
from autotune.core import Scenario
from autotune.graph import save_arrays
from autotune.terminal.tables import console, figure, figure_of, figure_unit, milliseconds, ratio_text, rows_table

Sample = Mapping[str, np.ndarray]


def print_recorded(result: RecordedResult) -> None:
    """The verdict in simulated time, baselines, and how the kernels are shared out."""
    out = console()
    schedule, processors = result.placement.schedule, result.graph.processors
    winner = f"{' and '.join(processors)} together" if result.shared else f"{result.best_single} alone"
    out.print(f"Use {winner}: {result.reason}.")
    out.print(f"{result.model} on {result.device}: recorded latencies, simulated; nothing was measured", soft_wrap=True)
    times = [(f"single:{name}", us) for name, us in zip(processors, result.placement.single, strict=True)]
    times += [("heft", result.placement.heft_us), ("placement", schedule.makespan_us)]
    times += [("no schedule is under", result.bound_us)]
    times += [("optimum, proven", result.optimum_us)] if result.optimum_us is not None else []
    rows = [(name, figure(us / 1e3, 4)) for name, us in times]
    out.print(rows_table("", ("", "ms"), rows))
    if result.above_optimum is not None:
        near = f"{result.above_optimum:.1%} above the optimum"
    else:
        near = f"at most {result.above_bound:.1%} above the optimum, which is not proven (--prove 60s tries to)"
    out.print(f"the placement is {near}", soft_wrap=True)
    shares = []
    for own, name in enumerate(processors):
        tasks = [task for task, where in enumerate(schedule.processor) if where == own]
        busy = sum(float(result.graph.cost_us[task, own]) for task in tasks)
        shares.append((name, len(tasks), figure(busy / 1e3, 4), f"{busy / schedule.makespan_us:.0%}"))
    out.print(rows_table("", ("processor", "kernels", "busy ms", "share"), shares))


def print_processors(place: Workplace) -> None:
    """Processors, then what is broken and how to mend it."""
    out = console()
    device = place.device
    out.print(
        f"{device.name}, {len(device.cores)} cores, {device.memory_bytes / 2**30:.0f} GiB, {place.discovery.runtime}",
        soft_wrap=True,
    )
    cores = ",".join(map(str, device.cores))
    rows = [
        (p.name, p.device, p.version, ", ".join(p.precisions), cores if p.device == "cpu" else "–", p.registration)
        for p in place.discovery.processors
    ]
    out.print(rows_table("", ("processor", "device", "version", "precisions", "cores", "registered"), rows))
    for broken in place.discovery.broken:
        out.print(f"not usable: {broken.name}: {broken.reason}. {broken.cure}", soft_wrap=True)


def print_profile(result: ProfileResult) -> None:
    """What was measured on each lane."""
    out = console()
    origin = f" of {', '.join(result.models)}" if result.models else ", all synthetic,"
    out.print(
        f"{result.kernels} kernels{origin} on {result.device}, {result.seconds:.0f} s, noise {result.spread:.1%}",
        soft_wrap=True,
    )
    rows = [(one.lane, one.known, one.measured, one.failed, one.agreed, one.missing) for one in result.lanes]
    out.print(rows_table("", ("lane", "known", "measured", "failed", "agreed on", "left"), rows))
    for warning in result.warnings:
        out.print(f"note: {warning}", soft_wrap=True)
    out.print("next, a predictor of all that is measured: autotune retrain")


def print_contention(result: ContentionResult) -> None:
    """What lanes do to each other, and how well that is predicted."""
    out = console()
    out.print(
        f"{', '.join(result.models)} on {result.device}, {result.seconds:.0f} s; the predictor has learnt from "
        f"{result.records} co-runs",
        soft_wrap=True,
    )
    rows = []
    for pair in result.pairs:
        times = [f"{value:.2f}x" if value is not None else "–" for value in (pair.median, pair.low, pair.high)]
        rows.append((pair.lane, pair.beside, *times, pair.known, pair.measured, pair.failed))
    headings = ("lane", "while busy", "slowdown", "10 %", "90 %", "known", "measured", "failed")
    out.print(rows_table("", headings, rows))
    if result.accuracy:
        errors = ", ".join(f"{one.learner} {one.median_error:.1%}" for one in result.accuracy)
        out.print(f"median error on models left out: {errors}", soft_wrap=True)
    for warning in result.warnings:
        out.print(f"note: {warning}", soft_wrap=True)


def print_bench(result: BenchResult) -> None:
    """Plan and baselines side by side."""
    out = console()
    scenario = result.plan.scenario
    under_load = scenario.under_load
    rows = []
    for row in result.rows:
        rate = figure(row.timing.throughput_per_s) if row.timing else "–"
        tail = [figure(row.timing.p99_us / 1e3) if row.timing else "–"] if under_load else []
        shown = (milliseconds(row.timing), *tail, rate, ratio_text(row.plan_speedup))
        rows.append((row.name, *shown, row.failure[:60]))
    default = result.rows[1]
    plan = f"{figure_of(scenario, result.rows[0].timing)} {figure_unit(scenario)}"
    verb = "serves" if scenario is Scenario.SERVER else "takes"
    out.print(
        f"The plan {verb} {plan}; over ONNX Runtime's {default.name} {ratio_text(default.plan_speedup)}.",
        soft_wrap=True,
    )
    headings = ("", "p50 ms", *(["p99 ms"] if under_load else []), "per s", "plan is faster by", "")
    out.print(rows_table(f"{result.plan.model.name}, {result.launches} launches", headings, rows))


def save_outputs(samples: Sequence[Sample], path: Path) -> None:
    """Writes outputs as npz, samples stacked along a new first axis.

    An output whose shape differs between samples is written as one array per sample: `name.0`, `name.1`, …

    Raises:
        StoreError: the file cannot be written.
    """
    stored: dict[str, np.ndarray] = {}
    for name in samples[0]:
        arrays = [sample[name] for sample in samples]
        if len({array.shape for array in arrays}) == 1:
            stored[name] = np.stack(arrays)
        else:
            stored |= {f"{name}.{at}": array for at, array in enumerate(arrays)}
    save_arrays(path, stored)


def outputs_json(samples: Sequence[Sample], path: str) -> dict[str, Any]:
    """Shapes and a summary of the outputs."""
    described = [
        {name: {"shape": list(array.shape), "dtype": str(array.dtype)} for name, array in sample.items()}
        for sample in samples
    ]
    return {"schema_version": 1, "samples": described, "output": path or None}


def print_outputs(samples: Sequence[Sample], path: str) -> None:
    """Shapes and a summary of the outputs."""
    out = console()
    for at, sample in enumerate(samples):
        for name, array in sample.items():
            numbers = array.size and array.dtype.kind in "fiu"
            summary = f"mean {array.mean():.4g}, std {array.std():.4g}" if numbers else ""
            out.print(f"sample {at}: {name} {array.dtype}{list(array.shape)} {summary}", soft_wrap=True)
    if path:
        out.print(f"written: {path}", soft_wrap=True)


def _record_counts() -> Counter[tuple[str, str]]:
    from autotune.datasets import Store, home

    with Store(f"sqlite:///{home() / 'profiles.db'}") as store:
        return Counter((record.identity.device, str(record.lane)) for record in store.kernels())


def records_json() -> dict[str, Any]:
    """Counts by device and lane."""
    counts = [{"device": d, "lane": lane, "kernels": count} for (d, lane), count in sorted(_record_counts().items())]
    return {"schema_version": 1, "records": counts}


def print_records() -> None:
    """Counts by device and lane."""
    rows = [(device, lane, count) for (device, lane), count in sorted(_record_counts().items())]
    if not rows:
        console().print("no profile records yet: autotune profile --model NAME_OR_FILE", soft_wrap=True)
        return
    console().print(rows_table("profile records", ("device", "lane", "kernels"), rows))
