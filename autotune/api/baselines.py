"""Baselines: ONNX Runtime's default, its device policies, every processor alone, the user's own options."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from autotune.api.run import DEFAULT, USER, Contender, Run
from autotune.api.samples import REFERENCE_DEADLINE_S, Outputs
from autotune.api.screening import ROUND_S, affordable, patience_s, screen_beside, without_drift
from autotune.api.single_settings import finer_candidates, pinned_candidates, single_candidates
from autotune.core import DEFAULT_LANE, Candidate, Failure, Measurement, Scenario
from autotune.errors import ModelError, UsageError
from autotune.processors import SessionSpec, policies, policy_choices
from autotune.profiler import Job, JobStage, run_outputs, screen
from autotune.profiler.load import SAMPLES_PER_QUERY

FIRST_LOOK_ROUNDS = 3
SCREEN_SHARE = 0.2
FINER_SHARE = 0.4
"""Of the budget, after which no further numbers of threads are tried."""
OUTPUTS_DEADLINE_S = 300.0
POLICIES_DEADLINE_S = 30.0
BATCHES = {Scenario.OFFLINE: 4, Scenario.MULTI_STREAM: SAMPLES_PER_QUERY}
"""Samples that are joined where they are there at the same time: in Server they are not."""


def measure_baselines(run: Run) -> None:
    """Measures the default first (so that even a tiny budget has an answer), then all others that the budget allows."""
    if DEFAULT not in run.contenders:
        first_look(run)
    contenders = _whole_model(run)
    drifts = _screen(run, contenders)
    if drifts:  # the first look at the default was short: the groups' level is the better one
        _set_level(run, float(np.median(drifts)))
    if _all_measured(run, contenders):
        _close_in(run)
    if run.settings.scenario in BATCHES:
        _screen(run, _batched(run, BATCHES[run.settings.scenario]))
    _measure_errors(run)


def _source_job(run: Run, name: str, *, callers: int, spec: SessionSpec | None = None, policy: str = "") -> Job:
    """A job on the user's own file, as they have it."""
    stage = JobStage(file=str(run.task.graph.source), lane=DEFAULT_LANE)
    return Job(
        name=name,
        stages=(stage,),
        outputs=run.task.outputs,
        feeds=str(run.task.feeds),
        callers=callers,
        scenario=run.settings.scenario,
        spec=spec,
        policy=policy,
    )


def first_look(run: Run) -> None:
    """Measures the default and its output error."""
    callers = len(run.place.device.cores) if run.overlapping else 1
    default = Contender(
        name=DEFAULT, job=_source_job(run, DEFAULT, callers=callers), candidate=run.whole(DEFAULT_LANE, callers=callers)
    )
    run.contenders[DEFAULT] = default
    run.observer.progress("baselines", 0, 0, text="ONNX Runtime's default")
    most_s = max(REFERENCE_DEADLINE_S, run.budget.left_s)  # the reference ran: it does not hang, it may be large
    default.result = screen([default.job], rounds=FIRST_LOOK_ROUNDS, round_s=ROUND_S, deadline_s=most_s)[0]
    run.counters.device_measurements += 1
    outputs: Outputs | Failure = run.task.search_samples.reference
    if run.budget.left_s > 0:  # it is how the reference was made: another run shows what the model draws at random
        outputs = run_outputs(
            default.job, str(run.task.search_samples.path), deadline_s=OUTPUTS_DEADLINE_S, worker=run.worker
        )
    if not isinstance(outputs, Failure):
        default.error = run.task.error(outputs, run.task.search_samples)
        if default.error.no_signal:
            silent = ", ".join(default.error.no_signal)
            run.warnings.append(
                f"{silent} is constant or nearly zero on these inputs, which tells nothing of its error: "
                "nothing below float32 is taken. Give other --inputs."
            )


def _whole_model(run: Run) -> list[Contender]:
    """Every processor alone, device policies, the user's options."""
    firsts = [single_candidates(run, processor) for processor in run.place.processors]
    found = _singles(run, [candidate for candidates in firsts for candidate in candidates])
    callers = len(run.place.device.cores) if run.overlapping else 1
    for policy in _policies(run):
        name = f"policy:{policy}"
        found.append(Contender(name=name, job=_source_job(run, name, callers=callers, policy=policy), candidate=None))
    if run.user_options is not None:
        job = _source_job(run, USER, callers=callers, spec=run.user_options)
        found.append(Contender(name=USER, job=job, candidate=None))
    return found


def _policies(run: Run) -> list[str]:
    """The first of those device policies that choose alike: the others would be measured again under another name."""
    names = policies()
    if len(names) < 2:
        return list(names)
    choices = run.worker.call(policy_choices, names, deadline_s=POLICIES_DEADLINE_S)
    if isinstance(choices, Failure):
        return list(names)
    firsts: dict[tuple[str, ...], str] = {}
    for name, choice in zip(names, choices, strict=True):
        firsts.setdefault(choice, name)
    return list(firsts.values())


