"""Search against a recorded device: what a model's kernels would gain on processors that are not here."""

from __future__ import annotations

import json
import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from autotune.datasets.recorded import RecordedDevice, RecordedModel, read_recorded
from autotune.errors import InputError, UsageError
from autotune.planning.exact_parts import exact_by_parts
from autotune.planning.placement import Placement, place
from autotune.simulator import TaskGraph

PREFIX = "recorded:"
DEFAULT_SEARCH_S = 10.0
WORTH = 1.005
"""Speedup over the best single processor under which the answer is that processor."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedResult:
    """What came out, in simulated time.

    Args:
        device: name of the recorded device.
        model: name of the model.
        graph: its tasks.
        placement: the best schedule and the baselines.
        optimum_us: makespan proven to be the least, None where none was proven.
        bound_us: no schedule ends before, as far as is known.
        seconds: time spent.
    """

    device: str
    model: str
    graph: TaskGraph
    placement: Placement
    optimum_us: float | None
    bound_us: float
    seconds: float

    @property
    def best_single(self) -> str:
        """Name of the processor that alone ends first; empty if none can run everything."""
        single = self.placement.single
        at = int(np.argmin(single))
        return self.graph.processors[at] if math.isfinite(single[at]) else ""

    @property
    def speedup(self) -> float | None:
        """Over the best single processor."""
        least = min(self.placement.single)
        return least / self.placement.schedule.makespan_us if math.isfinite(least) else None

    @property
    def shared(self) -> bool:
        """Whether processors together are worth it."""
        return self.speedup is None or self.speedup >= WORTH

    @property
    def reason(self) -> str:
        """Why, in a few words."""
        if self.speedup is None:
            return "no processor can run every kernel"
        if self.shared:
            return f"{self.speedup:.2f}x over {self.best_single} alone"
        return f"sharing the kernels out gains {self.speedup:.3f}x"

    @property
    def above_optimum(self) -> float | None:
        """How far the schedule is above the proven optimum, as a share of it; None where none was proven."""
        return self.placement.schedule.makespan_us / self.optimum_us - 1 if self.optimum_us is not None else None

    @property
    def above_bound(self) -> float:
        """How far it is above what no schedule is under, and so at most above the optimum."""
        return self.placement.schedule.makespan_us / self.bound_us - 1

    def to_json(self) -> dict[str, Any]:
        """One JSON object with the keys of every search, null where nothing was run; times in ms."""
        schedule, processors = self.placement.schedule, self.graph.processors
        times = [(f"single:{name}", us) for name, us in zip(processors, self.placement.single, strict=True)]
        return {
            "schema_version": 1,
            "models": [{"name": self.model, "sha256": None, "shapes": {}}],
            "scenario": "SingleStream",
            "device": {"name": self.device, "recorded": True},
            "plan": None,
            "mlflow_run_id": None,
            "verdict": {
                "kind": "partition" if self.shared else "single_processor",
                "winner": "+".join(processors) if self.shared else f"single:{self.best_single}",
                "reason": self.reason,
            },
            "baselines": [_baseline(name, us) for name, us in [*times, ("heft", self.placement.heft_us)]],
            "best_single_processor": f"single:{self.best_single}" if self.best_single else None,
            "tuned": {
                "predicted": {
                    "latency_ms": schedule.makespan_us / 1e3,
                    "throughput_per_s": 1e6 / schedule.makespan_us,
                },
                "measured": None,
                "error": None,
                "lanes": [name for own, name in enumerate(processors) if own in schedule.processor],
                "stages": [],
                "kernels": [
                    {
                        "kernel": self.graph.names[task],
                        "processor": processors[schedule.processor[task]],
                        "start_ms": schedule.start_us[task] / 1e3,
                        "finish_ms": schedule.finish_us[task] / 1e3,
                    }
                    for task in schedule.order
                ],
            },
            "speedup": {
                "over_default": None,
                "over_best_single": {"ratio": self.speedup, "low": None, "high": None} if self.speedup else None,
            },
            "verified": [],
            "optimum": {
                "latency_ms": self.optimum_us / 1e3 if self.optimum_us is not None else None,
                "bound_ms": self.bound_us / 1e3,
                "above_optimum": self.above_optimum,
                "above_bound": self.above_bound,
            },
            "cost": dict.fromkeys(("profile_s", "train_s", "verify_s", "table_candidates", "trials"))
            | {
                "search_s": self.seconds,
                "total_s": self.seconds,
                "device_measurements": 0,
                "evaluations": self.placement.evaluations,
            },
        }


def _baseline(name: str, us: float) -> dict[str, Any]:
    """A baseline of the JSON; one that cannot run every kernel takes for ever."""
    feasible = math.isfinite(us)
    return {
        "name": name,
        "latency_ms": {"p50": us / 1e3, "p90": None, "p99": None} if feasible else None,
        "throughput_per_s": 1e6 / us if feasible else None,
        "error": None,
        "feasible": feasible,
    }


def search_recorded(
    device: str,
    model: str,
    *,
    seed: int = 0,
    seconds: float = DEFAULT_SEARCH_S,
    prove_s: float = 0.0,
    output: Path | None = None,
) -> RecordedResult:
    """Places a recorded model's kernels on a recorded device's processors.

    Args:
        device: `recorded:FOLDER`.
        model: a model of the folder.
        seed: of the search.
        seconds: time for it.
        prove_s: further time in which a solver tries to prove the optimum; 0 leaves it out.
        output: file for the JSON result.

    Raises:
        UsageError: not a recorded device, or an optimum to be proven with co-run slowdowns.
        InputError: a folder that cannot be used, or transfers that were not recorded.
    """
    if not device.startswith(PREFIX):
        raise UsageError(f"--device {device!r} is no recorded device: write --device {PREFIX}FOLDER")
    begin = time.monotonic()
    recorded = read_recorded(device.removeprefix(PREFIX))
    if prove_s > 0 and recorded.corun:
        raise UsageError(
            f"no optimum can be proven with the co-run slowdowns of {device}: what one kernel takes depends on all "
            "others. Leave --prove out, or corun.csv"
        )
    graph = task_graph(recorded, recorded.model(model))
    at = {name: position for position, name in enumerate(graph.processors)}
    corun = {(at[one], at[two]): slowdown for (one, two), slowdown in recorded.corun.items()}
    placement = place(graph, corun=corun, seed=seed, seconds=seconds)
    optimum, bound = None, lower_bound_us(graph)
    if prove_s > 0:
        exact = exact_by_parts(graph, known=placement.schedule, seconds=prove_s)
        bound = max(bound, exact.bound_us)
        if exact.proven and exact.schedule is not None:
            optimum = min(exact.schedule.makespan_us, placement.schedule.makespan_us)
    result = RecordedResult(
        device=recorded.name,
        model=model,
        graph=graph,
        placement=placement,
        optimum_us=optimum,
        bound_us=bound,
        seconds=time.monotonic() - begin,
    )
    if output is not None:
        try:
            output.write_text(json.dumps(result.to_json(), indent=1, allow_nan=False) + "\n")
        except OSError as error:
            raise InputError(f"{output} cannot be written: {error.strerror}") from error
    return result


def task_graph(device: RecordedDevice, model: RecordedModel) -> TaskGraph:
    """The tasks of a recorded model: one per kernel, transfers by the bytes of its output.

    Raises:
        InputError: no transfer between two processors was recorded.
    """
    count = len(device.processors)
    transfer = np.zeros((len(model.kernels), count, count))
    for one, source in enumerate(device.processors):
        for two, target in enumerate(device.processors):
            if one == two:
                continue
            known: dict[int, float] = {}
            for task, size in enumerate(model.output_bytes):
                if size not in known:
                    known[size] = device.transfer_us(source, target, size)
                transfer[task, one, two] = known[size]
    return TaskGraph(
        names=model.kernels,
        processors=device.processors,
        predecessors=model.predecessors,
        cost_us=np.array(model.latency_us),
        transfer_us=transfer,
    )


def lower_bound_us(graph: TaskGraph) -> float:
    """No schedule ends before: the longest path of least costs, and all work shared out without transfers."""
    least = graph.cost_us.min(axis=1)
    path = np.zeros(len(least))
    for task, before in enumerate(graph.predecessors):
        path[task] = least[task] + max((path[b] for b in before), default=0.0)
    return float(max(path.max(initial=0.0), least.sum() / len(graph.processors)))
