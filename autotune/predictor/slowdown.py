"""How much longer work takes while other work runs beside it, learnt from this device's co-runs."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from autotune.core import CoRunMeasurement, CoRunRecord, Kernel, Lane, Signatures
from autotune.core.codec import decode, encode
from autotune.errors import PredictorError
from autotune.predictor.booster_files import booster_files, read_booster
from autotune.predictor.slowdown_features import SLOWDOWN_FEATURES, Load, Matrix, load_rows, pair_table, side_table
from autotune.predictor.slowdown_prior import NOMINAL_SHARING, SharingPrior, fit_sharing, kind_of

if TYPE_CHECKING:
    import xgboost as xgb

Vector = npt.NDArray[np.float64]

MIN_CO_RUNS = 60
"""Records under which there are no trees: the prior alone is nearer then."""
ROUNDS, DEPTH, RATE, HUBER = 80, 3, 0.08, 0.05
TRUSTED = 0.05
"""Half width of a log interval at which a record counts half."""
_RATE = 2  # column of `side_table`: log2 bytes per µs


@dataclass(frozen=True, slots=True, kw_only=True)
class SlowdownPredictor:
    """Gradient-boosted trees on log(slowdown / prior); the prior alone where there are few records. Never below 1.

    Args:
        prior: what sharing bandwidth does, and the level of each kind of pair.
        booster: None where there were too few records.
        records: how many it learnt from.
        device_id: of the records, empty without any.
        data_hash: of the records.
    """

    prior: SharingPrior = NOMINAL_SHARING
    booster: xgb.Booster | None = None
    records: int = 0
    device_id: str = ""
    data_hash: str = ""

    @staticmethod
    def fit(records: Sequence[CoRunRecord], *, seed: int = 0, trees: bool = True) -> SlowdownPredictor:
        """Learns from records of one device; failures are skipped, none at all gives a nominal prior.

        Deterministic for a seed and a sequence of records.

        Args:
            records: in any order, repeats count each.
            seed: of the trees.
            trees: whether to learn any where there are enough records.

        Raises:
            PredictorError: records of several devices.
        """
        pairs = measured_pairs(records)
        devices = sorted({record.identity.device for record, _ in pairs})
        if len(devices) > 1:
            raise PredictorError(f"co-runs of {len(devices)} devices ({', '.join(devices)}) cannot be learnt together")
        if not pairs:
            return SlowdownPredictor()
        measured = np.array([result.slowdown for _, result in pairs])
        kinds = [kind_of(record.victim_lane, record.beside_lane) for record, _ in pairs]
        weight = np.array([belief(result) for _, result in pairs])
        victims, besides = _sides(pairs, NeighbourTimes([record for record, _ in pairs]))
        prior = fit_sharing(np.exp2(victims[:, _RATE]), np.exp2(besides[:, _RATE]), kinds, measured, weight)
        found = SlowdownPredictor(
            prior=prior, records=len(pairs), device_id=devices[0], data_hash=hash_of([r for r, _ in pairs])
        )
        if not trees or len(pairs) < MIN_CO_RUNS:
            return found
        table = found._tables(victims, besides, [record for record, _ in pairs])
        booster = _train(table, np.log(measured) - table[:, -1] * np.log(2.0), weight, seed)
        return SlowdownPredictor(
            prior=prior, booster=booster, records=found.records, device_id=devices[0], data_hash=found.data_hash
        )

    def table(self, victims: Sequence[Load], victim_lane: Lane, besides: Sequence[Load], beside_lane: Lane) -> Vector:
        """[V, B] slowdown of each load on the first lane while each load runs on the second; at least 1."""
        one, two = side_table(load_rows(victims), victim_lane), side_table(load_rows(besides), beside_lane)
        rows = np.repeat(one, len(two), axis=0), np.tile(two, (len(one), 1))
        found: Vector = self._slowdown(self._table(*rows, victim_lane, beside_lane)).reshape(len(one), len(two))
        return found

    def knows(self, victim: Lane, beside: Lane) -> bool:
        """Whether co-runs of these two processors, at whatever precision, were among the records."""
        return self.prior.knows(victim.processor, beside.processor)

    def predict(self, victim: Load, victim_lane: Lane, beside: Load, beside_lane: Lane) -> float:
        """Slowdown of one load while another one runs beside it; at least 1."""
        return float(self.table([victim], victim_lane, [beside], beside_lane)[0, 0])

    def of_records(self, records: Sequence[CoRunRecord], times: NeighbourTimes) -> Vector:
        """[N] predicted slowdowns of measured co-runs, for whoever compares."""
        pairs = measured_pairs(records)
        victims, besides = _sides(pairs, times)
        return self._slowdown(self._tables(victims, besides, [record for record, _ in pairs]))

    def _tables(self, victims: Vector, besides: Vector, records: Sequence[CoRunRecord]) -> Matrix:
        """Rows of features of pairs on any lanes."""
        table = np.empty((len(records), len(SLOWDOWN_FEATURES)), dtype=np.float32)
        lanes = [(record.victim_lane, record.beside_lane) for record in records]
        for pair in dict.fromkeys(lanes):
            own = np.array([other == pair for other in lanes])
            table[own] = self._table(victims[own], besides[own], *pair)
        return table

    def _table(self, victims: Vector, besides: Vector, victim_lane: Lane, beside_lane: Lane) -> Matrix:
        level = self.prior.level_of(kind_of(victim_lane, beside_lane))
        expected = self.prior.slowdown(np.exp2(victims[:, _RATE]), np.exp2(besides[:, _RATE]), level)
        return pair_table(victims, besides, (victim_lane, beside_lane), np.log(expected))

    def _slowdown(self, table: Matrix) -> Vector:
        log = table[:, -1].astype(np.float64) * np.log(2.0)
        if self.booster is not None and len(table):
            log = log + self.booster.inplace_predict(table)
        found: Vector = np.maximum(np.exp(log), 1.0)
        return found

    def dump(self) -> tuple[dict[str, Any], dict[str, bytes]]:
        """JSON values, and files by suffix."""
        files = booster_files(self.booster)
        state = {"prior": encode(self.prior), "trees": self.booster is not None, "records": self.records}
        return state | {"device": self.device_id, "data_hash": self.data_hash}, files

    @staticmethod
    def restore(state: Mapping[str, Any], files: Mapping[str, bytes]) -> SlowdownPredictor:
        """The inverse of `dump`; ValueError, KeyError or TypeError where that is not possible."""
        booster = None
        if state["trees"]:
            booster = read_booster(files)
        return SlowdownPredictor(
            prior=decode(SharingPrior, state["prior"]),
            booster=booster,
            records=int(state["records"]),
            device_id=str(state["device"]),
            data_hash=str(state["data_hash"]),
        )


def measured_pairs(records: Sequence[CoRunRecord]) -> list[tuple[CoRunRecord, CoRunMeasurement]]:
    """Records that have a measurement, with it."""
    return [(record, record.result) for record in records if isinstance(record.result, CoRunMeasurement)]


def belief(result: CoRunMeasurement) -> float:
    """How far a measurement is to be believed, 0 to 1: one whose interval is wide teaches little."""
    interval = result.interval
    half = 0.5 * float(np.log(interval.high / interval.low))
    return TRUSTED**2 / (TRUSTED**2 + half**2)


class NeighbourTimes:
    """How long the work that kept the other lane busy takes when it is alone.

    Args:
        records: in which it was timed itself.
    """

    def __init__(self, records: Sequence[CoRunRecord]) -> None:
        self._signatures = Signatures()
        found: dict[tuple[tuple[str, ...], Lane], list[float]] = {}
        for record, result in measured_pairs(records):
            found.setdefault((self._work(record.victim), record.victim_lane), []).append(result.alone_median_us)
        self._us = {key: float(np.median(times)) for key, times in found.items()}

    def _work(self, kernels: Sequence[Kernel]) -> tuple[str, ...]:
        return tuple(self._signatures.of(kernel) for kernel in kernels)

    def loads(self, record: CoRunRecord, result: CoRunMeasurement) -> tuple[Load, Load]:
        """Both sides; a neighbour that was never timed itself counts as taking as long as its victim."""
        us = self._us.get((self._work(record.beside), record.beside_lane), result.alone_median_us)
        return Load(kernels=record.victim, us=result.alone_median_us), Load(kernels=record.beside, us=us)


def hash_of(records: Sequence[CoRunRecord]) -> str:
    """16 hexadecimal digits that change with the records."""
    signatures = Signatures()
    lines = []
    for record, result in measured_pairs(records):
        sides = (
            f"{'+'.join(map(signatures.of, kernels))} {lane}"
            for kernels, lane in ((record.victim, record.victim_lane), (record.beside, record.beside_lane))
        )
        lines.append(f"{' | '.join(sides)} {result.slowdown!r} {record.identity}")
    return hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()[:16]


def _sides(pairs: Sequence[tuple[CoRunRecord, CoRunMeasurement]], times: NeighbourTimes) -> tuple[Vector, Vector]:
    """Rows of both sides."""
    victims, besides = [], []
    for record, result in pairs:
        victim, beside = times.loads(record, result)
        victims.append(side_table(load_rows([victim]), record.victim_lane))
        besides.append(side_table(load_rows([beside]), record.beside_lane))
    return np.concatenate(victims), np.concatenate(besides)


def _train(table: Matrix, target: Vector, weight: Vector, seed: int) -> xgb.Booster:
    import xgboost as xgb

    parameters = {
        "objective": "reg:pseudohubererror", "huber_slope": HUBER, "tree_method": "hist", "max_depth": DEPTH,
        "eta": RATE, "subsample": 0.8, "colsample_bynode": 0.6, "min_child_weight": 3, "lambda": 2.0,
        "base_score": 0.0, "max_bin": 64, "nthread": 1, "seed": seed, "verbosity": 0,
    }  # fmt: skip
    data = xgb.QuantileDMatrix(table, label=target, weight=weight, max_bin=64, nthread=1)
    return xgb.train(parameters, data, num_boost_round=ROUNDS)
