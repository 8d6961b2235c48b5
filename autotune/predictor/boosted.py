"""Gradient-boosted trees on what physics and like kernels leave over; the predictor that the search uses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from autotune.core import Lane
from autotune.core.codec import decode, encode
from autotune.predictor.booster_files import booster_files, read_booster
from autotune.predictor.features import COLUMN, FEATURES, Matrix, lane_table
from autotune.predictor.kriging import Kriging, krige
from autotune.predictor.physics import Physics, fit_physics
from autotune.predictor.training import MIN_RECORDS

if TYPE_CHECKING:
    import optuna
    import xgboost as xgb

Vector = npt.NDArray[np.float64]

HUBER = 0.1
"""Log error beyond which a record pulls no harder: a disturbed or nearly zero marginal cost can be off by a factor of
ten, and with squared errors a few of them cost every kernel around them (tests/predictor/test_kernel_predictor.py)."""


def physics_of(rows: Matrix, latency_us: Vector, lane: Lane, cores: int) -> Physics:
    """The lane's constants; only ONNX Runtime's own CPU provider has its blocked convolutions (`tiles.py`)."""
    threads = lane.concurrency.threads or cores
    return fit_physics(rows, latency_us, threads=threads, blocked=lane.processor == "cpu")


@dataclass(frozen=True, slots=True, kw_only=True)
class BoostedTrees:
    """XGBoost on log(latency / prior) of one lane; the prior is physics by main operator, corrected by like kernels.

    Args:
        rounds: number of trees; 0: none.
        depth: of each tree.
        rate: learning rate.
        penalty: of a leaf's value, in records: with few records like kernels say nearly all, with many the trees.
        near: kernels that may be alike, at most (`kriging.py`); 0: none are asked.
        hidden: features that neither physics nor like kernels nor trees see, by name (`benchmarks/ablation.py`).
    """

    rounds: int = 150
    depth: int = 4
    rate: float = 0.1
    penalty: float = 50.0
    near: int = 1000
    hidden: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Its name in the registry."""
        return "boosted"

    @classmethod
    def suggested(cls, trial: optuna.Trial) -> BoostedTrees:
        """Settings that a trial proposes."""
        return cls(
            rounds=trial.suggest_int("rounds", 100, 400, step=50),
            depth=trial.suggest_int("depth", 3, 6),
            rate=trial.suggest_float("rate", 0.03, 0.3, log=True),
            penalty=trial.suggest_float("penalty", 1.0, 100.0, log=True),
        )

    def fit(self, rows: Matrix, latency_us: Vector, lane: Lane, cores: int, *, seed: int) -> BoostedLane:
        """Physics first; like kernels and trees where there are at least `MIN_RECORDS` rows."""
        rows = blanked(rows, self.hidden)
        physics = physics_of(rows, latency_us, lane, cores)
        if len(rows) < MIN_RECORDS:
            return BoostedLane(physics=physics, near=None, booster=None, hidden=self.hidden)
        measured = np.log(latency_us)
        near, booster, remainder = None, None, measured - physics.log_us(rows)
        if self.near:
            near, remainder = krige(rows, remainder, most=self.near)
        if self.rounds:
            import xgboost as xgb

            table = blanked(lane_table(rows, lane, cores, measured - remainder), self.hidden)
            data = xgb.QuantileDMatrix(table, label=remainder, max_bin=128, nthread=1)
            booster = xgb.train(self._parameters(seed), data, num_boost_round=self.rounds)
        return BoostedLane(physics=physics, near=near, booster=booster, hidden=self.hidden)

    def _parameters(self, seed: int) -> dict[str, Any]:
        """XGBoost's parameters; one thread, since lanes and folds are trained side by side.

        Predicting takes one too: OpenMP's threads go on spinning for a while, and like kernels' linear algebra would
        wait for them.
        """
        return {
            "objective": "reg:pseudohubererror", "huber_slope": HUBER, "tree_method": "hist", "max_depth": self.depth,
            "eta": self.rate, "subsample": 0.8, "colsample_bynode": 0.5, "min_child_weight": 3, "lambda": self.penalty,
            "base_score": 0.0, "max_bin": 128, "nthread": 1, "seed": seed, "verbosity": 0,
        }  # fmt: skip

    def restore(self, state: Mapping[str, Any], files: Mapping[str, bytes], cores: int) -> BoostedLane:  # noqa: ARG002
        """From XGBoost's UBJSON, the constants of physics and the kernels that may be alike."""
        physics = decode(Physics, state["physics"])
        near = Kriging.read(files["npz"]) if "npz" in files else None
        booster = None
        if state["trees"]:
            booster = read_booster(files)
            booster.set_param({"nthread": 1})
        return BoostedLane(physics=physics, near=near, booster=booster, hidden=self.hidden)


@dataclass(frozen=True, slots=True, kw_only=True)
class BoostedLane:
    """Physics, what like kernels say of it, and trees on top.

    Args:
        physics: the lane's constants.
        near: None where like kernels were not asked.
        booster: None where there were too few records for any.
        hidden: features that were not seen.
    """

    physics: Physics
    near: Kriging | None
    booster: xgb.Booster | None
    hidden: tuple[str, ...] = ()

    def log_us(self, rows: Matrix, lane: Lane, cores: int) -> Vector:
        """Natural logarithm of the latency in µs, per row of kernel features."""
        rows = blanked(rows, self.hidden)
        found = self.physics.log_us(rows) + self._log_near(rows)
        if self.booster is not None and len(rows):  # what was hidden from the trees has no split
            found = found + self.booster.inplace_predict(lane_table(rows, lane, cores, found))
        return np.maximum(found, self.physics.least_log_us)

    def _log_near(self, rows: Matrix) -> Vector:
        return np.zeros(len(rows)) if self.near is None else self.near.log_factor(rows)

    def contributions(self, rows: Matrix, lane: Lane, cores: int) -> tuple[Vector, Vector]:
        """What makes up `log_us`: [n] log of physics in µs, and [n, features] what each feature adds to it.

        What like kernels say is the prior's (`log_prior`). The trees' bias is shared out evenly; sums equal `log_us`
        (XGBoost's own contributions, exact for trees).
        """
        rows = blanked(rows, self.hidden)
        log_physics, log_near = self.physics.log_us(rows), self._log_near(rows)
        parts = np.zeros((len(rows), len(FEATURES)))
        if self.booster is not None and len(rows):
            import xgboost as xgb

            table = lane_table(rows, lane, cores, log_physics + log_near)
            trees = np.asarray(self.booster.predict(xgb.DMatrix(table), pred_contribs=True), dtype=np.float64)
            parts = trees[:, :-1] + trees[:, -1:] / len(FEATURES)
        short = self.physics.least_log_us - (log_physics + log_near + parts.sum(axis=1))
        parts[:, COLUMN["log_prior"]] += log_near + np.maximum(short, 0.0)
        return log_physics, parts

    def dump(self) -> tuple[dict[str, Any], dict[str, bytes]]:
        """Physics as JSON, trees as UBJSON, like kernels as NumPy's npz."""
        state = {"physics": encode(self.physics), "trees": self.booster is not None}
        files = booster_files(self.booster)
        return state, files if self.near is None else files | {"npz": self.near.dump()}


def blanked(rows: Matrix, hidden: tuple[str, ...]) -> Matrix:
    """The same rows with 0 in the columns of these features; those that the rows do not have are passed over."""
    columns = [COLUMN[name] for name in hidden if COLUMN[name] < rows.shape[1]]
    if not columns:
        return rows
    found = rows.copy()
    found[:, columns] = 0.0
    return found
