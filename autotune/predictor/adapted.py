"""A new device from few records: what known devices would take, corrected by what was measured here.

Every lane of a known device gives a column: its predictor's log latency of each kernel. On the few kernels measured
here (the reference kernels, a fingerprint of the device) columns are weighed by how well they follow this device up to
a factor; a ridge regression learns the rest: level, slope, one step per family; and like kernels (`kriging.py`) what
that leaves over. Whether that is better than learning from the own records alone is decided on models left out, which
known devices have then not seen either.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from autotune.core import Lane
from autotune.core.codec import decode, encode
from autotune.predictor.boosted import BoostedLane, BoostedTrees
from autotune.predictor.correction import Correction, corrected
from autotune.predictor.features import FEATURES, Matrix
from autotune.predictor.kernel_predictor import KernelPredictor
from autotune.predictor.kriging import Kriging, krige
from autotune.predictor.learner import Learner, Regressor, forgetting
from autotune.predictor.training import MIN_RECORDS

Vector = npt.NDArray[np.float64]

ENOUGH = 200
"""Records of a lane from which on other devices are not asked: it costs as much training again as there are folds."""
LEAST_SPREAD = 0.02
LEAST = 8
"""Records of a lane from which on known devices can be corrected: level and slope, and a fold left out."""
LEAST_NEAR = 30
"""Records of a lane from which on like kernels are asked: fewer say more of their noise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """What a lane of a known device would take."""

    regressor: Regressor
    lane: Lane
    cores: int

    def log_us(self, rows: Matrix) -> Vector:
        """Natural logarithm of its latency in µs, per row."""
        return self.regressor.log_us(rows, self.lane, self.cores)


