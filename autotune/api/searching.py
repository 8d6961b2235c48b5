"""The whole job: from a model to a verified plan."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np

from autotune.api.announcing import announce_baselines, announce_plan, announce_search
from autotune.api.baselines import measure_baselines, read_user_options
from autotune.api.clock import Budget
from autotune.api.deciding import LAUNCHES, conclude, decide_run, has_time, reserve_s, screened_winner, without
from autotune.api.delivery import build_plan, sentence, unwritten
from autotune.api.driving import drive_best
from autotune.api.front_delivery import FrontPoint, write_front
from autotune.api.gathering import gather
from autotune.api.interrupts import Interrupts
from autotune.api.opening import Opened, open_search
from autotune.api.result import SearchResult, result_of
from autotune.api.rounds import search_rounds
from autotune.api.run import DEFAULT, STAGES, Run
from autotune.api.settings import Metric, SearchSettings
from autotune.api.task import prepare_task
from autotune.api.verdict import title_of, winner_of
from autotune.api.workplace import hold_device
from autotune.core import Observer, Plan
from autotune.errors import MeasurementError, StoreError
from autotune.planning import Bench, Decision
from autotune.profiler import Worker, noise_check

USUAL_S = 52.0
"""Budget of a search where none is asked for and all kernels are known; with loading and tracking under a minute."""
USUAL_RUNS = 500
"""Runs of the model that the same budget has time for, where that is more."""

SEARCH_S = 12.0
"""Seconds that are left for the search, however long the baselines took."""


def search(
    model: str | Path,
    settings: SearchSettings | None = None,
    *,
    metric: Metric | None = None,
    observer: Observer | None = None,
) -> SearchResult:
    """Finds a plan for a model on this device, verified by measurement.

    Args:
        model: a name of the zoo or the path of an ONNX file.
        settings: what is asked for; None takes the defaults.
        metric: the program's own output error, compared with the tolerance instead of `relative_rms`.
        observer: is told of the progress.

    Raises:
        AutotuneError: what is wrong with the model, the inputs, the settings or the device; see `autotune.errors`.
        KeyboardInterrupt: interrupted before the first baseline was measured; later, the best so far is returned.
    """
    settings = settings or SearchSettings()
    if metric is not None:
        settings = replace(settings, metric=metric)
    budget = Budget(settings.budget_s or settings.most_s)
    user_options = read_user_options(settings.baseline) if settings.baseline is not None else None
    with open_search(settings, budget, observer) as opened, ExitStack() as stack:
        run = _prepare(stack, opened, model, settings, budget)
        run.user_options = user_options
        decision = find_best(run, opened.interrupts)
        with budget.phase("write"):
            plan, folder, decision = _deliver(run, decision)
            front = _finish(run, plan, folder, decision)
        with budget.phase("track"):
            run.mlflow_run_id = opened.run_id()
        if settings.budget_s is not None and budget.overdraft:
            run.warnings.append(budget.overdraft)
        return result_of(run, plan, folder, decision, front)


def _prepare(stack: ExitStack, opened: Opened, model: str | Path, settings: SearchSettings, budget: Budget) -> Run:
    from autotune.datasets import Store

    place, observers = opened.place, opened.observer
    observers.progress("load", 0, 0, text=str(model))
    worker = stack.enter_context(Worker())
    store = stack.enter_context(Store(place.store_url))

    def hold() -> None:
        with budget.paused():
            stack.enter_context(hold_device(place, observers, wait_s=settings.wait_s))

    task = prepare_task(model, settings, place.work, worker, budget, hold=hold)
    bench = Bench(task.graph, work=place.work / STAGES, feeds=task.feeds, scenario=settings.scenario)
    run = Run(
        settings=settings,
        place=place,
        task=task,
        bench=bench,
        store=store,
        budget=budget,
        observer=observers,
        worker=worker,
        warnings=list(task.warnings),
    )
    run.warnings += noise_check(seconds=min(1.0, 0.02 * budget.total_s)).warnings
    run.warnings += place.discovery.notes
    announce_search(run)
    return run


def find_best(run: Run, interrupts: Interrupts) -> Decision | None:
    """Baselines, knowledge, rounds, decision; an interrupt ends it with what is there."""
    try:
        _explore(run)
        with run.budget.phase("verify"):
            decision = decide_run(run)
            interrupts.hold()
            return decision
    except KeyboardInterrupt:
        if not _has_answer(run):
            raise
        run.interrupted = True
        run.warnings.append("interrupted: this is the best plan verified until then.")
        return conclude(run)


def _explore(run: Run) -> None:
    """Baselines, knowledge, rounds; what cannot be written (a full disk) ends it, not the search."""
    try:
        with run.budget.phase("verify"):
            measure_baselines(run)
        if run.settings.budget_s is None:
            settle_budget(run)
        if run.budget.left_s > 0.15 * run.budget.total_s and len(run.singles()) > 1:
            knowledge = gather(run)
            if knowledge is not None:
                search_rounds(run, knowledge)
        else:
            run.unsearched = len(run.singles()) > 1
        if run.under_load:
            with run.budget.phase("verify"):
                drive_best(run)
    except (StoreError, OSError) as error:
        if not _has_answer(run):
            raise
        run.broken_off = True
        run.warnings.append(f"broken off: {sentence(error)} This is the best plan measured until then.")


def _has_answer(run: Run) -> bool:
    """Whether the default was measured, which every plan is compared with."""
    return DEFAULT in run.contenders and run.contenders[DEFAULT].result is not None


def settle_budget(run: Run) -> None:
    """The budget that nobody asked for, now that it is known how long the model takes and how long the baselines took.

    Where those took longer than usual, there is still time for a search and for launches that decide.
    """
    run.budget.total_s = _usual_s(run)
    has_time(run, SEARCH_S + reserve_s(run, LAUNCHES))


def _usual_s(run: Run) -> float:
    """Seconds that are enough for a model whose kernels are known."""
    default_s = run.contenders[DEFAULT].median_us * 1e-6
    if run.under_load:
        return float(np.clip(USUAL_S + 1.5 * reserve_s(run, LAUNCHES), USUAL_S, run.settings.most_s))
    return float(np.clip(USUAL_RUNS * default_s, USUAL_S, run.settings.most_s))


def _deliver(run: Run, decision: Decision | None) -> tuple[Plan, Path, Decision | None]:
    """Writes the winner's plan; one that does not work any more costs itself, and the next best wins."""
    run.observer.progress("write", 0, 0, text="the plan")
    while True:
        winner = winner_of(run, decision) if decision is not None else screened_winner(run)
        try:
            return (*build_plan(run, winner, decision), decision)
        except MeasurementError as error:
            run.warnings.append(f"{title_of(winner)} won, but {sentence(error)} The next best is taken instead.")
            decision = without(run, winner, str(error))
        except (StoreError, OSError) as error:
            announce_baselines(run)
            raise unwritten(error, f"{winner.name}, {winner.median_us / 1e3:.3f} ms") from error


def _finish(run: Run, plan: Plan, folder: Path, decision: Decision | None) -> tuple[FrontPoint, ...]:
    """Tells the observers, and writes what goes with the plan."""
    announce_baselines(run)
    announce_plan(run, plan, folder)
    front = write_front(run, plan, folder, decision)
    run.observer.event("search_finished", {"seconds": dict(run.budget.spent_s), "interrupted": run.interrupted})
    return front
