"""What the search knows of costs: profiled kernels, a trained predictor, measured segments, cost tables."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from autotune.api.calibration import SegmentTimes, calibrate
from autotune.api.finish import reserve_s
from autotune.api.run import DEFAULT, Contender, Run
from autotune.core import Failure, Identity, Kernel, Lane, Measurement, ProfileRecord, Protocol, StageRecord
from autotune.errors import PredictorError
from autotune.graph import StageFile, load_arrays, save_arrays
from autotune.planning import CostTable, ErrorModel, Proposal, Setting, build_table, segment_ranges
from autotune.planning.costs import Floats, LaneCost
from autotune.predictor import KernelPredictor, StagePredictor, load_champion
from autotune.profiler import Job, JobStage, identity, notes, profile_kernels, run_outputs, screen, stage_errors

MAX_LANES = 5
LANE_REACH = 1.6
"""A second lane of a processor and precision is profiled when its whole-model time is within this factor of the
best."""
SEGMENTS = 8
SEGMENT_ROUNDS = 6
ERROR_SEGMENTS = 24
AFTER_PROFILE_SHARE = 0.15
"""Share of the budget kept for segments, search and verification."""
LEAST_PROFILE_SHARE = 0.2
STAGE_DEADLINE_S = 120.0


@dataclass(slots=True, kw_only=True)
class Knowledge:
    """What is known of the model's costs on this device.

    Args:
        settings: callers and batch of each table.
        lanes: lanes of each setting.
        kernel_us: [K] marginal cost by lane (measured where known, else predicted).
        stage_cost: entry and exit by lane, before calibration.
        segments: measured segments by setting and lane.
        errors: squared output error by kernel and lane.
        overhead: correction of entry and exit costs, learned from verified plans.
    """

    settings: list[Setting]
    lanes: dict[Setting, tuple[Lane, ...]]
    kernel_us: dict[Lane, Floats]
    stage_cost: dict[Lane, LaneCost]
    segments: dict[tuple[Setting, Lane], SegmentTimes]
    errors: ErrorModel
    overhead: float = 1.0
    spread: dict[Lane, float] = field(default_factory=dict)

    def tables(self, run: Run, *, low_precision: bool) -> list[CostTable]:
        """One cost table per setting, calibrated on the measured segments."""
        graph = run.task.graph
        model_bytes = (sum(t.bytes for t in graph.inputs), sum(t.bytes for t in graph.outputs))
        tables = []
        for setting in self.settings:
            kernel_us, costs = {}, {}
            for lane in self.lanes[setting]:
                if not (low_precision or lane.precision.is_reference):
                    continue
                kernel_us[lane], costs[lane] = calibrate(
                    self.kernel_us[lane],
                    self.stage_cost[lane],
                    self.segments.get((setting, lane)),
                    cuts=graph.cuts,
                    model_bytes=model_bytes,
                    overhead=self.overhead,
                )
            if kernel_us:
                tables.append(
                    build_table(
                        setting=setting,
                        kernel_us=kernel_us,
                        lane_costs=costs,
                        cuts=graph.cuts,
                        model_bytes=model_bytes,
                        error=self.errors.tables(),
                        parts=len(self.errors.parts),
                    )
                )
        return tables


def gather(run: Run) -> Knowledge | None:
    """Profiles what is not known, trains, measures segments; None where no lane but the default runs the model."""
    settings, lanes = choose_lanes(run)
    used = tuple(dict.fromkeys(lane for setting in settings for lane in lanes[setting]))
    if not used:
        return None
    with run.budget.phase("profile"):
        profile_model(run, used)
    with run.budget.phase("train"):
        kernel_us = kernel_costs(run, used)
    errors = ErrorModel(
        [use.kernel for use in run.task.graph.kernels], [part.name for part in run.task.graph.output_parts]
    )
    knowledge = Knowledge(
        settings=settings, lanes=lanes, kernel_us=kernel_us, stage_cost={}, segments={}, errors=errors
    )
    predict_singles(run, used, kernel_us)
    with run.budget.phase("profile"):
        _measure_segments(run, knowledge)
    with run.budget.phase("train"):
        knowledge.stage_cost = stage_costs(run, used)
    return knowledge


def choose_lanes(run: Run) -> tuple[list[Setting], dict[Setting, tuple[Lane, ...]]]:
    """Settings worth a table and, for each, the lanes that could be part of a good plan.

    In SingleStream there is one setting. In Offline a partition runs with as many callers as there are cores.
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
        lanes: list[Lane] = []
        for contender in contenders:
            lane = contender.lanes[0]
            key = (lane.processor, str(lane.precision))
            best.setdefault(key, contender.median_us)
            if contender.median_us <= LANE_REACH * best[key] and len(lanes) < MAX_LANES and not _spins(lane):
                lanes.append(lane)
        chosen[setting] = tuple(lanes) or contenders[0].lanes
    fastest = sorted(by_setting, key=lambda setting: by_setting[setting][0].median_us)
    kept = fastest[:1]
    return kept, {setting: chosen[setting] for setting in kept}


