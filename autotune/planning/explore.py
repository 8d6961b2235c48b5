"""The Optuna study: what has no exact answer (settings, lanes, prices of error and of cuts)."""

from __future__ import annotations

import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from autotune.core import Candidate
from autotune.planning.chain import cheapest_chain, exact_chain
from autotune.planning.costs import CostTable, Floats
from autotune.planning.study_file import mend
from autotune.simulator import StagedPlan

if TYPE_CHECKING:
    import optuna

MAX_PARTS_SEEDED = 3
INFEASIBLE_WEIGHT = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """A candidate worth measuring, with its prediction frozen.

    Args:
        candidate: what to run.
        predicted_us: predicted time of one request (per sample in Offline).
        predicted_error: predicted `relative_rms` of the worst output part.
        origin: `exact` or `trial`.
        parameters: those of a trial that decodes to it; empty where there was none.
        staged: how it is simulated, where its stages work at the same time.
        predicted_bytes: predicted peak memory, 0 where none was.
    """

    candidate: Candidate
    predicted_us: float
    predicted_error: float
    origin: str
    parameters: tuple[tuple[str, str | float | bool], ...] = ()
    staged: StagedPlan | None = None
    predicted_bytes: int = 0


def error_limit(table: CostTable, budget: float) -> Floats:
    """[P] largest squared error of each part."""
    return np.full(table.error.shape[2], budget)


def _proposal(
    table: CostTable, candidate: Candidate, origin: str, parameters: dict[str, Any] | None = None
) -> Proposal:
    return Proposal(
        candidate=candidate,
        predicted_us=table.candidate_us(candidate),
        predicted_error=float(table.candidate_error(candidate).max(initial=0.0)) ** 0.5,
        origin=origin,
        parameters=tuple((parameters or {}).items()),
    )


def exact_seeds(table: CostTable, *, budget: float) -> list[Proposal]:
    """The exact optima of one table: limited by each of the worst parts, and by the worst part of every kernel (safe).

    Args:
        table: what everything costs.
        budget: largest squared error of any output part.
    """
    parts = table.error.shape[2]
    worst = table.error.max(axis=1).sum(axis=0)
    tables = [(table, np.eye(parts)[part]) for part in np.argsort(-worst)[:MAX_PARTS_SEEDED]]
    if parts > 1:
        tables.append((replace(table, error=table.error.max(axis=2, keepdims=True)), np.ones(1)))
    found = []
    for limited, weights in tables:
        optimum = exact_chain(limited, weights=weights, budget=budget)
        if optimum is not None and float(table.candidate_error(optimum.candidate).max(initial=0.0)) <= budget:
            found.append(_proposal(table, optimum.candidate, "exact"))
    return found


