"""What the model's kernels and stages cost: measured, from the store, or predicted."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from autotune.api.deciding import reserve_s
from autotune.api.even_times import even, medians_us, newest, stage_predictor
from autotune.api.lane_predictors import NEW, LanePredictors
from autotune.api.run import DEFAULT, Run
from autotune.api.settings import DEFAULT_BUDGET_S
from autotune.core import (
    DEFAULT_LANE,
    Failure,
    Identity,
    Kernel,
    Lane,
    ProfileRecord,
    Protocol,
)
from autotune.errors import PredictorError
from autotune.learning import ranked
from autotune.planning import Proposal, rough_us
from autotune.planning.costs import Floats, LaneCost
from autotune.predictor import KernelPredictor, StagePredictor
from autotune.predictor.training import PROFILE_S
from autotune.profiler import fastest_us, identity, profile_kernels

AFTER_PROFILE_SHARE = 0.15
"""Share of the budget kept for segments, search and verification."""
LEAST_PROFILE_SHARE = 0.2


def lane_identity(run: Run, lane: Lane, protocol: Protocol) -> Identity:
    """The identity under which a lane's measurements are stored."""
    place = run.place
    return identity(place.device, place.processor(lane.processor), place.discovery, protocol)


def profile_model(run: Run, lanes: Sequence[Lane]) -> None:
    """Measures the model's kernels on the lanes, except those that the store has already."""
    kernels = {use.kernel.signature: use.kernel for use in run.task.graph.kernels if use.kernel.buildable}
    run.store.add_model(
        run.task.info.sha256, run.task.info.name, [use.kernel.signature for use in run.task.graph.kernels]
    )
    missing: dict[Lane, list[Kernel]] = {}
    for lane in lanes:
        known = run.store.known(list(kernels), lane, lane_identity(run, lane, Protocol.MARGINAL))
        unknown = [kernel for signature, kernel in kernels.items() if signature not in known]
        missing[lane] = sorted(unknown, key=lambda kernel: -kernel.flops)
        run.counters.kernels_needed += len(kernels)
        run.counters.kernels_known += len(known)
    total = sum(len(kernels) for kernels in missing.values())
    done = 0
    extra_s = max(0.0, DEFAULT_BUDGET_S - run.budget.total_s) if run.settings.budget_s is None else 0.0
    spare_s = extra_s or run.budget.left_s - reserve_s(run) - AFTER_PROFILE_SHARE * run.budget.total_s
    spare_s = max(spare_s, LEAST_PROFILE_SHARE * run.budget.left_s)
    until = time.monotonic() + spare_s
    missing |= _in_order(run, missing, spare_s)

    def keep(record: ProfileRecord) -> None:
        nonlocal done
        run.store.add([record])
        done += 1
        run.counters.device_measurements += 1
        run.observer.progress("profile", done, total, text=str(record.lane))

    with run.budget.extended(extra_s):
        for at, lane in enumerate(lanes):
            tag = lane_identity(run, lane, Protocol.MARGINAL)
            left_s = (until - time.monotonic()) / max(1, len(lanes) - at)
            if missing[lane] and left_s > 0:
                profile_kernels(
                    missing[lane],
                    lane,
                    identity=tag,
                    seed=run.settings.seed,
                    fastest_us=fastest_us(run.store.notes(lane, tag)),
                    deadline_s=max(left_s, 1.0),
                    on_record=keep,
                )
    if done < total:
        run.warnings.append(
            f"the budget allowed {done} of {total} unknown kernels to be profiled; the rest is predicted."
        )


def _in_order(run: Run, missing: dict[Lane, list[Kernel]], spare_s: float) -> dict[Lane, list[Kernel]]:
    """What a second is worth most first, should time run out; lanes without records to judge by stay as they are."""
    waiting = {lane: kernels for lane, kernels in missing.items() if kernels}
    if PROFILE_S * sum(map(len, waiting.values())) <= spare_s:
        return missing  # there is time for all of them
    known = [
        record
        for lane in waiting
        for record in run.store.kernels(lanes=[lane], identity=lane_identity(run, lane, Protocol.MARGINAL))
    ]
    uses = Counter(use.kernel.signature for use in run.task.graph.kernels)
    return ranked(waiting, uses, known, cores=len(run.place.device.cores), seed=run.settings.seed)