Teach = Callable[[Collection[str], Lane], tuple[KernelPredictor, ...]]
"""Predictors of known devices without kernels of these signatures, for what is like this lane."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Adapted:
    """Learns a lane from known devices, corrected by its own records, or from these alone (`choices`).

    Args:
        sources: predictors of known devices; without any it learns from the own records.
        inner: learns from the own records; the sources must have learnt with it too.
        teach: makes the sources anew; None: they never saw what they are asked.
        forgotten: signatures of kernels that the sources must not know.
    """

    sources: tuple[KernelPredictor, ...] = ()
    inner: Learner = field(default_factory=BoostedTrees)
    teach: Teach | None = field(default=None, repr=False)
    forgotten: frozenset[str] = field(default=frozenset(), repr=False)

    @property
    def name(self) -> str:
        """Its name in the registry."""
        return "adapted"

    @property
    def least(self) -> int:
        """Records of a lane that it can do with."""
        return LEAST if self.sources else MIN_RECORDS

    def choices(self, lane: Lane, records: int) -> tuple[Adapted, ...]:  # noqa: ARG002 - sources know all or nothing
        """The own records alone, or known devices too while they are few but enough to correct them."""
        alone = replace(self, sources=())
        return (alone, self) if self.sources and LEAST <= records < ENOUGH else (alone,)

    def forgetting(self, signatures: Collection[str]) -> Adapted:
        """Known devices that have not seen these kernels, nor those forgotten before; they learn anew when asked."""
        return replace(self, forgotten=self.forgotten.union(signatures), inner=forgetting(self.inner, signatures))

    def fit(self, rows: Matrix, latency_us: Vector, lane: Lane, cores: int, *, seed: int) -> AdaptedLane:
        """With the known devices, where there are any; deterministic for a seed."""
        columns = self._columns(lane)
        if columns:
            return AdaptedLane(own=None, blend=adapt(columns, rows, np.log(latency_us)))
        return AdaptedLane(own=self.inner.fit(rows, latency_us, lane, cores, seed=seed), blend=None)

    def _columns(self, lane: Lane) -> tuple[Column, ...]:
        """The lane itself on known devices, or one like it; all their lanes where its processor is unknown to them."""
        sources = self.sources
        if sources and self.forgotten and self.teach is not None:
            sources = self.teach(self.forgotten, lane)
        found = []
        for source in sources:
            models = [source.model_for(lane)] if source.knows(lane) else list(source.models.values())
            found += [Column(regressor=model.regressor, lane=model.lane, cores=source.cores) for model in models]
        return tuple(found)

    def restore(self, state: Mapping[str, Any], files: Mapping[str, bytes], cores: int) -> AdaptedLane:
        """The inverse of `AdaptedLane.dump`."""
        if state["own"] is not None:
            return AdaptedLane(own=self.inner.restore(state["own"], _of(files, "own."), cores), blend=None)
        columns = tuple(
            Column(
                regressor=self.inner.restore(one["state"], _of(files, f"{number}."), int(one["cores"])),
                lane=decode(Lane, one["lane"]),
                cores=int(one["cores"]),
            )
            for number, one in enumerate(state["columns"])
        )
        weights = np.array(state["weights"])
        if len(weights) != len(columns):
            raise ValueError(f"{len(weights)} weights for {len(columns)} columns")
        correction = Correction(centre=float(state["centre"]), solution=np.array(state["solution"]))
        near = Kriging.read(files["near.npz"])
        return AdaptedLane(own=None, blend=Blend(columns=columns, weights=weights, correction=correction, near=near))


@dataclass(frozen=True, slots=True, kw_only=True)
class Blend:
    """Known devices, weighed and corrected.

    Args:
        columns: lanes of known devices.
        weights: of the columns; they add up to 1.
        correction: of what they say together.
        near: what like kernels measured here say of what is left.
    """

    columns: tuple[Column, ...]
    weights: Vector
    correction: Correction
    near: Kriging

    def log_us(self, rows: Matrix) -> Vector:
        """Natural logarithm of the latency in µs, per row."""
        if not len(rows):
            return np.zeros(0)
        known: Vector = self.weights @ np.stack([column.log_us(rows) for column in self.columns])
        result: Vector = self.correction.log_us(known, rows) + self.near.log_factor(rows)
        return result


def _contributions(regressor: Regressor | None, rows: Matrix, lane: Lane, cores: int) -> tuple[Vector, Vector]:
    if isinstance(regressor, BoostedLane):
        return regressor.contributions(rows, lane, cores)
    return np.full(len(rows), np.nan), np.zeros((len(rows), len(FEATURES)))


def adapt(columns: tuple[Column, ...], rows: Matrix, log_us: Vector) -> Blend:
    """Weigh columns by how well they follow the measured logarithms, then correct what they say."""
    table = np.stack([column.log_us(rows) for column in columns])
    off = log_us - table
    spread = np.median(np.abs(off - np.median(off, axis=1, keepdims=True)), axis=1)
    weights = np.maximum(spread, LEAST_SPREAD) ** -4.0
    weights /= weights.sum()
    known = weights @ table
    correction = corrected(known, rows, log_us)
    near = Kriging(measured=())
    if len(rows) >= LEAST_NEAR:
        near, _ = krige(rows, log_us - correction.log_us(known, rows), most=ENOUGH)
    return Blend(columns=columns, weights=weights, correction=correction, near=near)


@dataclass(frozen=True, slots=True, kw_only=True)
class AdaptedLane:
    """What was learnt of one lane: one of both.

    Args:
        own: from its own records alone.
        blend: from known devices, corrected.
    """

    own: Regressor | None
    blend: Blend | None

    def log_us(self, rows: Matrix, lane: Lane, cores: int) -> Vector:
        """Natural logarithm of the latency in µs, per row of kernel features."""
        if self.blend is not None:
            return self.blend.log_us(rows)
        if self.own is None:
            raise ValueError("neither learnt from own records nor from other devices")
        return self.own.log_us(rows, lane, cores)

    def contributions(self, rows: Matrix, lane: Lane, cores: int) -> tuple[Vector, Vector]:
        """As of `BoostedLane.contributions`; the rooflines of known devices are weighed and corrected for this one."""
        if self.blend is None:
            return _contributions(self.own, rows, lane, cores)
        pairs = [_contributions(one.regressor, rows, one.lane, one.cores) for one in self.blend.columns]
        parts: Vector = np.tensordot(self.blend.weights, np.stack([own for _, own in pairs]), axes=1)
        return self.blend.log_us(rows) - parts.sum(axis=1), parts

    def dump(self) -> tuple[dict[str, Any], dict[str, bytes]]:
        """The own regressor's parts, or those of every column with the coefficients."""
        if self.own is not None:
            state, files = self.own.dump()
            return {"own": state}, {f"own.{suffix}": file for suffix, file in files.items()}
        blend = self.blend
        if blend is None:
            raise ValueError("neither learnt from own records nor from other devices")
        columns, files = [], {"near.npz": blend.near.dump()}
        for number, column in enumerate(blend.columns):
            state, own = column.regressor.dump()
            columns.append({"state": state, "lane": encode(column.lane), "cores": column.cores})
            files |= {f"{number}.{suffix}": file for suffix, file in own.items()}
        correction = {"centre": blend.correction.centre, "solution": blend.correction.solution.tolist()}
        numbers = {"weights": blend.weights.tolist(), **correction}
        return {"own": None, "columns": columns} | numbers, files


def _of(files: Mapping[str, bytes], begin: str) -> dict[str, bytes]:
    return {suffix.removeprefix(begin): file for suffix, file in files.items() if suffix.startswith(begin)}
