"""What the model's kernels and stages cost: measured, from the store, or predicted."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from autotune.api.deciding import reserve_s
from autotune.api.run import Run
from autotune.core import Failure, Identity, Kernel, Lane, Measurement, ProfileRecord, Protocol
from autotune.errors import PredictorError
from autotune.planning import Proposal
from autotune.planning.costs import Floats, LaneCost
from autotune.predictor import KernelPredictor, StagePredictor, load_champion
from autotune.profiler import identity, profile_kernels

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
        missing[lane] = sorted(unknown, key=lambda kernel: -kernel.flops)  # the heavy ones, should time run out
        run.counters.kernels_needed += len(kernels)
        run.counters.kernels_known += len(known)
    total = sum(len(kernels) for kernels in missing.values())
    done = 0
    spare_s = run.budget.left_s - reserve_s(run) - AFTER_PROFILE_SHARE * run.budget.total_s
    until = time.monotonic() + max(spare_s, LEAST_PROFILE_SHARE * run.budget.left_s)

    def keep(record: ProfileRecord) -> None:
        nonlocal done
        run.store.add([record])
        done += 1
        run.counters.device_measurements += 1
        run.observer.progress("profile", done, total, text=str(record.lane))

    for at, lane in enumerate(lanes):
        left_s = (until - time.monotonic()) / max(1, len(lanes) - at)
        if missing[lane] and left_s > 0:
            profile_kernels(
                missing[lane],
                lane,
                identity=lane_identity(run, lane, Protocol.MARGINAL),
                seed=run.settings.seed,
                deadline_s=max(left_s, 1.0),
                on_record=keep,
            )
    if done < total:
        run.warnings.append(
            f"the budget allowed {done} of {total} unknown kernels to be profiled; the rest is predicted."
        )


def kernel_costs(run: Run, lanes: Sequence[Lane]) -> dict[Lane, Floats]:
    """[K] marginal cost of the model's kernels by lane: as measured, else predicted, else by FLOPs and bytes."""
    kernels = [use.kernel for use in run.task.graph.kernels]
    signatures = [kernel.signature for kernel in kernels]
    costs = {}
    for lane in lanes:
        wanted = lane_identity(run, lane, Protocol.MARGINAL)
        records = run.store.kernels(signatures=signatures, lanes=[lane], identity=wanted)
        measured = {r.kernel.signature: r.result.median_us for r in records if isinstance(r.result, Measurement)}
        refused = {r.kernel.signature for r in records if isinstance(r.result, Failure)}
        values = np.array([measured.get(signature, np.nan) for signature in signatures])
        if np.isnan(values).any():
            values = _fill(values, kernels, lane, _predictor(run, lane))
        values[[signature in refused for signature in signatures]] = np.inf
        costs[lane] = values if np.isfinite(values).any() else _fill(np.full(len(kernels), np.nan), kernels, lane, None)
    return costs


def _predictor(run: Run, lane: Lane) -> KernelPredictor | None:
    """The champion of this device if it knows the lane, else one trained now on all the device's records."""
    champion = load_champion(run.place.home, run.place.device)
    if champion is not None and champion.predictor.knows(lane):
        run.predictor_version = champion.version
        return champion.predictor
    predictor = KernelPredictor(device=run.place.device, seed=run.settings.seed)
    try:
        predictor.fit(run.store.kernels(device=run.place.device.id), calibrate=False)
    except PredictorError:
        return None
    return predictor if predictor.knows(lane) else None


def _fill(values: Floats, kernels: Sequence[Kernel], lane: Lane, predictor: KernelPredictor | None) -> Floats:
    """Fills the gaps with predictions; without a predictor by FLOPs and bytes, at the level of what was measured."""
    gaps = np.isnan(values)
    filled = values.copy()
    if predictor is not None:
        missing = [kernel for kernel, gap in zip(kernels, gaps, strict=True) if gap]
        filled[gaps] = predictor.predict_us(missing, lane)
        return filled
    work = np.array([kernel.flops / 5e4 + (kernel.bytes_read + kernel.bytes_written) / 1e4 + 1.0 for kernel in kernels])
    level = np.nanmedian(values / work) if not gaps.all() else 1.0
    filled[gaps] = work[gaps] * level
    return filled


def predict_singles(run: Run, lanes: Sequence[Lane], kernel_us: Mapping[Lane, Floats]) -> None:
    """Predicts whole-model lanes from their kernels, with stage costs learnt from other models only."""
    own = run.task.info.sha256
    others = [record for record in run.store.stages(device=run.place.device.id) if record.model_sha256 != own]
    costs = StagePredictor.fit(others, _known_kernel_us(run)) if others else StagePredictor()
    ends = (sum(t.bytes for t in run.task.graph.inputs), sum(t.bytes for t in run.task.graph.outputs))
    for contender in run.singles():
        candidate = contender.candidate
        if candidate is None or (candidate.callers, candidate.batch) != (1, 1) or contender.lanes[0] not in lanes:
            continue
        total = float(kernel_us[contender.lanes[0]].sum())
        predicted_us = float(costs.predict_us(total, *ends, contender.lanes[0]))
        if np.isfinite(predicted_us):
            contender.proposal = Proposal(
                candidate=candidate, predicted_us=predicted_us, predicted_error=0.0, origin="kernels"
            )
            run.keep_verified(contender)


def _known_kernel_us(run: Run) -> Callable[[Sequence[str], Lane], Floats]:
    """Measured marginal costs of this device by signature and lane; NaN where there is none."""
    known = {
        (record.kernel.signature, str(record.lane)): record.result.median_us
        for record in run.store.kernels(device=run.place.device.id)
        if isinstance(record.result, Measurement)
    }
    return lambda signatures, lane: np.array([known.get((signature, str(lane)), np.nan) for signature in signatures])


def stage_costs(run: Run, lanes: Sequence[Lane]) -> dict[Lane, LaneCost]:
    """Entry and exit costs by lane, fitted on all stages measured on this device."""
    predictor = StagePredictor.fit(run.store.stages(device=run.place.device.id), _known_kernel_us(run))
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
