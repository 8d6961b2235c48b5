"""The report of a joint search, and listings of what is done with a joint plan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from autotune.api.together_bench import JointBenchResult
from autotune.api.together_delivery import WAYS
from autotune.api.together_result import JointSearchResult
from autotune.core import Fairness, JointPlan, Share, Sharing
from autotune.core.codec import encode
from autotune.errors import UsageError
from autotune.terminal.tables import console, error_text, figure, print_ending, ratio_text, rows_table

Samples = Mapping[str, Sequence[Mapping[str, np.ndarray]]]
NAMES = {"side_by_side": "own best plans side by side", "default": "ONNX Runtime's default side by side"}


def joint_verdict(plan: JointPlan) -> str:
    """The first line of a result."""
    if plan.sharing is Sharing.SIDE_BY_SIDE:
        return f"Run each model's own best plan side by side: {plan.reason}."
    return f"Run them {WAYS[plan.sharing]}: {plan.reason}."


def print_together(result: JointSearchResult) -> None:
    """Verdict, what each model gets and on which lanes, what it was compared with, what each gets alone."""
    plan, out = result.plan, console()
    out.print(joint_verdict(plan), style="bold", soft_wrap=True)
    out.print(f"{', '.join(plan.names)}, {plan.scenario}, fairness {plan.fairness}, {plan.device.name}", soft_wrap=True)
    out.print(
        f"over own best plans side by side {ratio_text(plan.over_side_by_side)}, over ONNX Runtime's default side by "
        f"side {ratio_text(plan.over_default)}",
        soft_wrap=True,
    )
    out.print()
    rows = []
    for member, own in zip(plan.members, result.models, strict=True):
        lanes = " | ".join(dict.fromkeys(str(stage.lane) for stage in own.plan.stages))
        lanes += f" x{own.plan.callers}" if own.plan.callers > 1 else ""
        weight = f"{member.weight:g}"
        rows.append((member.name, weight, lanes, *_figures(member.measured), error_text(own.plan.error)))
    headings = ("", "weight", "lanes", "p50 ms", "per s", "of alone", "latency", "error")
    out.print(rows_table("the joint plan", headings, rows))
    for group in plan.turns:
        out.print(f"{', '.join(group)} take turns: one request at a time")
    out.print()
    compared = [
        (f"{NAMES[baseline.name]}: {name}", *_figures(share))
        for baseline in result.baselines
        for name, share in zip(plan.names, baseline.shares, strict=True)
    ]
    out.print(rows_table("compared with", ("", "p50 ms", "per s", "of alone", "latency"), compared))
    out.print("of alone: throughput over what the model reaches alone with its own best plan; latency likewise")
    measured = [
        (found["sharing"], found["predicted"], found["slowing"], found["measured"]) for found in result.verified
    ]
    if measured:
        what = "sum of normalised throughputs" if plan.fairness is Fairness.SUM else "1 / worst normalised latency"
        shown = [(way, _number(predicted), slowing, _number(found)) for way, predicted, slowing, found in measured]
        out.print(rows_table(f"joint plans measured, {what}", ("", "predicted", "slowed by", "measured"), shown))
        out.print(
            f"co-runs: slowdowns predicted from {result.co_runs} co-runs of this device"
            if result.co_runs
            else "shared cores: no co-runs of this device are known; autotune profile --contention --model NAME "
            "measures some"
        )
    cost = result.cost
    out.print(
        f"{cost['total_s']:.0f} s, {cost['device_measurements']:.0f} measurements on the device, "
        f"{cost['joint_candidates']:.0f} joint plans compared"
    )
    use = f"autotune.load_plans({str(result.folder)!r}).run({plan.names[0]!r}, None, inputs)"
    print_ending(out, result.warnings, result.folder, use)


def _figures(share: Share | None) -> tuple[str, str, str, str]:
    if share is None:
        return ("–", "–", "–", "–")
    rate = figure(share.timing.throughput_per_s)
    return (figure(share.timing.p50_us / 1e3), rate, f"{share.throughput:.2f}", f"{share.latency:.2f}")


def _number(value: object) -> str:
    return f"{value:.2f}" if isinstance(value, float) else "–"


def print_bench_together(result: JointBenchResult) -> None:
    """The joint plan and what it was compared with."""
    out = console()
    plan = result.plan
    out.print(joint_verdict(plan), soft_wrap=True)
    rows = []
    for row in result.rows:
        cells = [
            f"{figure(rate)} ({share:.2f})" for rate, share in zip(row.throughputs_per_s, row.normalised, strict=True)
        ] or ["–"] * len(plan.names)
        rows.append((NAMES.get(row.name, row.name), *cells, ratio_text(row.plan_gain), row.failure[:60]))
    headings = ("per s (of alone)", *plan.names, "plan is better by", "")
    out.print(rows_table(f"{result.launches} launches", headings, rows))


def bench_json(result: JointBenchResult) -> dict[str, Any]:
    """Rows of a joint benchmark."""
    rows = encode(result.rows)
    return {"schema_version": 1, "launches": result.launches, "models": list(result.plan.names), "rows": rows}


def outputs_together(samples: Samples) -> list[dict[str, np.ndarray]]:
    """Outputs of all models as samples of one, named `MODEL:OUTPUT`.

    Raises:
        UsageError: the models were given unlike numbers of samples.
    """
    counts = {model: len(found) for model, found in samples.items()}
    if len(set(counts.values())) > 1:
        listed = ", ".join(f"{count} of {model}" for model, count in counts.items())
        raise UsageError(f"give each model as many samples as the others, or run them one by one; got {listed}")
    return [
        {f"{model}:{name}": array for model, found in samples.items() for name, array in found[at].items()}
        for at in range(next(iter(counts.values()), 0))
    ]
