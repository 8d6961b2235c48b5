"""The state of one search while it goes on: what is known so far, and what it cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from autotune.api.clock import Budget
from autotune.api.settings import PrecisionPolicy, SearchSettings
from autotune.api.task import Task
from autotune.api.workplace import Guarded, Workplace
from autotune.core import (
    Candidate,
    Failure,
    FailureKind,
    Lane,
    Measurement,
    OutputError,
    StageChoice,
    Timing,
)
from autotune.datasets import Store
from autotune.planning import Aim, Bench, Proposal, at_pace, callers_plan
from autotune.planning.costs import Floats
from autotune.processors import SessionSpec
from autotune.profiler import Job, Worker
from autotune.profiler.load import middle
from autotune.simulator import StagedPlan

SEARCH_MARGIN = 0.8
"""Share of the tolerance that predictions may use: a plan tuned on some inputs errs more on others."""
ACCEPT_MARGIN = 0.9
"""Share of the tolerance that a partition's measured error may use on the inputs of the search."""
STAGES = "stages"
"""Folder of the candidates' stages in the work folder."""
DEFAULT = "default"
USER = "user"


@dataclass(slots=True, kw_only=True)
class Contender:
    """A baseline or a candidate and what was found out about it.

    Args:
        name: `default`, `single:<lane>`, `policy:<NAME>`, `user`, or `plan:<hash>`.
        job: how it is run.
        candidate: what it is; None where ONNX Runtime or the user decides.
        proposal: the frozen prediction, None for a baseline.
        result: screening result, None until measured: of one request (SingleStream) or per sample, all callers busy.
        forecast: what the scenario was predicted to give before it was put under load.
        driven: what it gave under load; None where it was not.
        error: output error on the inputs of the search.
        part_errors: squared output error by part, of whole models below float32.
        held_out: output error on the inputs held out, None until measured.
        round: in which round it was proposed; 0 for baselines.
    """

    name: str
    job: Job
    candidate: Candidate | None
    proposal: Proposal | None = None
    result: Measurement | Failure | None = None
    forecast: Timing | None = None
    driven: Measurement | Failure | None = None
    error: OutputError | None = None
    part_errors: Mapping[str, float] = field(default_factory=dict)
    held_out: OutputError | None = None
    round: int = 0

    @property
    def kind(self) -> str:
        """What it is: `default`, `user`, `single`, `policy` or `plan`."""
        return self.name.partition(":")[0]

    @property
    def median_us(self) -> float:
        """Screened median, inf where there is none."""
        return self.result.median_us if isinstance(self.result, Measurement) else float("inf")

    @property
    def lanes(self) -> tuple[Lane, ...]:
        """Lanes that it uses."""
        return tuple(stage.lane for stage in self.candidate.stages) if self.candidate else ()

    @property
    def below_float32(self) -> bool:
        """Whether a lane of it computes below float32."""
        return any(not lane.precision.is_reference for lane in self.lanes)


@dataclass(slots=True, kw_only=True)
class Counters:
    """What the search spent besides seconds."""

    device_measurements: int = 0
    table_candidates: int = 0
    trials: int = 0
    kernels_known: int = 0
    kernels_needed: int = 0
    rounds: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ParallelOutcome:
    """What came of plans of lanes that work at the same time.

    Args:
        tried: how many were measured.
        gain: speed of the best of them over the best single processor, by screening; None where none ran.
        ruled_out: why none was worth a measurement; else empty.
    """

    tried: int = 0
    gain: float | None = None
    ruled_out: str = ""


