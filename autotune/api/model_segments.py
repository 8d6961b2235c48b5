"""Segments of the model: how long they take on each lane, and the output error that each adds."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np

from autotune.api.calibration import SegmentTimes
from autotune.api.deciding import has_time, reserve_s
from autotune.api.knowledge import Knowledge
from autotune.api.known_costs import lane_identity
from autotune.api.run import DEFAULT, Contender, Run
from autotune.core import Failure, Lane, Measurement, Protocol, StageRecord
from autotune.graph import StageFile
from autotune.planning import Setting, rough_us, segment_ranges
from autotune.planning.costs import Floats
from autotune.planning.output_error import UNUSABLE
from autotune.profiler import ChainTimes, notes, stage_errors, time_chain

SEGMENTS = 8
SEGMENT_ROUNDS = 8
CHANGE_ROUNDS = 4
SEGMENT_ROUND_S = 0.05
ERROR_SEGMENTS = 24
STAGE_DEADLINE_S = 120.0
LEAST_DEADLINE_S = 15.0


def measure_segments(run: Run, knowledge: Knowledge) -> None:
    """Times a few segments of the model on every lane, and what each adds to the output error below float32."""
    graph = run.task.graph
    weight = rough_us([use.kernel for use in graph.kernels])  # a second search finds the segments of the first
    ranges = segment_ranges(graph.cuts, weight, count=SEGMENTS)
    if len(ranges) < 2 or not has_time(run, reserve_s(run)):
        return
    files = run.bench.files(ranges)
    for setting in knowledge.settings:
        for lane in knowledge.lanes[setting]:
            if has_time(run, reserve_s(run)):
                _time_segments(run, knowledge, setting, lane, files)
        _time_changes(run, knowledge, setting, files)
    _measure_errors(run, knowledge, weight)


def _deadline_s(run: Run) -> float:
    """A lane that hangs must not cost what deciding needs."""
    return min(STAGE_DEADLINE_S, max(LEAST_DEADLINE_S, run.budget.left_s - reserve_s(run)))


def _measure_errors(run: Run, knowledge: Knowledge, weight: Floats) -> None:
    """What each of many small segments adds to the output error below float32: cheap, only outputs are compared."""
    low = {lane.kind: lane for lane in knowledge.kernel_us if not lane.precision.is_reference}
    if not low:
        return
    graph = run.task.graph
    ranges = segment_ranges(graph.cuts, weight, count=ERROR_SEGMENTS)
    files = run.bench.files(ranges)
    run.observer.progress("errors", 0, 0, text=f"{len(ranges)} segments")
    reference = _reference_lane(knowledge)
    for lane in low.values():
        found = stage_errors(
            files,
            reference,
            lane,
            str(run.task.search_samples.path),
            outputs=run.task.outputs,
            parts=graph.output_parts,
            deadline_s=_deadline_s(run),
        )
        broken = dict.fromkeys(knowledge.errors.parts, UNUSABLE)
        knowledge.errors.measured(lane, ranges, [broken if isinstance(e, Failure) else e for e in found])
    for contender in run.singles():
        if contender.candidate is not None and contender.below_float32 and contender.part_errors:
            knowledge.errors.verified(contender.candidate, contender.part_errors)


def _reference_lane(knowledge: Knowledge) -> Lane:
    """The float32 lane in use with the least cost, for the stages around the one whose error is measured."""
    reference = [lane for lane in knowledge.kernel_us if lane.precision.is_reference]
    if not reference:
        return Lane(processor="cpu")
    return min(reference, key=lambda lane: float(knowledge.kernel_us[lane].sum()))


def _whole(run: Run, setting: Setting, lane: Lane) -> Contender | None:
    """The whole model on this lane, as it was measured among the baselines."""
    return next(
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


def _time_changes(run: Run, knowledge: Knowledge, setting: Setting, files: Sequence[StageFile]) -> None:
    """What it costs to change from one processor to another, beyond what their stages pay anyhow.

    The segments run on two processors in turns; what that takes more than the same segments among their own kind is
    what the changes cost: each provider has threads of its own, and they disturb each other.
    """
    best: dict[str, Lane] = {}
    for lane in knowledge.lanes[setting]:  # fastest first
        if (setting, lane) in knowledge.segments and lane.precision.is_reference:
            best.setdefault(lane.processor, lane)
    for first, second in combinations(best.values(), 2):
        whole = _whole(run, setting, first)
        if whole is None or not has_time(run, reserve_s(run)):
            continue
        run.observer.progress("segments", 0, 0, text=f"{first} and {second} in turns")
        found = time_chain(
            run.bench.chain_job(files, [first, second], callers=setting.callers),
            whole.job,
            rounds=CHANGE_ROUNDS,
            round_s=SEGMENT_ROUND_S,
            seed=run.settings.seed,
            deadline_s=_deadline_s(run),
        )
        run.counters.device_measurements += 1
        if isinstance(found, Failure):
            run.observer.event("note", {"text": f"{first} and {second} cannot take turns: {found.message}"})
            continue
        own = [knowledge.segments[setting, lane].times_us for lane in (first, second)]
        alone_us = sum(own[at % 2][at] for at in range(len(files)))
        together_us = sum(found.stages_us) * whole.median_us / found.whole_us
        change_us = max(0.0, together_us - alone_us) / (len(files) - 1)
        changes = knowledge.changes_us.setdefault(setting, {})
        changes[first.processor, second.processor] = changes[second.processor, first.processor] = change_us


def _time_segments(run: Run, knowledge: Knowledge, setting: Setting, lane: Lane, files: Sequence[StageFile]) -> None:
    whole = _whole(run, setting, lane)
    if whole is None:
        return
    known = _known_segments(run, lane, files, whole) if setting.callers == 1 else None
    if known is not None:
        knowledge.segments[setting, lane] = known
        return
    run.observer.progress("segments", 0, 0, text=str(lane))
    found = time_chain(
        run.bench.chain_job(files, [lane], callers=setting.callers),
        whole.job,
        rounds=SEGMENT_ROUNDS,
        round_s=SEGMENT_ROUND_S,
        seed=run.settings.seed,
        deadline_s=_deadline_s(run),
    )
    run.counters.device_measurements += len(files)
    if isinstance(found, Failure):
        run.observer.event("note", {"text": f"segments cannot be run on {lane}: {found.message}"})
        return
    now = whole.median_us / found.whole_us
    knowledge.segments[setting, lane] = SegmentTimes(
        spans=tuple((file.start, file.stop) for file in files),
        times_us=tuple(now * us for us in found.stages_us),
        whole_us=whole.median_us,
    )
    if setting.callers == 1:
        _store_stages(run, lane, files, found)


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


def _store_stages(run: Run, lane: Lane, files: Sequence[StageFile], found: ChainTimes) -> None:
    graph = run.task.graph
    signatures = [use.kernel.signature for use in graph.kernels]
    entries = [
        (file.start, file.stop, sum(t.bytes for t in file.inputs), sum(t.bytes for t in file.outputs), us)
        for file, us in zip(files, found.stages_us, strict=True)
    ]
    ends = (sum(t.bytes for t in graph.inputs), sum(t.bytes for t in graph.outputs))
    entries.append((0, len(signatures), *ends, found.whole_us))
    run.store.add_stages(
        StageRecord(
            model_sha256=run.task.info.sha256,
            start=start,
            stop=stop,
            kernels=tuple(signatures[start:stop]),
            bytes_in=bytes_in,
            bytes_out=bytes_out,
            lane=lane,
            result=Measurement(samples_us=(us,), load_s=0.0, peak_bytes=0),
            identity=lane_identity(run, lane, Protocol.SCREENING),
            notes=notes(sentinel_us=found.sentinel_us),
        )
        for start, stop, bytes_in, bytes_out, us in entries
    )