def _singles(run: Run, candidates: Sequence[Candidate]) -> list[Contender]:
    """Contenders of those that were not tried before."""
    named = {single_name(candidate): candidate for candidate in candidates}
    return [
        Contender(name=name, job=run.bench.job(candidate, name), candidate=candidate)
        for name, candidate in named.items()
        if name not in run.contenders
    ]


def _close_in(run: Run) -> None:
    """Every processor's best number of threads, or of streams, between those that were tried first; then pinned."""
    while run.budget.seconds_until(FINER_SHARE) > 0:
        finer = _singles(run, finer_candidates(run))
        _screen(run, finer)
        if not finer or not _all_measured(run, finer):
            break
    if run.budget.seconds_until(FINER_SHARE) > 0:
        _screen(run, _singles(run, pinned_candidates(run)))


def _all_measured(run: Run, contenders: Sequence[Contender]) -> bool:
    """Whether the budget had time for all of them."""
    return all(contender.name in run.contenders for contender in contenders)


def single_name(candidate: Candidate) -> str:
    """`single:<lane>`, with callers and batch where there are several."""
    name = f"single:{candidate.stages[0].lane}"
    name += f" x{candidate.callers}" if candidate.callers > 1 else ""
    return name + (f" batch{candidate.batch}" if candidate.batch > 1 else "")


def _batched(run: Run, batch: int) -> list[Contender]:
    """The best lane of each precision at a batch, where the model has one."""
    found = []
    seen = set()
    for contender in run.singles():
        candidate = contender.candidate
        if candidate is None or contender.name == DEFAULT or candidate.stages[0].lane.precision in seen:
            continue
        seen.add(candidate.stages[0].lane.precision)
        batched = replace(candidate, batch=batch)
        try:
            job = run.bench.job(batched, single_name(batched))
        except ModelError as error:
            run.observer.event("note", {"text": f"no batches: {error}"})
            return []
        found.append(Contender(name=job.name, job=job, candidate=batched))
    return found


def read_user_options(path: Path) -> SessionSpec:
    """The session options of a `--baseline` file.

    Raises:
        UsageError: it cannot be read, is no JSON object, or has unknown keys.
    """
    try:
        data = json.loads(path.read_text())
    except OSError as error:
        raise UsageError(f"--baseline {path} cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise UsageError(f"--baseline {path} is not JSON: {error}") from error
    if not isinstance(data, dict):
        raise UsageError(f'--baseline {path} must hold an object such as {{"intra_op_num_threads": 2}}')
    return SessionSpec.from_json(data)


def _screen(run: Run, contenders: list[Contender]) -> list[float]:
    """Times contenders beside the default; gives how much slower that was in each group than at the first look.

    A budget that is too small for all gets the first, those of every processor and precision before further threads.
    """
    if not contenders:
        return []
    default = run.contenders[DEFAULT]
    share_s = run.budget.seconds_until(max(SCREEN_SHARE, run.budget.elapsed_s / run.budget.total_s + SCREEN_SHARE))
    chosen, rounds = affordable(run, default, contenders, share_s=share_s)
    if len(chosen) < len(contenders):
        what = f"{len(chosen)} of {len(contenders)} other settings" if chosen else "anything but ONNX Runtime's default"
        run.warnings.append(
            f"the budget of {run.budget.total_s:g} s is too small to measure "
            f"{'more than ' if chosen else ''}{what}; give more, for instance --budget 2min."
        )
    return screen_beside(run, default, chosen, phase="baselines", rounds=rounds, seed=run.settings.seed)


def _set_level(run: Run, level: float) -> None:
    """All times as they would have been on a machine slower by this factor."""
    for contender in run.contenders.values():
        if contender.result is not None:
            contender.result = without_drift(contender.result, 1 / level)


def _measure_errors(run: Run) -> None:
    """Output error once per processor, precision and batch: threads change it by rounding only."""
    known: dict[tuple[tuple[str, ...], int], Contender] = {}
    for contender in list(run.contenders.values()):
        if contender.error is not None or not isinstance(contender.result, Measurement):
            continue
        lane = contender.lanes[0] if contender.lanes else None
        batch = contender.job.batch
        key = (lane.kind if lane else (contender.name,), batch)
        if key in known:
            contender.error = known[key].error
            continue
        job = (
            contender.job
            if contender.candidate is None
            else run.bench.job(run.whole(contender.lanes[0], batch=batch), contender.name)
        )
        outputs = run_outputs(
            job,
            str(run.task.search_samples.path),
            deadline_s=OUTPUTS_DEADLINE_S,
            silence_s=patience_s(run, [job]),
            worker=run.worker,
        )
        if isinstance(outputs, Failure):
            contender.result = outputs
            continue
        contender.error = run.task.error(outputs, run.task.search_samples)
        if contender.below_float32 and batch == 1:  # by kernels of the model as it is
            contender.part_errors = run.task.part_errors(outputs, run.task.search_samples)
        known[key] = contender