def kernel_costs(run: Run, lanes: Sequence[Lane]) -> dict[Lane, Floats]:
    """[K] marginal cost of the model's kernels by lane: as measured, else predicted, else by FLOPs and bytes."""
    kernels = [use.kernel for use in run.task.graph.kernels]
    signatures = [kernel.signature for kernel in kernels]
    predictors = LanePredictors(run.place, run.store, seed=run.settings.seed)
    costs = {}
    for lane in lanes:
        wanted = lane_identity(run, lane, Protocol.MARGINAL)
        records = run.store.kernels(signatures=signatures, lanes=[lane], identity=wanted)
        measured = medians_us(even(records, run.speeds_us))
        refused = {r.kernel.signature for r in records if isinstance(r.result, Failure)}
        values = np.array([measured.get((signature, lane), np.nan) for signature in signatures])
        if np.isnan(values).any():
            values = _fill(values, kernels, lane, _predictor(run, predictors, lane), run.speeds_us.get(lane, 0.0))
        values[[signature in refused for signature in signatures]] = np.inf
        costs[lane] = values if np.isfinite(values).any() else _fill(np.full(len(kernels), np.nan), kernels, lane, None)
    return costs


def _predictor(run: Run, predictors: LanePredictors, lane: Lane) -> KernelPredictor | None:
    """What is chosen for the lane, with what there is to be said of it; None where too little is known."""
    try:
        chosen = predictors.choose(lane)
    except PredictorError:
        chosen = None
    for warning in (predictors.problem, chosen.warning if chosen is not None else ""):
        if warning and warning not in run.warnings:
            run.warnings.append(warning)
    if chosen is None:
        return None
    if chosen.version != NEW:
        run.predictor_version = chosen.version
    return chosen.predictor


def _fill(
    values: Floats, kernels: Sequence[Kernel], lane: Lane, predictor: KernelPredictor | None, sentinel_us: float = 0.0
) -> Floats:
    """Fills the gaps with predictions; without a predictor by FLOPs and bytes, at the level of what was measured."""
    gaps = np.isnan(values)
    filled = values.copy()
    if predictor is not None:
        missing = [kernel for kernel, gap in zip(kernels, gaps, strict=True) if gap]
        filled[gaps] = predictor.predict_us(missing, lane, sentinel_us=sentinel_us)
        return filled
    work = rough_us(kernels)
    level = np.nanmedian(values / work) if not gaps.all() else 1.0
    filled[gaps] = work[gaps] * level
    return filled


def predict_singles(run: Run, lanes: Sequence[Lane], kernel_us: Mapping[Lane, Floats]) -> None:
    """Predicts whole-model lanes from their kernels, with stage costs learnt from other models only.

    Kernels are known at the machine's fastest; how fast it is in this search is told by ONNX Runtime's default, which
    was measured beside the others: the CPU lane that is most like it takes that time, and the others are predicted.
    """
    costs = _stage_predictor(run, without=run.task.info.sha256)
    ends = (sum(t.bytes for t in run.task.graph.inputs), sum(t.bytes for t in run.task.graph.outputs))
    whole_us = {lane: float(costs.predict_us(float(kernel_us[lane].sum()), *ends, lane)) for lane in lanes}
    anchor = _like_the_default(lanes)
    now = run.contenders[DEFAULT].median_us / whole_us[anchor] if anchor is not None and not run.overlapping else 1.0
    for contender in run.singles():
        candidate = contender.candidate
        if candidate is None or (candidate.callers, candidate.batch) != (1, 1) or contender.name == DEFAULT:
            continue
        lane = contender.lanes[0]
        predicted_us = now * whole_us.get(lane, float("nan"))
        if np.isfinite(predicted_us) and lane != anchor:
            contender.proposal = Proposal(
                candidate=candidate, predicted_us=predicted_us, predicted_error=0.0, origin="kernels"
            )
            run.keep_verified(contender)


def _stage_predictor(run: Run, *, without: str = "") -> StagePredictor:
    """What the stages measured on this device say, but for those of the model with this hash."""
    device = run.place.device.id
    known_us = medians_us(even(newest(run.store.kernels(device=device)), run.speeds_us))
    stages = newest(run.store.stages(device=device))
    return stage_predictor([one for one in stages if one.model_sha256 != without], known_us, run.speeds_us)


def _like_the_default(lanes: Sequence[Lane]) -> Lane | None:
    """The CPU provider's float32 lane with the most threads, None where there is none."""
    found = [lane for lane in lanes if lane.processor == DEFAULT_LANE.processor and lane.precision.is_reference]
    return max(found, key=lambda lane: lane.concurrency.threads, default=None)


def stage_costs(run: Run, lanes: Sequence[Lane]) -> dict[Lane, LaneCost]:
    """Entry and exit costs by lane, fitted on all stages measured on this device."""
    predictor = _stage_predictor(run)
    found = {}
    for lane in lanes:
        cost = predictor.coefficients(lane)
        found[lane] = LaneCost(
            scale=cost.scale,
            call_us=cost.call_us,
            per_byte_in_us=cost.per_byte_in_us,
            per_byte_out_us=cost.per_byte_out_us,
        )
    return found
