"""Results for people: the verdict first, then tables."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from autotune.core import Baseline, OutputError, Plan, Ratio, Scenario, Timing, Verdict, VerdictKind

if TYPE_CHECKING:
    from autotune.api.front_delivery import FrontPoint

WIDTH_WHEN_PIPED = 120
ROUGH = "screened"
NOTES = {
    Scenario.OFFLINE: "Offline: throughput decides; latency follows from callers and batch",
    Scenario.MULTI_STREAM: "MultiStream: latencies are those of a query of 8 samples; the 99th percentile decides",
    Scenario.SERVER: "Server: the highest rate of arrivals whose 99th percentile is within the bound decides",
}
ROUGH_MEANS = "a first look, too rough to compare; the other rows ran side by side in fresh processes"


def console() -> Console:
    """Standard output; wide enough when it is no terminal."""
    found = Console(highlight=False, markup=False, soft_wrap=False)
    return found if found.is_terminal else Console(highlight=False, markup=False, width=WIDTH_WHEN_PIPED)


def milliseconds(timing: Timing | None) -> str:
    """Median in ms with three significant digits."""
    return figure(timing.p50_us / 1e3) if timing else "–"


def figure(value: float, digits: int = 3) -> str:
    """So many significant digits, never an exponent: `0.0123`, `1.00`, `16.0`, `1234`."""
    if not math.isfinite(value) or value == 0:
        return f"{value:g}"
    return f"{value:.{max(0, digits - 1 - math.floor(math.log10(abs(value))))}f}"


def figure_of(scenario: Scenario, timing: Timing | None) -> str:
    """What the scenario asks for, as text."""
    if timing is None or not scenario.under_load:
        return milliseconds(timing)
    return figure(timing.p99_us / 1e3 if scenario is Scenario.MULTI_STREAM else timing.throughput_per_s)


def figure_unit(scenario: Scenario) -> str:
    """The unit of that figure."""
    return {Scenario.MULTI_STREAM: "ms (p99 of a query)", Scenario.SERVER: "requests per s"}.get(scenario, "ms")


def ratio_text(ratio: Ratio | None) -> str:
    """`1.23x (1.20–1.26)`."""
    return f"{ratio.ratio:.2f}x ({ratio.low:.2f}–{ratio.high:.2f})" if ratio else "–"


def error_text(error: OutputError | None) -> str:
    """Relative RMS of the worst output."""
    return f"{error.relative_rms:.1e}" if error else "–"


def verdict_line(verdict: Verdict, plan: Plan) -> str:
    """The first line of a result."""
    if verdict.kind is VerdictKind.PARTITION:
        return f"Use {len(plan.stages)} stages: {verdict.reason}."
    if verdict.kind is VerdictKind.DEFAULT:
        return f"Use ONNX Runtime's default: {verdict.reason}."
    lane = plan.stages[0].lane
    setting = lane.concurrency
    parts = [f"Use {lane.processor} alone", str(lane.precision)]
    parts += [f"{setting.threads} thread{'s' if setting.threads > 1 else ''}"] if setting.threads else []
    parts += [f"{setting.streams} streams"] if setting.streams > 1 else []
    parts += [] if setting.spinning is None else ["spinning" if setting.spinning else "no spinning"]
    parts += [f"{plan.callers} callers"] if plan.callers > 1 else []
    parts += [f"batch {plan.batch}"] if plan.batch > 1 else []
    return f"{', '.join(parts)}: {verdict.reason}."


def baseline_table(plan: Plan, launched: Collection[str]) -> Table:
    """Plan and baselines side by side.

    Args:
        plan: the plan.
        launched: baselines that took part in the deciding launches.
    """
    table = Table(title="measured", title_justify="left", box=None, pad_edge=False)
    tail = plan.scenario.under_load
    for heading in ("", "p50 ms", "p90 ms", *(["p99 ms"] if tail else []), "per s", "error", ""):
        words = heading == ""  # words wrap in a narrow terminal, figures never do
        table.add_column(heading, justify="left" if words else "right", no_wrap=not words, overflow="fold")
    table.add_row(*_row("plan", plan.measured, plan.error, "", tail=tail))
    for baseline in plan.baselines:
        remark = _remark(baseline, launched)
        table.add_row(*_row(baseline.name, baseline.measured, baseline.error, remark, tail=tail))
    return table


def table_notes(plan: Plan, launched: Collection[str]) -> list[str]:
    """What the table of plan and baselines does not say by itself."""
    notes = [NOTES[plan.scenario]] if plan.scenario in NOTES else []
    rough = any(_remark(baseline, launched) == ROUGH for baseline in plan.baselines)
    return notes + ([f"{ROUGH}: {ROUGH_MEANS}"] if rough else [])


def _remark(baseline: Baseline, launched: Collection[str]) -> str:
    if baseline.failure:
        return baseline.failure.splitlines()[0][:60]
    if not baseline.feasible:
        return baseline.refusal
    return ROUGH if launched and baseline.name not in launched else ""


def _row(name: str, timing: Timing | None, error: OutputError | None, remark: str, *, tail: bool) -> tuple[str, ...]:
    if timing is None:
        return (name, *["–"] * (4 if tail else 3), error_text(error), remark)
    shown = [timing.p50_us, timing.p90_us, *([timing.p99_us] if tail else [])]
    times = (figure(us / 1e3) for us in shown)
    return (name, *times, figure(timing.throughput_per_s), error_text(error), remark)


def curve_line(curve: Sequence[tuple[float, float]]) -> str:
    """What other tolerances would buy.

    Args:
        curve: (tolerance, predicted µs), at least one.
    """
    shown = [(f"{tolerance:g}", f"{figure(us / 1e3)} ms") for tolerance, us in curve]
    if len({time for _, time in shown}) == 1:
        (first, time), (last, _) = shown[0], shown[-1]
        return f"another tolerance buys nothing: {time} predicted from {first} to {last}"
    return "predicted at other tolerances: " + ", ".join(f"{tolerance}: {time}" for tolerance, time in shown)


def front_table(points: Sequence[FrontPoint]) -> Table:
    """The measured front, the plan first."""
    table = Table(
        title="front: none of these beats another in every objective", title_justify="left", box=None, pad_edge=False
    )
    for heading in ("", "p50 ms", "p99 ms", "per s", "MiB", "error", "folder"):
        table.add_column(heading, justify="left" if heading in ("", "folder") else "right", overflow="fold")
    for point in points:
        plan = point.plan
        timing = plan.measured
        cells = ["–"] * 4
        if timing is not None:
            cells = [figure(timing.p50_us / 1e3), figure(timing.p99_us / 1e3), figure(timing.throughput_per_s)]
            cells.append(f"{timing.peak_bytes / 2**20:.0f}")
        table.add_row(point.name, *cells, error_text(plan.error), str(point.folder))
    return table


def stage_table(plan: Plan) -> Table:
    """What runs where."""
    table = Table(title="stages", title_justify="left", box=None, pad_edge=False)
    for heading in ("kernels", "operators", "lane"):
        table.add_column(heading, no_wrap=True)
    for stage in plan.stages:
        kernels = f"{stage.start}–{stage.stop}"
        if stage.part is not None:
            joins = any(split.kernels == stage.kernels and stage.part == len(split.shares) for split in plan.splits)
            kernels = f"join of {kernels}" if joins else f"part {stage.part + 1} of {kernels}"
        elif stage.kernels:
            kernels = f"{len(stage.kernels)} of {kernels}"
        table.add_row(kernels, str(stage.operators), str(stage.lane))
    return table


def print_ending(out: Console, warnings: Sequence[str], folder: Path, use: str) -> None:
    """The end of a search's report: warnings, where the plan lies, what is done with it.

    Args:
        out: where it is printed.
        warnings: what the user should know.
        folder: the plan.
        use: a line of Python that runs it.
    """
    for warning in warnings:
        out.print(f"note: {warning}", soft_wrap=True)
    out.print()
    out.print(f"plan: {folder}", soft_wrap=True)
    out.print(f"use:  {use}", soft_wrap=True)
    out.print(f"      autotune bench {folder}", soft_wrap=True)


def rows_table(title: str, headings: Sequence[str], rows: Sequence[Sequence[object]]) -> Table:
    """A plain table."""
    table = Table(title=title or None, title_justify="left", box=None, pad_edge=False)
    for at, heading in enumerate(headings):
        table.add_column(heading, justify="left" if at == 0 else "right")
    for row in rows:
        table.add_row(*(str(cell) for cell in row))
    return table
