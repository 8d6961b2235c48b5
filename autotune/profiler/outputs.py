"""Runs jobs for their outputs, and finds what each stage adds to the output error."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from typing import Any

import numpy as np

from autotune.core import Failure, Lane
from autotune.graph import OutputPart, StageFile, load_arrays
from autotune.processors import create_session
from autotune.profiler.compare import squared_errors
from autotune.profiler.jobs import Job, open_job
from autotune.profiler.serve import failure_of
from autotune.profiler.worker import Worker

Outputs = list[list[np.ndarray[Any, Any]]]

LEAST_SAMPLES = 2
"""One for the search, one held out of it."""


def run_outputs(
    job: Job,
    samples: str,
    *,
    deadline_s: float,
    silence_s: float = math.inf,
    worker: Worker | None = None,
    most_s: float = math.inf,
) -> Outputs | Failure:
    """Outputs of a job on several samples, [sample][output].

    Args:
        job: what to run; a batch joins different samples, repeated in turn only where there are fewer than it takes.
        samples: npz with a leading sample axis.
        deadline_s: seconds for all of it.
        silence_s: seconds after which it hangs: opening its sessions, or a run.
        worker: the process that runs it, to save starting one; None starts one.
        most_s: seconds of runs after which no further sample is begun; the first two always run.
    """
    with nullcontext(worker) if worker is not None else Worker() as process:
        asked = (outputs_here, job, samples, most_s)
        found = list(process.stream(*asked, deadline_s=deadline_s, silence_s=silence_s))
    failure = next((item for item in found if isinstance(item, Failure)), None)
    return found if failure is None else failure


def outputs_here(job: Job, samples: str, most_s: float) -> Iterator[list[np.ndarray[Any, Any]]]:
    """In the worker: the outputs of each sample."""
    arrays = load_arrays(samples)
    runner = open_job(job)
    count = len(next(iter(arrays.values())))
    until = time.monotonic() + most_s
    for start in range(0, count, job.batch):
        if start >= LEAST_SAMPLES and time.monotonic() >= until:
            break
        stop = min(start + job.batch, count)
        joined = [at % count for at in range(stop - job.batch, stop)]  # those before fill it up, then copies
        feeds = {name: _joined(array[joined]) for name, array in arrays.items()}
        outputs = [np.asarray(value) for value in runner.run(None, feeds)]
        for place in range(job.batch - (stop - start), job.batch):
            yield [_part(value, place, job.batch) for value in outputs]
    runner.close()


def _joined(samples: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Samples as one input; a single one may have no dimension to join along."""
    return np.concatenate(samples) if len(samples) > 1 else np.asarray(samples[0])


def _part(value: np.ndarray[Any, Any], place: int, batch: int) -> np.ndarray[Any, Any]:
    """The outputs of one of a batch's samples."""
    return value if batch == 1 else np.split(value, batch)[place]


def stage_errors(
    files: Sequence[StageFile],
    reference_lane: Lane,
    lane: Lane,
    samples: str,
    *,
    outputs: Sequence[str],
    parts: Sequence[OutputPart],
    deadline_s: float,
) -> list[dict[str, float] | Failure]:
    """Squared relative error per output part when one stage alone runs on a lane and the others on the reference.

    Args:
        files: stages that cover the model, in order.
        reference_lane: float32.
        lane: the lane in question.
        samples: npz with a leading sample axis.
        outputs: names of the model's outputs.
        parts: of the outputs.
        deadline_s: seconds for all of it.

    Returns:
        One mapping per stage: part name -> mean over samples.
    """
    arguments = (list(files), reference_lane, lane, samples, list(outputs), list(parts))
    with Worker() as worker:
        found = list(worker.stream(stage_errors_here, *arguments, deadline_s=deadline_s))
    ending = found[-1] if found and isinstance(found[-1], Failure) else None
    while ending is not None and len(found) < len(files):
        found.append(ending)
    return found[: len(files)]


def stage_errors_here(
    files: Sequence[StageFile],
    reference_lane: Lane,
    lane: Lane,
    samples: str,
    outputs: Sequence[str],
    parts: Sequence[OutputPart],
) -> Any:
    """In the worker: yields one mapping or Failure per stage."""
    arrays = load_arrays(samples)
    count = len(next(iter(arrays.values())))
    sessions = [create_session(file.path, reference_lane) for file in files]
    before: list[list[dict[str, Any]]] = []
    references: Outputs = []
    for at in range(count):
        tensors = {name: np.asarray(array[at]) for name, array in arrays.items()}
        states = []
        for session in sessions:
            states.append(dict(tensors))
            tensors |= _run(session, tensors)
        before.append(states)
        references.append([tensors[name] for name in outputs])
    for position, file in enumerate(files):
        try:
            low = create_session(file.path, lane)
            found: Outputs = []
            for at in range(count):
                tensors = dict(before[at][position])
                tensors |= _run(low, tensors)
                for session in sessions[position + 1 :]:
                    tensors |= _run(session, tensors)
                found.append([tensors[name] for name in outputs])
            yield squared_errors(references, found, outputs, parts)
        except Exception as error:  # noqa: BLE001 - the edge of a worker process
            yield failure_of(error)


def _run(session: Any, tensors: dict[str, Any]) -> dict[str, Any]:
    names = [item.name for item in session.get_outputs()]
    feeds = {item.name: tensors[item.name] for item in session.get_inputs()}
    return dict(zip(names, session.run(names, feeds), strict=True))