class Explorer:
    """An Optuna study over settings, lanes and prices; resumes when its storage has it already.

    Args:
        name: the study's name: whatever must not be mixed (model, device, scenario, tolerance) is part of it.
        storage: journal file that nobody else writes, None keeps the study in memory.
        seed: of the sampler.
    """

    def __init__(self, *, name: str, storage: Path | None, seed: int) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        backend: Any = None
        if storage is not None:
            from optuna.storages import JournalStorage
            from optuna.storages.journal import JournalFileBackend

            storage.parent.mkdir(parents=True, exist_ok=True)
            mend(storage)
            backend = JournalStorage(JournalFileBackend(str(storage)))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Optuna marks multivariate sampling as experimental
            sampler = optuna.samplers.TPESampler(seed=seed, multivariate=True, n_startup_trials=20)
            self._study: optuna.Study = optuna.create_study(
                study_name=name, storage=backend, sampler=sampler, load_if_exists=True
            )
        self.trials = 0

    def explore(
        self, tables: Sequence[CostTable], *, budgets: Sequence[float], trials: int | None, until: float, keep: int = 16
    ) -> list[Proposal]:
        """Runs trials and returns the best distinct feasible candidates by prediction, exact seeds among them.

        Args:
            tables: one per setting.
            budgets: largest squared error of any output part; exact seeds for each, trials for the largest.
            trials: how many; None for as many as `until` allows.
            until: `time.monotonic()` after which no further trial starts.
            keep: how many come back at most.
        """
        found: dict[str, Proposal] = {}
        for table in tables:
            for budget in budgets:
                for seed in exact_seeds(table, budget=budget):
                    found.setdefault(seed.candidate.hash, seed)
        self._enqueue(tables, trials)
        done = 0
        while (trials is None or done < trials) and time.monotonic() < until:
            done += 1
            trial = self._study.ask()
            proposal, value = self._evaluate(trial, tables, max(budgets))
            self._study.tell(trial, value)
            self.trials += 1
            if proposal is not None:
                known = found.setdefault(proposal.candidate.hash, proposal)
                if not known.parameters:  # an exact answer that lies in the space of trials: once measured it is one
                    found[proposal.candidate.hash] = replace(known, parameters=proposal.parameters)
        return sorted(found.values(), key=lambda proposal: proposal.predicted_us)[:keep]

    def _enqueue(self, tables: Sequence[CostTable], trials: int | None) -> None:
        """Starts from the corners: every lane allowed, error nearly free and nearly forbidden."""
        if trials is not None and trials < len(tables) * 2:
            return
        for at, table in enumerate(tables):
            for price in (-2.0, 2.0):
                start: dict[str, Any] = {"setting": at, "log_price": price, "cut_penalty": 0.0}
                start |= {f"use {lane}": True for lane in table.lanes}
                self._study.enqueue_trial(start, skip_if_exists=True)

    def _evaluate(
        self, trial: optuna.Trial, tables: Sequence[CostTable], budget: float
    ) -> tuple[Proposal | None, float]:
        at = trial.suggest_int("setting", 0, len(tables) - 1)
        table = tables[at]
        allowed = np.array([trial.suggest_categorical(f"use {lane}", [True, False]) for lane in table.lanes])
        level = float(np.nanmin(np.where(np.isfinite(table.kernel_us), table.kernel_us, np.nan).sum(axis=0)))
        price = 10 ** trial.suggest_float("log_price", -4.0, 4.0) * level / max(budget, 1e-30)
        penalty = trial.suggest_float("cut_penalty", 0.0, 0.1) * level
        parts = table.error.shape[2]
        emphasis = np.array(
            [
                trial.suggest_float(f"emphasis {part}", 0.0, 1.0) if parts > 1 and part < 4 else 1.0
                for part in range(parts)
            ]
        )
        if not allowed.any():
            return None, level * 100
        candidate = cheapest_chain(table, price=price * emphasis, cut_penalty_us=penalty, allowed=allowed)
        predicted_us = table.candidate_us(candidate)
        if not np.isfinite(predicted_us):
            return None, level * 100
        excess = float((table.candidate_error(candidate) / max(budget, 1e-30)).max(initial=0.0)) - 1.0
        trial.set_user_attr("candidate", candidate.hash)
        if excess > 0:
            return None, predicted_us * (1 + INFEASIBLE_WEIGHT * min(excess, 10.0))
        return _proposal(table, candidate, "trial", trial.params), predicted_us

    def measured(self, proposal: Proposal, measured_us: float) -> None:
        """Adds a measured candidate as a trial of its own; one that no trial decodes to has no place in the study."""
        import optuna

        if not proposal.parameters:
            return
        known = {name: dist for trial in self._study.trials for name, dist in trial.distributions.items()}
        parameters = {name: value for name, value in proposal.parameters if name in known}
        self._study.add_trial(
            optuna.trial.create_trial(
                params=parameters,
                distributions={name: known[name] for name in parameters},
                value=measured_us,
                user_attrs={"candidate": proposal.candidate.hash, "measured": True},
            )
        )
