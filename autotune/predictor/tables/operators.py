"""A table of operators as a predictor sees it: families, physical terms, and one visible matrix of features."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from autotune.errors import InputError

Matrix = npt.NDArray[np.float64]
Vector = npt.NDArray[np.float64]
Strings = npt.NDArray[np.str_]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class OperatorTable:
    """What is known of n operators before any is measured.

    Args:
        family: [n] names of families; each has its own prior.
        terms: [n, t] quantities in which latency is about linear, non-negative (a constant, operations, bytes, …).
        features: [n, d] for trees, over all families.
        names: [d] of the features.
    """

    family: Strings
    terms: Matrix
    features: Matrix
    names: tuple[str, ...]

    def __post_init__(self) -> None:
        n = len(self.family)
        if self.terms.shape[:1] != (n,) or self.features.shape != (n, len(self.names)):
            raise InputError(
                f"{n} operators, terms {self.terms.shape}, features {self.features.shape}, {len(self.names)} names"
            )
        if not (np.isfinite(self.terms).all() and (self.terms >= 0).all()):
            raise InputError("a physical term of an operator is negative or not finite")
        if not np.isfinite(self.features).all():
            raise InputError(
                f"the feature {self.names[int(np.argmin(np.isfinite(self.features).all(axis=0)))]} has gaps"
            )

    def __len__(self) -> int:
        return len(self.family)

    def take(self, rows: Mask | npt.NDArray[np.intp]) -> OperatorTable:
        """The same of some rows."""
        return OperatorTable(
            family=self.family[rows],
            terms=self.terms[rows],
            features=self.features[rows],
            names=self.names,
        )

    def with_features(self, extra: Mapping[str, Vector]) -> OperatorTable:
        """With further features."""
        return replace(self, features=np.column_stack([self.features, *extra.values()]), names=(*self.names, *extra))

    def with_terms(self, extra: Matrix) -> OperatorTable:
        """With further physical terms, [n, any]."""
        return replace(self, terms=np.column_stack([self.terms, extra]))


def per_device(table: OperatorTable, device: Strings) -> OperatorTable:
    """One table of several devices: priors of each device's own, trees that see all of them and which one it is."""
    names = np.unique(device)
    family = np.char.add(np.char.add(device.astype(str), "/"), table.family.astype(str))
    seen = table.with_features({f"on_{name}": (device == name).astype(np.float64) for name in names})
    return replace(seen, family=family)