def _spins(lane: Lane) -> bool:
    """Whether a lane stands for something else in a partition: there the CPU provider's pools do not spin."""
    return lane.processor == "cpu" and lane.concurrency.threads > 1 and lane.concurrency.spinning is None


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


def _measure_segments(run: Run, knowledge: Knowledge) -> None:
    """Times a few segments of the model on every lane, and what each adds to the output error below float32."""
    graph = run.task.graph
    weight = np.mean([np.where(np.isfinite(us), us, 0.0) for us in knowledge.kernel_us.values()], axis=0)
    ranges = segment_ranges(graph.cuts, weight, count=SEGMENTS)
    if len(ranges) < 2 or run.budget.left_s < reserve_s(run):
        return
    files = run.bench.files(ranges)
    feeds = _segment_feeds(run, files)
    if feeds is None:
        return
    for setting in knowledge.settings:
        for lane in knowledge.lanes[setting]:
            _time_segments(run, knowledge, setting, lane, files, feeds)
    _measure_errors(run, knowledge, weight)


def _measure_errors(run: Run, knowledge: Knowledge, weight: Floats) -> None:
    """What each of many small segments adds to the output error below float32: cheap, only outputs are compared."""
    graph = run.task.graph
    ranges = segment_ranges(graph.cuts, weight, count=ERROR_SEGMENTS)
    files = run.bench.files(ranges)
    run.observer.progress("errors", 0, 0, text=f"{len(ranges)} segments")
    reference = _reference_lane(knowledge)
    low = {(lane.processor, lane.precision): lane for lane in knowledge.kernel_us if not lane.precision.is_reference}
    for lane in low.values():
        found = stage_errors(
            files,
            reference,
            lane,
            str(run.task.search_samples.path),
            outputs=run.task.outputs,
            parts=graph.output_parts,
            deadline_s=STAGE_DEADLINE_S,
        )
        errors = [dict.fromkeys(knowledge.errors.parts, 1.0) if isinstance(e, Failure) else e for e in found]
        for same in (k for k in knowledge.kernel_us if (k.processor, k.precision) == (lane.processor, lane.precision)):
            knowledge.errors.measured(same, ranges, errors)


def _reference_lane(knowledge: Knowledge) -> Lane:
    """The float32 lane in use with the least cost, for the stages around the one whose error is measured."""
    reference = [lane for lane in knowledge.kernel_us if lane.precision.is_reference]
    if not reference:
        return Lane(processor="cpu")
    return min(reference, key=lambda lane: float(knowledge.kernel_us[lane].sum()))


