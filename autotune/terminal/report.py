"""The report of a search."""

from __future__ import annotations

from autotune.api.result import SearchResult
from autotune.terminal.tables import (
    baseline_table,
    console,
    curve_line,
    figure_of,
    figure_unit,
    front_table,
    print_ending,
    ratio_text,
    stage_table,
    table_notes,
    verdict_line,
)


def print_search(result: SearchResult) -> None:
    """Verdict, tables, predicted beside measured, what a looser tolerance would buy, where the plan lies."""
    plan = result.plan
    out = console()
    if plan.verdict is not None:
        out.print(verdict_line(plan.verdict, plan), style="bold", soft_wrap=True)
    known, needed, version = result.reused
    source = f" ({plan.model.source})" if plan.model.source else ""
    bound = f" within {plan.latency_bound_us / 1e3:g} ms" if plan.latency_bound_us else ""
    out.print(f"{plan.model.name}{source}, {plan.scenario}{bound}, {plan.device.name}", soft_wrap=True)
    own = f", over your own options {ratio_text(result.over_user)}" if result.over_user is not None else ""
    out.print(
        f"over ONNX Runtime's default {ratio_text(plan.over_default)}, over the best single processor "
        f"({result.best_single_processor}) {ratio_text(plan.over_best_single)}{own}",
        soft_wrap=True,
    )
    out.print()
    out.print(baseline_table(plan, result.launched))
    for note in table_notes(plan, result.launched):
        out.print(note, soft_wrap=True)
    out.print()
    out.print(stage_table(plan))
    out.print()
    if result.front:
        out.print(front_table(result.front))
        out.print()
    if plan.predicted is not None:
        unit = figure_unit(plan.scenario)
        predicted, measured = figure_of(plan.scenario, plan.predicted), figure_of(plan.scenario, plan.measured)
        out.print(f"predicted {predicted} {unit}, measured {measured} {unit}")
    if plan.error is not None:
        worst = f", worst in {plan.error.worst_output}" if plan.error.worst_output else ""
        out.print(
            f"output error {plan.error.relative_rms:.2e} relative RMS, {plan.error.max_abs:.2e} at most "
            f"(tolerance {plan.tolerance:g}{worst})",
            soft_wrap=True,
        )
    if result.parallel.ruled_out:
        out.print(
            f"plans of lanes that work at the same time: {result.parallel.ruled_out}; none measured", soft_wrap=True
        )
    if result.curve:
        out.print(curve_line(result.curve), soft_wrap=True)
    if needed:
        predictor = f"; predictor {version}" if version else ""
        out.print(f"{known} of {needed} kernels known{predictor}")
    cost = result.cost
    out.print(
        f"{cost['total_s']:.0f} s, {cost['device_measurements']:.0f} measurements on the device, "
        f"{cost['table_candidates']:.0f} stages priced, {cost['trials']:.0f} trials"
    )
    use = f"autotune.load_plan({str(result.folder)!r}).run(None, inputs)"
    print_ending(out, result.warnings, result.folder, use)