@dataclass(slots=True, kw_only=True)
class Run:
    """One search while it goes on."""

    settings: SearchSettings
    place: Workplace
    task: Task
    bench: Bench
    store: Store
    budget: Budget
    observer: Guarded
    worker: Worker
    counters: Counters = field(default_factory=Counters)
    contenders: dict[str, Contender] = field(default_factory=dict)
    launches: dict[str, list[Measurement | Failure]] = field(default_factory=dict)
    """Deciding launches by contender, kept as each ends."""
    warnings: list[str] = field(default_factory=list)
    curve: list[tuple[float, float]] = field(default_factory=list)
    user_options: SessionSpec | None = None
    speeds_us: dict[Lane, float] = field(default_factory=dict)
    """What each lane's sentinel takes at its fastest: the speed to which stored times are brought."""
    kernel_us: dict[Lane, Floats] = field(default_factory=dict)
    """[K] cost of each kernel by lane, measured or predicted; none where the budget left no time for it."""
    predictor_version: str = ""
    unmeasured_us: float | None = None
    """Predicted time of the best partition that the budget left no time to measure."""
    parallel: ParallelOutcome = ParallelOutcome()
    unsearched: bool = False
    """Whether the budget left no time to look for partitions."""
    interrupted: bool = False
    broken_off: bool = False
    """Whether something could not be written, so that it ended early."""
    verified: list[dict[str, object]] = field(default_factory=list)
    forecasts: dict[tuple[str, float], Timing] = field(default_factory=dict)
    peaks: dict[str, int] = field(default_factory=dict)
    """Peak memory in processes of their own, by contender, where that was asked for."""
    front: list[str] = field(default_factory=list)
    """Contenders on the measured front of several objectives, the plan first."""
    mlflow_run_id: str | None = None

    @property
    def kernels(self) -> int:
        """Number of kernels of the model."""
        return len(self.task.graph.kernels)

    @property
    def aim(self) -> Aim:
        """What is asked for."""
        return Aim(scenario=self.settings.scenario, bound_us=self.settings.latency_bound_us or 0.0)

    @property
    def overlapping(self) -> bool:
        """Whether several requests are there at the same time."""
        return self.settings.scenario.overlapping

    @property
    def under_load(self) -> bool:
        """Whether what is asked for can only be measured under load."""
        return self.settings.scenario.under_load

    def forecast(self, contender: Contender) -> Timing | None:
        """What the scenario is predicted to give, from the time per sample that was measured; None without one."""
        if not isinstance(contender.result, Measurement):
            return None
        key = (contender.name, contender.median_us)
        if key not in self.forecasts:
            self._forecast_all([contender, *self.contenders.values()])
        return self.forecasts[key]

    def _forecast_all(self, contenders: Sequence[Contender]) -> None:
        """All that are not known at once, which costs hardly more than one."""
        unknown = [c for c in contenders if isinstance(c.result, Measurement)]
        unknown = [c for c in unknown if (c.name, c.median_us) not in self.forecasts]
        for batch in {contender.job.batch for contender in unknown}:
            alike = [contender for contender in unknown if contender.job.batch == batch]
            found = self.aim.forecast([self._staged(contender) for contender in alike], batch=batch)
            for contender, timing in zip(alike, found, strict=True):
                self.forecasts[contender.name, contender.median_us] = timing

    def _staged(self, contender: Contender) -> StagedPlan:
        """As the simulation takes it, at the pace that was measured."""
        job, proposal = contender.job, contender.proposal
        if proposal is not None and proposal.staged is not None:
            return at_pace(proposal.staged, contender.median_us / proposal.predicted_us)
        alone_us = self._alone_us(contender)
        return callers_plan(contender.median_us, callers=job.callers, batch=job.batch, alone_us=alone_us)

    def _alone_us(self, contender: Contender) -> float | None:
        """Time of an inference with one caller, where the same stages were measured so."""
        for other in self.contenders.values():
            same = other.candidate is not None and contender.candidate is not None and other.lanes == contender.lanes
            if same and (other.job.callers, other.job.batch) == (1, contender.job.batch) and other.result is not None:
                return other.median_us * other.job.batch
        return None

    def figure_us(self, contender: Contender) -> float:
        """What it is judged by, less is better: measured under load, else predicted to be so; inf where it failed."""
        if not self.under_load:
            return contender.median_us
        driven = contender.driven
        if isinstance(driven, Measurement):
            return driven.median_us
        if isinstance(driven, Failure):
            return self.aim.missed_us(driven.closest_us) if driven.kind is FailureKind.BOUND else float("inf")
        found = self.forecast(contender)
        return self.aim.figure_us(found) if found is not None else float("inf")

    def rank(self, contender: Contender) -> tuple[bool, float]:
        """Sorts contenders: what was measured as the scenario asks before what was only predicted, then by figure."""
        return (self.under_load and contender.driven is None, self.figure_us(contender))

    @property
    def low_precision_allowed(self) -> bool:
        """Whether a plan may compute below float32."""
        policy = self.settings.precision
        return policy is PrecisionPolicy.ANY or (policy is PrecisionPolicy.AUTO and self.task.real_inputs)

    def whole(self, lane: Lane, *, callers: int = 1, batch: int = 1) -> Candidate:
        """The candidate that runs the whole model on one lane."""
        stage = StageChoice(start=0, stop=self.kernels, lane=lane)
        return Candidate(stages=(stage,), callers=callers, batch=batch)

    def feasible(self, contender: Contender) -> bool:
        """Whether its outputs are near enough to the reference and its precisions allowed, as far as is known."""
        return not self.refusal(contender)

    def refusal(self, contender: Contender) -> str:
        """Why it may not be taken, however fast; empty where it may."""
        if contender.error is None:
            return "its outputs are not known"
        if contender.below_float32 and not self.low_precision_allowed:
            why = "without --inputs" if self.settings.precision is PrecisionPolicy.AUTO else "with --precision float32"
            return f"below float32 {why}"
        if contender.below_float32 and contender.error.no_signal:
            return f"below float32, and on these inputs {', '.join(contender.error.no_signal)} says nothing"
        errors = [error for error in (contender.error, contender.held_out) if error is not None]
        kept = all(error.relative_rms <= self.settings.tolerance for error in errors)
        return "" if kept else "not within the tolerance"

    def keep_verified(self, contender: Contender) -> None:
        """Files a frozen prediction beside what was measured."""
        if contender.proposal is None or contender.candidate is None:
            return
        self.verified.append(
            {
                "plan_hash": contender.candidate.hash,
                "predicted": contender.proposal.predicted_us,
                "measured": contender.median_us if isinstance(contender.result, Measurement) else None,
                "feasible": self.feasible(contender),
                "stages": len(contender.candidate.stages),
            }
        )

    def singles(self) -> list[Contender]:
        """Whole-model contenders that were measured, fastest first (the default among them)."""
        found = [c for c in self.contenders.values() if c.candidate is not None and c.candidate.is_single_lane]
        return sorted((c for c in found if isinstance(c.result, Measurement)), key=self.rank)

    def partitions(self) -> list[Contender]:
        """Measured feasible partitions, fastest first."""
        found = [c for c in self.contenders.values() if c.candidate is not None and not c.candidate.is_single_lane]
        ready = (c for c in found if isinstance(c.result, Measurement) and self.feasible(c))
        return sorted(ready, key=self.rank)

    def best_feasible_single(self) -> Contender | None:
        """The fastest feasible whole-model contender by screening."""
        return next((c for c in self.singles() if self.feasible(c)), None)

    def timing(self, contender: Contender) -> Timing | None:
        """Its timing: from the deciding launches where it took part, else from screening."""
        found = self._timing(contender)
        if found is None or contender.name not in self.peaks:
            return found
        return replace(found, peak_bytes=self.peaks[contender.name])

    def _timing(self, contender: Contender) -> Timing | None:
        results = self.launches.get(contender.name, ())
        good = [result for result in results if isinstance(result, Measurement)]
        if self.under_load and not good:
            good = [contender.driven] if isinstance(contender.driven, Measurement) else []
            if not good:
                return None
        if good:
            samples = tuple(sample for result in good for sample in result.samples_us)
            load_s = sorted(result.load_s for result in good)[len(good) // 2]
            peak = max(result.peak_bytes for result in good)
            loads = [result.under_load for result in good if result.under_load is not None]
            merged = Measurement(
                samples_us=samples, load_s=load_s, peak_bytes=peak, under_load=middle(loads) if loads else None
            )
            return timing_of(merged, contender.candidate)
        return timing_of(contender.result, contender.candidate) if isinstance(contender.result, Measurement) else None


def timing_of(result: Measurement, candidate: Candidate | None) -> Timing:
    """Timing of a measurement; with several callers or a batch latency follows from throughput (Little's law)."""
    if result.under_load is not None:
        return replace(result.under_load, load_s=result.load_s, peak_bytes=result.peak_bytes)
    at_once = candidate.callers * candidate.batch if candidate is not None else 1
    return Timing(
        p50_us=result.median_us * at_once,
        p90_us=result.percentile_us(90) * at_once,
        p99_us=result.percentile_us(99) * at_once,
        throughput_per_s=1e6 / result.median_us,
        load_s=result.load_s,
        peak_bytes=result.peak_bytes,
    )
