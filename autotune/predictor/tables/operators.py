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
        family: [n] names of families; each has its own prior and its own smooth model.
        terms: [n, t] quantities in which latency is about linear, non-negative (a constant, operations, bytes, …).
        features: [n, d] for trees, over all families.
        names: [d] of the features.
        smooth: family -> the features that a smooth model of it looks at.
    """

    family: Strings
    terms: Matrix
    features: Matrix
    names: tuple[str, ...]
    smooth: Mapping[str, tuple[str, ...]]

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

    def columns(self, family: str) -> npt.NDArray[np.intp]:
        """Positions of the features that the smooth model of a family looks at; all where it names none."""
        wanted = self.smooth.get(family, self.names)
        return np.array([self.names.index(name) for name in wanted], dtype=np.intp)

    def take(self, rows: Mask | npt.NDArray[np.intp]) -> OperatorTable:
        """The same of some rows."""
        return OperatorTable(
            family=self.family[rows],
            terms=self.terms[rows],
            features=self.features[rows],
            names=self.names,
            smooth=self.smooth,
        )

    def with_features(self, extra: Mapping[str, Vector], *, smooth: bool = False) -> OperatorTable:
        """With further features; `smooth`: those models that name their own features see them too."""
        added = tuple(extra) if smooth else ()
        return OperatorTable(
            family=self.family,
            terms=self.terms,
            features=np.column_stack([self.features, *extra.values()]),
            names=(*self.names, *extra),
            smooth={family: (*names, *added) for family, names in self.smooth.items()},
        )

    def with_terms(self, extra: Matrix) -> OperatorTable:
        """With further physical terms, [n, any]."""
        return replace(self, terms=np.column_stack([self.terms, extra]))


def per_device(table: OperatorTable, device: Strings) -> OperatorTable:
    """One table of several devices: priors of each device's own, trees that see all of them and which one it is."""
    names = np.unique(device)
    family = np.char.add(np.char.add(device.astype(str), "/"), table.family.astype(str))
    smooth = {f"{name}/{key}": wanted for name in names for key, wanted in table.smooth.items()}
    seen = table.with_features({f"on_{name}": (device == name).astype(np.float64) for name in names})
    return replace(seen, family=family, smooth=smooth)
