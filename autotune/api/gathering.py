"""From baselines to knowledge: which lanes, then everything about them."""

from __future__ import annotations

import math
from collections.abc import Collection

from autotune.api.even_times import fastest_sentinels, newest
from autotune.api.knowledge import Knowledge
from autotune.api.known_costs import kernel_costs, lane_identity, predict_singles, profile_model, stage_costs
from autotune.api.model_segments import measure_segments
from autotune.api.run import DEFAULT, Contender, Run
from autotune.core import Lane, Protocol
from autotune.planning import ErrorModel, Setting

MAX_LANES = 5
ALIKE = 2.0
"""Lanes of a processor and precision whose numbers of threads differ, by less than this factor: the faster one stands
for both."""
LANE_REACH = 1.25
"""A further lane of a processor and precision is profiled when its whole-model time is within this factor of that
processor's best: with other threads, kernels differ little in which of them they prefer. One below float32 also has to
be that near to its processor's best at float32: elsewhere no kernel is likely to gain by it."""
PROCESSOR_REACH = 4.0
"""Another processor is profiled when its whole-model time is within this factor of the best at that precision: one that
is slow because every call into it costs may still be the best for a heavy kernel."""
PROFILED_SHARE = 0.9
"""Of a model's kernels that are known on a lane, from where on it counts as profiled."""
NEW_GAIN = 1.1
"""So many times as fast as a profiled lane of its processor and precision another one must be to be profiled too: what
screening can tell apart. A second search then knows what the first one measured."""


def gather(run: Run) -> Knowledge | None:
    """Profiles what is not known, trains, measures segments; None where no lane but the default runs the model."""
    settings, lanes = choose_lanes(run, () if run.settings.budget_s is not None else _profiled(run))
    used = tuple(dict.fromkeys(lane for setting in settings for lane in lanes[setting]))
    if not used:
        return None
    with run.budget.phase("profile"):
        profile_model(run, used)
        run.speeds_us = fastest_sentinels(newest(run.store.kernels(device=run.place.device.id)))
    with run.budget.phase("train"):
        kernel_us = run.kernel_us = kernel_costs(run, used)
    errors = ErrorModel(
        [use.kernel for use in run.task.graph.kernels], [part.name for part in run.task.graph.output_parts]
    )
    knowledge = Knowledge(
        settings=settings, lanes=lanes, kernel_us=kernel_us, stage_cost={}, segments={}, errors=errors
    )
    predict_singles(run, used, kernel_us)
    with run.budget.phase("profile"):
        measure_segments(run, knowledge)
    with run.budget.phase("train"):
        knowledge.stage_cost = stage_costs(run, used)
    return knowledge


def _profiled(run: Run) -> set[Lane]:
    """Lanes that ran the whole model and on which the store knows its kernels."""
    kernels = {use.kernel.signature for use in run.task.graph.kernels if use.kernel.buildable}
    lanes = {contender.lanes[0] for contender in run.singles()}
    enough = PROFILED_SHARE * len(kernels)
    return {
        lane
        for lane in lanes
        if len(run.store.known(kernels, lane, lane_identity(run, lane, Protocol.MARGINAL))) >= enough
    }


def choose_lanes(run: Run, profiled: Collection[Lane] = ()) -> tuple[list[Setting], dict[Setting, tuple[Lane, ...]]]:
    """Settings worth a table and, for each, the lanes that could be part of a good plan.

    In SingleStream there is one setting. Elsewhere a partition runs with as many callers as the best single processor.

    Args:
        run: whose single processors were measured.
        profiled: lanes that cost no profiling; others of their processor and precision must be clearly faster.
    """
    by_setting: dict[Setting, list[Contender]] = {}
    for contender in run.singles():
        candidate = contender.candidate
        if candidate is None or candidate.batch > 1 or contender.name == DEFAULT or contender.error is None:
            continue
        by_setting.setdefault(Setting(callers=candidate.callers), []).append(contender)
    chosen: dict[Setting, tuple[Lane, ...]] = {}
    for setting, contenders in by_setting.items():
        best: dict[tuple[str, str], float] = {}
        enough: dict[tuple[str, str], float] = {}
        for contender in contenders:
            lane = contender.lanes[0]
            if lane in profiled:
                enough.setdefault(lane.kind, contender.median_us / NEW_GAIN)
        exact = {c.lanes[0].processor: c.median_us for c in reversed(contenders) if c.lanes[0].precision.is_reference}
        lanes: list[Lane] = []
        for contender in contenders:
            lane = contender.lanes[0]
            if _spins(lane) or lane.concurrency.cores:  # pinned lanes are for whole models
                continue
            own = best.setdefault(lane.kind, contender.median_us)
            everyone = best.setdefault(("", str(lane.precision)), contender.median_us)
            near = contender.median_us <= min(LANE_REACH * own, PROCESSOR_REACH * everyone)
            if not lane.precision.is_reference:  # it has nothing to offer but speed
                near = near and contender.median_us <= LANE_REACH * exact.get(lane.processor, math.inf)
            near = near and (lane in profiled or contender.median_us <= enough.get(lane.kind, math.inf))
            if near and len(lanes) < MAX_LANES and not any(_alike(lane, other) for other in lanes):
                lanes.append(lane)
        free = [contender for contender in contenders if not contender.lanes[0].concurrency.cores]
        chosen[setting] = tuple(lanes) or (free or contenders)[0].lanes
    kept = list(by_setting)[:1]  # that of the best of them all
    return kept, {setting: chosen[setting] for setting in kept}


def _alike(lane: Lane, other: Lane) -> bool:
    """Whether two lanes differ little but in threads."""
    few, many = sorted((lane.concurrency.threads, other.concurrency.threads))
    return lane.kind == other.kind and few < many < ALIKE * few


def _spins(lane: Lane) -> bool:
    """Whether a lane stands for something else in a partition: there the CPU provider's pools do not spin."""
    return lane.processor == "cpu" and lane.concurrency.threads > 1 and lane.concurrency.spinning is None