def _segment_feeds(run: Run, files: Sequence[StageFile]) -> list[Path] | None:
    """One npz per segment with the tensors that reach it, computed by the CPU provider."""
    wanted = tuple(dict.fromkeys(tensor.name for file in files for tensor in file.outputs))
    job = Job(
        name="segments",
        stages=tuple(JobStage(file=str(file.path), lane=Lane(processor="cpu")) for file in files),
        outputs=wanted,
        feeds=str(run.task.feeds),
    )
    single = run.place.work / "one_sample.npz"
    tensors = load_arrays(run.task.feeds)
    save_arrays(single, {name: array[None] for name, array in tensors.items()})
    found = run_outputs(job, str(single), deadline_s=STAGE_DEADLINE_S, worker=run.worker)
    if isinstance(found, Failure):
        run.observer.event("note", {"text": f"segments cannot be run: {found.message}"})
        return None
    tensors |= dict(zip(wanted, found[0], strict=True))
    paths = []
    for at, file in enumerate(files):
        path = run.place.work / f"segment{at}.npz"
        save_arrays(path, {tensor.name: tensors[tensor.name] for tensor in file.inputs})
        paths.append(path)
    return paths


def _time_segments(
    run: Run, knowledge: Knowledge, setting: Setting, lane: Lane, files: Sequence[StageFile], feeds: Sequence[Path]
) -> None:
    whole = next(
        (
            c
            for c in run.singles()
            if c.lanes == (lane,)
            and c.candidate is not None
            and (c.candidate.callers, c.candidate.batch) == (setting.callers, 1)
            and c.name != DEFAULT
        ),
        None,
    )
    if whole is None:
        return
    known = _known_segments(run, lane, files, whole) if setting.callers == 1 else None
    if known is not None:
        knowledge.segments[setting, lane] = known
        return
    jobs = [
        run.bench.segment_job(file, lane, feeds=path, callers=setting.callers)
        for file, path in zip(files, feeds, strict=True)
    ]
    run.observer.progress("segments", 0, 0, text=str(lane))
    results = screen(jobs, rounds=SEGMENT_ROUNDS, round_s=0.01, seed=run.settings.seed, deadline_s=STAGE_DEADLINE_S)
    run.counters.device_measurements += len(jobs)
    spans = tuple((file.start, file.stop) for file in files)
    times = tuple(r.median_us if isinstance(r, Measurement) else np.nan for r in results)
    knowledge.segments[setting, lane] = SegmentTimes(spans=spans, times_us=times, whole_us=whole.median_us)
    if setting.callers == 1:
        _store_stages(run, lane, files, results, whole)


def _known_segments(run: Run, lane: Lane, files: Sequence[StageFile], whole: Contender) -> SegmentTimes | None:
    """What earlier searches measured of these segments, at the speed that the machine has now; None unless all are."""
    records = run.store.stages(
        model_sha256=run.task.info.sha256, lanes=[lane], identity=lane_identity(run, lane, Protocol.SCREENING)
    )
    times: dict[tuple[int, int], list[float]] = {}
    for record in records:
        if isinstance(record.result, Measurement):
            times.setdefault((record.start, record.stop), []).append(record.result.median_us)
    spans = tuple((file.start, file.stop) for file in files)
    if not {*spans, (0, run.kernels)} <= times.keys():
        return None
    now = whole.median_us / float(np.median(times[0, run.kernels]))
    return SegmentTimes(
        spans=spans, times_us=tuple(now * float(np.median(times[span])) for span in spans), whole_us=whole.median_us
    )


def _store_stages(
    run: Run, lane: Lane, files: Sequence[StageFile], results: Sequence[Measurement | Failure], whole: Contender
) -> None:
    graph = run.task.graph
    signatures = [use.kernel.signature for use in graph.kernels]
    entries = [
        (file.start, file.stop, sum(t.bytes for t in file.inputs), sum(t.bytes for t in file.outputs), result)
        for file, result in zip(files, results, strict=True)
    ]
    if whole.result is not None:
        ends = (sum(t.bytes for t in graph.inputs), sum(t.bytes for t in graph.outputs))
        entries.append((0, len(signatures), *ends, whole.result))
    run.store.add_stages(
        StageRecord(
            model_sha256=run.task.info.sha256,
            start=start,
            stop=stop,
            kernels=tuple(signatures[start:stop]),
            bytes_in=bytes_in,
            bytes_out=bytes_out,
            lane=lane,
            result=result,
            identity=lane_identity(run, lane, Protocol.SCREENING),
            notes=notes(),
        )
        for start, stop, bytes_in, bytes_out, result in entries
    )
