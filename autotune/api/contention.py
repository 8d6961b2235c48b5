"""Profiling what lanes do to each other: pairs of kernels and segments of models, timed alone and together."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import combinations_with_replacement
from pathlib import Path

import numpy as np

from autotune.api.clock import Budget
from autotune.api.profiling import DEFAULT_BUDGET_S, lane_here
from autotune.api.settings import SearchSettings
from autotune.api.task import load_model
from autotune.api.together_settings import Participant, with_settings
from autotune.api.workplace import Guarded, Workplace, hold_device, open_workplace
from autotune.core import (
    Concurrency,
    CoRunMeasurement,
    CoRunRecord,
    Failure,
    Identity,
    Kernel,
    Lane,
    Observer,
    Processor,
    Protocol,
    SilentObserver,
    TensorSpec,
)
from autotune.datasets import Store
from autotune.errors import PredictorError, UsageError
from autotune.graph import Graph, extract
from autotune.planning import rough_us, segment_ranges
from autotune.planning.corun_pairs import spread_pairs, work_point
from autotune.predictor import SlowdownAccuracy, SlowdownPredictor, evaluate_slowdowns, load_slowdown, save_slowdown
from autotune.predictor.training import models_of
from autotune.processors import allowed_cores, share_out
from autotune.profiler import (
    CoRunPair,
    CoRunResult,
    Side,
    check_apart,
    identity,
    measure_coruns,
    noise_check,
    notes,
)

KERNELS, SEGMENTS = 20, 6
"""Of each model, as far as it has so many."""
MOST_PAIRS = 80
"""Of each model on each pair of lanes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LanePairSlowdown:
    """What one lane does to another one.

    Args:
        lane: the one that is slowed down.
        beside: the one that is busy meanwhile.
        known: co-runs that had been measured before.
        measured: co-runs measured now.
        failed: those that could not be.
        median: slowdown of all of them, None where there are none.
        low: a tenth of them are below.
        high: a tenth of them are above.
    """

    lane: str
    beside: str
    known: int
    measured: int
    failed: int
    median: float | None = None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ContentionResult:
    """What a contention profile found.

    Args:
        device: the device's name.
        store: where the records are.
        models: whose work was run together.
        pairs: each pair of lanes in both directions.
        records: co-runs of this device that the predictor has learnt from.
        accuracy: of predicted slowdowns on models left out; empty with fewer than two models.
        seconds: time spent.
        warnings: what the user should know.
    """

    device: str
    store: str
    models: tuple[str, ...]
    pairs: tuple[LanePairSlowdown, ...]
    records: int
    accuracy: tuple[SlowdownAccuracy, ...]
    seconds: float
    warnings: tuple[str, ...]


def profile_contention(
    models: Sequence[str | Path | Participant],
    settings: SearchSettings | None = None,
    *,
    lanes: Sequence[str] = (),
    observer: Observer | None = None,
) -> ContentionResult:
    """Measures how work of some models slows down when lanes run together; known pairs are not measured again.

    Pairs are taken in the order in which they teach most, as far as the budget goes, each in both directions.

    Args:
        models: names of the zoo or ONNX files; participants where each has shapes or dims of its own.
        settings: home, budget, processors, shapes.
        lanes: lanes to pair, as text, with cores of their own; one with two streams is paired with itself. Empty: half
            of the cores for each of two lanes, of every pair of processors, and two streams of each.
        observer: is told of the progress.

    Raises:
        UsageError: no two lanes can work at the same time here.
        AutotuneError: see `autotune.errors`.
    """
    settings = settings or SearchSettings()
    asked = with_settings(models, settings)
    watcher = Guarded(observer or SilentObserver())
    budget = Budget(settings.budget_s or DEFAULT_BUDGET_S)
    with ExitStack() as stack:
        place = stack.enter_context(open_workplace(settings.home, settings.processors))
        store = stack.enter_context(Store(place.store_url))
        pairs = pairs_of([lane_here(place, text) for text in lanes]) if lanes else lane_pairs(place)
        work = [_load(model, own, place, store, at) for at, (model, own) in enumerate(asked)]
        stack.enter_context(hold_device(place, watcher, wait_s=settings.wait_s))
        noise = noise_check()
        jobs = [(lanes_of_pair, sides) for lanes_of_pair in pairs for sides in work]
        found: dict[tuple[Lane, Lane], list[_Count]] = {}
        for at, (own, sides) in enumerate(jobs):
            watcher.progress("contention", at, len(jobs), text=f"{own[0]} beside {own[1]}")
            left_s = budget.left_s / (len(jobs) - at)
            found.setdefault(own, []).append(_measure(place, store, own, sides, left_s, settings.seed))
        predictor = slowdown_predictor(place, store, seed=settings.seed)
        return ContentionResult(
            device=place.device.name,
            store=place.store_url,
            models=tuple(str(model) for model, _ in asked),
            pairs=tuple(row for own, counts in found.items() for row in _rows(place, store, own, counts)),
            records=predictor.records,
            accuracy=_accuracy(place, store, settings.seed),
            seconds=budget.elapsed_s,
            warnings=(*noise.warnings, *_shortfall(found)),
        )


