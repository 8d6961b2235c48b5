"""A plan: what a search decides and a production program loads."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise

from autotune.core.codec import encode
from autotune.core.device import Device
from autotune.core.lane import Lane
from autotune.core.tensor import TensorSpec

PLAN_SCHEMA_VERSION = 2
"""Since 2 a stage may be any set of kernels or a part of divided ones; a plan of version 1 has neither."""


class Scenario(StrEnum):
    """How requests arrive, in MLPerf Inference's names."""

    SINGLE_STREAM = "SingleStream"
    MULTI_STREAM = "MultiStream"
    SERVER = "Server"
    OFFLINE = "Offline"

    @property
    def under_load(self) -> bool:
        """Whether only a load generator can measure it: what counts is how latency behaves while requests queue."""
        return self in (Scenario.MULTI_STREAM, Scenario.SERVER)

    @property
    def overlapping(self) -> bool:
        """Whether several requests are there at the same time."""
        return self is not Scenario.SINGLE_STREAM


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitChoice:
    """A chain of kernels whose result is computed in parts, on several lanes at the same time.

    Args:
        kernels: positions of the chain's kernels.
        axis: of the result, along which it is divided.
        shares: sizes of the parts, relative to each other.
    """

    kernels: tuple[int, ...]
    axis: int
    shares: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class StageChoice:
    """A stage before it is a file: a run of kernels, or any set of them, and the lane that runs them.

    Args:
        start: first kernel, in the order of the graph's kernels.
        stop: one past the last.
        lane: where they run.
        kernels: which ones, where it is not all from start to stop.
        part: which part of the split of these kernels (their number: what joins them); None where it is undivided.
    """

    start: int
    stop: int
    lane: Lane
    kernels: tuple[int, ...] = ()
    part: int | None = None

    @property
    def positions(self) -> tuple[int, ...]:
        """The kernels."""
        return self.kernels or tuple(range(self.start, self.stop))

    @staticmethod
    def of(kernels: Sequence[int], lane: Lane, part: int | None = None) -> StageChoice:
        """The stage of these kernels."""
        ordered = tuple(sorted(kernels))
        start, stop = ordered[0], ordered[-1] + 1
        run = part is None and len(ordered) == stop - start
        return StageChoice(start=start, stop=stop, lane=lane, kernels=() if run else ordered, part=part)

    def __str__(self) -> str:
        text = f"{self.start}-{self.stop} {self.lane}"
        if self.part is not None:
            return f"part {self.part + 1} of {text}"
        return f"{len(self.kernels)} of {text}" if self.kernels else text


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """What the search compares: stages, each after those that it needs, and how many requests run at once.

    Args:
        stages: cover all kernels without gap or overlap; a divided chain is covered by its parts together.
        callers: threads that call `run` at the same time (1 in SingleStream).
        batch: requests joined into one along the first dimension (1 in SingleStream).
        splits: chains that are divided between lanes.
    """

    stages: tuple[StageChoice, ...]
    callers: int = 1
    batch: int = 1
    splits: tuple[SplitChoice, ...] = ()

    @property
    def hash(self) -> str:
        """12 hexadecimal digits, equal for equal candidates."""
        text = json.dumps(encode(self), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    @property
    def is_single_lane(self) -> bool:
        """Whether one lane runs the whole model as one session."""
        return len(self.stages) == 1

    def source(self, *, serial: bool) -> str:
        """Where a gain would come from.

        Args:
            serial: whether each stage needs the one before it.
        """
        lanes = {stage.lane for stage in self.stages}
        if self.splits:
            return "split"
        if not serial and _apart(lanes):
            return "parallel lanes"
        if self.callers > 1 and _apart(lanes):
            return "pipeline"
        if len(lanes) > 1:
            return "provider, precision or threads per stage"
        if self.callers > 1 or self.batch > 1 or any(lane.concurrency.streams > 1 for lane in lanes):
            return "streams"
        return "one session"

    @property
    def stages_are_runs(self) -> bool:
        """Whether its stages are undivided runs of kernels; they may still be able to run at the same time."""
        return not any(stage.kernels for stage in self.stages)

    def __str__(self) -> str:
        stages = " | ".join(map(str, self.stages))
        text = str(self.stages[0].lane) if self.is_single_lane else stages
        text += f" x{self.callers} callers" if self.callers > 1 else ""
        return text + (f" batch {self.batch}" if self.batch > 1 else "")


def _apart(lanes: Collection[Lane]) -> bool:
    """Whether two of them have processors or cores of their own; CPU lanes that are not pinned have all cores."""
    devices = {lane.processor for lane in lanes if not lane.on_cpu}
    on_cores = [lane.concurrency.cores for lane in lanes if lane.on_cpu]
    return len(devices) + max(sum(map(bool, on_cores)), bool(on_cores)) > 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """A connected part of the model that one lane runs as one session.

    Args:
        file: ONNX file, relative to the plan's folder.
        start: first kernel.
        stop: one past the last kernel.
        lane: where it runs.
        inputs: names of the tensors it takes.
        outputs: names of the tensors it gives.
        operators: number of ONNX nodes.
        kernels: which ones, where it is not all from start to stop.
        part: which part of the split of these kernels (their number: what joins them); None where it is undivided.
    """

    file: str
    start: int
    stop: int
    lane: Lane
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    operators: int
    kernels: tuple[int, ...] = ()
    part: int | None = None


def serial(stages: Sequence[tuple[Collection[str], Collection[str]]]) -> bool:
    """Whether no two stages can ever run at the same time: each needs the one before it.

    Args:
        stages: names of the tensors that each takes and gives, in the order of the plan.
    """
    return all(set(gives) & set(takes) for (_, gives), (takes, _) in pairwise(stages))


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """Latency and throughput, predicted or measured; the field it stands in says which.

    Args:
        p50_us: median latency of one request.
        p90_us: 90th percentile; equal to the median where only that is predicted.
        p99_us: 99th percentile.
        throughput_per_s: samples per second.
        load_s: seconds to load, 0 where it was not measured.
        peak_bytes: peak resident memory, 0 where it was not measured.
    """

    p50_us: float
    p90_us: float
    p99_us: float
    throughput_per_s: float
    load_s: float = 0.0
    peak_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputError:
    """How far the outputs are from the reference (ONNX Runtime's CPU provider at float32).

    Args:
        relative_rms: worst over outputs and their parts of RMS(difference) / RMS(reference).
        max_abs: worst absolute difference.
        worst_output: the output, or part of one, that has it.
        no_signal: outputs whose reference is constant or nearly zero on the inputs given.
    """

    relative_rms: float
    max_abs: float
    worst_output: str = ""
    no_signal: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """What a plan must beat.

    Args:
        name: `default`, `policy:<NAME>`, `single:<lane>` or `user`.
        candidate: how it runs; None for a device policy, where ONNX Runtime decides.
        measured: its timing, None where it could not run.
        error: its output error, None where it could not run.
        feasible: whether it may be taken.
        failure: why it could not run, else empty.
        refusal: why it may not be taken though it ran, else empty: the error, or its precision.
    """

    name: str
    candidate: Candidate | None
    measured: Timing | None
    error: OutputError | None
    feasible: bool
    failure: str = ""
    refusal: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ratio:
    """A speedup with its 97 % interval over process launches."""

    ratio: float
    low: float
    high: float


class VerdictKind(StrEnum):
    """What won."""

    PARTITION = "partition"
    SINGLE_PROCESSOR = "single_processor"
    DEFAULT = "default"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The answer, in one line.

    Args:
        kind: what won.
        winner: its name: a baseline's, or the candidate as text.
        reason: one sentence with the numbers.
    """

    kind: VerdictKind
    winner: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelInfo:
    """The model that a plan runs.

    Args:
        name: the zoo's name or the file's stem.
        sha256: hash of the prepared model (folded, static shapes, weights included).
        inputs: its inputs.
        outputs: its outputs.
        source: what the weights are, for instance `architecture only, random weights`; empty for a file.
    """

    name: str
    sha256: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    source: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Partition and lanes for one model, its input shapes, device and scenario; predicted and measured.

    Args:
        model: what it runs.
        scenario: how requests arrive.
        latency_bound_us: of Server's 99th percentile; 0 elsewhere.
        stages: in the order they run.
        callers: threads that should call `run` at the same time.
        batch: requests joined into one.
        tolerance: largest allowed `relative_rms`.
        device: where it was found.
        versions: (distribution or provider, version) that it was measured with.
        predicted: frozen before measuring; None where nothing was predicted.
        measured: on this device, from the deciding protocol; None in an unmeasured plan.
        error: on inputs held out of the search.
        baselines: measured side by side.
        over_default: speedup over ONNX Runtime's default.
        over_best_single: speedup over the best feasible single processor.
        verdict: the answer.
        splits: chains of kernels that are divided between lanes.
    """

    schema_version: int = PLAN_SCHEMA_VERSION
    model: ModelInfo
    scenario: Scenario
    latency_bound_us: float = 0.0
    stages: tuple[Stage, ...]
    callers: int = 1
    batch: int = 1
    tolerance: float
    device: Device
    versions: tuple[tuple[str, str], ...] = ()
    predicted: Timing | None = None
    measured: Timing | None = None
    error: OutputError | None = None
    baselines: tuple[Baseline, ...] = ()
    over_default: Ratio | None = None
    over_best_single: Ratio | None = None
    verdict: Verdict | None = None
    splits: tuple[SplitChoice, ...] = ()

    @property
    def candidate(self) -> Candidate:
        """The choice behind the plan."""
        stages = tuple(
            StageChoice(start=s.start, stop=s.stop, lane=s.lane, kernels=s.kernels, part=s.part) for s in self.stages
        )
        return Candidate(stages=stages, callers=self.callers, batch=self.batch, splits=self.splits)

    @property
    def source(self) -> str:
        """Where its gain comes from."""
        return self.candidate.source(serial=serial([(stage.inputs, stage.outputs) for stage in self.stages]))