def lane_pairs(place: Workplace) -> list[tuple[Lane, Lane]]:
    """Half of the cores for each of two lanes, of every pair of processors, and two streams of each CPU one.

    Raises:
        UsageError: there is one core and no other device.
    """
    cores = place.device.cores
    half = len(cores) // 2
    found = []
    for one, two in combinations_with_replacement(place.processors, 2):
        if "cpu" in (one.device, two.device) and not half:
            continue
        if one.name != two.name or one.device == "cpu":
            first, second = share_out((half, half), cores)
            found.append((_lane(one, first), _lane(two, second)))
    for processor in place.processors:
        if processor.device == "cpu" and half:
            lane = _lane(processor, cores[: 2 * half])
            shared = processor.name != "cpu"  # OpenVINO's streams share the threads; others' have them each
            setting = replace(lane.concurrency, threads=2 * half if shared else half, streams=2)
            found.append((replace(lane, concurrency=setting),) * 2)
    if not found:
        raise UsageError("with one core and one device no two lanes can work at the same time here")
    return found


def _lane(processor: Processor, cores: tuple[int, ...]) -> Lane:
    if processor.device != "cpu":
        return Lane(processor=processor.name)
    return Lane(processor=processor.name, concurrency=Concurrency(threads=len(cores), cores=cores))


def pairs_of(lanes: Sequence[Lane]) -> list[tuple[Lane, Lane]]:
    """Lanes with each other, and those with several streams with themselves.

    Raises:
        UsageError: there are none, two of them share cores or need more than there are, or one is not this process's.
    """
    found = [
        (one, two)
        for one, two in combinations_with_replacement(dict.fromkeys(lanes), 2)
        if one != two or one.concurrency.streams > 1
    ]
    if not found:
        raise UsageError(f"{', '.join(map(str, lanes))} has nothing beside it: give two lanes, or one with two streams")
    allowed = allowed_cores()
    for lane in lanes:
        if forbidden := set(lane.concurrency.cores) - set(allowed):
            here = ", ".join(map(str, allowed))
            raise UsageError(f"{lane} is pinned to core {min(forbidden)}, this process may use {here}: name those")
    for pair in found:
        check_apart(*pair)
    return found


@dataclass(frozen=True, slots=True)
class _Work:
    """Kernels that run as one, and their file where they are several."""

    kernels: tuple[Kernel, ...]
    signatures: tuple[str, ...]
    file: str = ""
    inputs: tuple[TensorSpec, ...] = ()

    def on(self, lane: Lane) -> Side:
        return Side(kernels=self.kernels, lane=lane, file=self.file, inputs=self.inputs)


@dataclass(frozen=True, slots=True)
class _Count:
    known: int
    measured: int
    failed: int
    left: int


def _load(model: str | Path, settings: SearchSettings, place: Workplace, store: Store, number: int) -> list[_Work]:
    folder = place.work / f"model{number}"
    folder.mkdir()
    graph, name, _ = load_model(model, settings, folder)
    store.add_model(graph.sha256, name, [use.kernel.signature for use in graph.kernels])
    return work_of(graph, folder / "segments")


def work_of(graph: Graph, folder: Path, *, kernels: int = KERNELS, segments: int = SEGMENTS) -> list[_Work]:
    """Kernels of a model spread over FLOPs per byte, the heavy ones of each kind, and all of it in segments."""
    unique = {use.kernel.signature: use.kernel for use in graph.kernels if use.kernel.buildable}
    points = {signature: work_point([kernel]) for signature, kernel in unique.items()}
    ordered = sorted(unique, key=points.__getitem__)
    bins = [part for part in np.array_split(np.array(ordered), min(kernels, len(ordered))) if len(part)]
    chosen = [max(map(str, part), key=lambda signature: points[signature][1]) for part in bins]
    found = [_Work((unique[signature],), (signature,)) for signature in chosen]
    ranges = segment_ranges(graph.cuts, rough_us([use.kernel for use in graph.kernels]), count=segments)
    for stage in extract(graph, ranges, folder):
        own = tuple(use.kernel for use in graph.kernels[stage.start : stage.stop])
        if len(own) > 1 and all(tensor.is_static for tensor in stage.inputs):
            found.append(_Work(own, tuple(k.signature for k in own), str(stage.path), stage.inputs))
    return list({own.signatures: own for own in found}.values())  # equal segments are one


def pair_identity(place: Workplace, victim: Lane, beside: Lane) -> Identity:
    """The identity of co-runs of two lanes."""
    own, other = (
        identity(place.device, place.processor(lane.processor), place.discovery, Protocol.CO_RUN)
        for lane in (victim, beside)
    )
    return own if own == other else replace(own, provider=f"{own.provider} beside {other.provider}")


def _measure(
    place: Workplace, store: Store, lanes: tuple[Lane, Lane], work: Sequence[_Work], left_s: float, seed: int
) -> _Count:
    """Measures pairs of work on a pair of lanes, both directions, and stores each as it is made."""
    one, two = lanes
    tags = pair_identity(place, one, two), pair_identity(place, two, one)
    position = {own.signatures: at for at, own in enumerate(work)}
    settled = store.known_coruns(one, two, tags[0])
    mirrored = replace(one, concurrency=two.concurrency) == two
    known = {(position[a], position[b]) for a, b in settled if a in position and b in position}
    known = {(min(pair), max(pair)) for pair in known} if mirrored else known
    chosen = spread_pairs(
        np.array([work_point(own.kernels) for own in work]), MOST_PAIRS - len(known), known=known, mirrored=mirrored
    )
    results: list[CoRunResult] = []

    def keep(at: int, result: CoRunResult) -> None:
        results.append(result)
        a, b = (work[side].kernels for side in chosen[at])
        both = (result, result) if isinstance(result, Failure) else result
        circumstances = notes()
        records = [
            CoRunRecord(
                victim=a, victim_lane=one, beside=b, beside_lane=two, result=both[0], identity=tags[0],
                notes=circumstances,
            ),
            CoRunRecord(
                victim=b, victim_lane=two, beside=a, beside_lane=one, result=both[1], identity=tags[1],
                notes=circumstances,
            ),
        ]  # fmt: skip
        store.add_coruns(records)

    if chosen and left_s > 0:
        pairs = [CoRunPair(first=work[a].on(one), second=work[b].on(two)) for a, b in chosen]
        measure_coruns(pairs, seed=seed, deadline_s=left_s, on_result=keep)
    failed = sum(isinstance(result, Failure) for result in results)
    return _Count(len(known), len(results) - failed, failed, len(chosen) - len(results))


def _rows(place: Workplace, store: Store, lanes: tuple[Lane, Lane], counts: Sequence[_Count]) -> list[LanePairSlowdown]:
    """Both directions of a pair of lanes; one where it is two streams of one."""
    found = []
    for victim, beside in dict.fromkeys((lanes, lanes[::-1])):
        records = store.coruns(lanes=(victim, beside), identity=pair_identity(place, victim, beside))
        slow = [record.result.slowdown for record in records if isinstance(record.result, CoRunMeasurement)]
        low, median, high = np.percentile(slow, [10, 50, 90]).tolist() if slow else (None, None, None)
        found.append(
            LanePairSlowdown(
                lane=str(victim),
                beside=str(beside),
                known=sum(count.known for count in counts),
                measured=sum(count.measured for count in counts),
                failed=sum(count.failed for count in counts),
                median=median,
                low=low,
                high=high,
            )
        )
    return found


def slowdown_predictor(place: Workplace, store: Store, *, seed: int = 0) -> SlowdownPredictor:
    """What is known of this device's contention: as saved, or learnt anew where there are other records than then."""
    from autotune.predictor.slowdown import hash_of

    folder = place.home / "predictors" / f"slowdown-{place.device.id}"
    records = store.coruns(device=place.device.id)
    if folder.exists():
        try:
            saved = load_slowdown(folder)
            if saved.data_hash == hash_of(records):
                return saved
        except PredictorError:
            pass  # it is learnt anew and replaced
    predictor = SlowdownPredictor.fit(records, seed=seed)
    if predictor.records:
        save_slowdown(predictor, folder)
    return predictor


def _accuracy(place: Workplace, store: Store, seed: int) -> tuple[SlowdownAccuracy, ...]:
    groups = store.groups()
    if len(models_of(groups)) < 2:
        return ()
    try:
        return evaluate_slowdowns(store.coruns(device=place.device.id), groups, seed=seed)
    except PredictorError:
        return ()


def _shortfall(found: dict[tuple[Lane, Lane], list[_Count]]) -> list[str]:
    left = sum(count.left for counts in found.values() for count in counts)
    return [f"the budget left no time for {left} pairs, the ones that teach least."] if left else []
