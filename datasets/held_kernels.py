"""Kernels that a data base holds: each decoded, and hashed, once for each open store."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, TypeVar

import sqlalchemy as sa

from autotune.core import Kernel, Signatures
from autotune.datasets import bulk, rows, schema
from autotune.errors import StoreError

T = TypeVar("T")
_MANY = 500
"""Values in one SQL `IN` list; SQLite takes 32,766, other data bases fewer."""


class HeldKernels:
    """What a store knows of the kernels in its data base; grows while it is open.

    Args:
        place: what a message calls the data base.
    """

    def __init__(self, place: str) -> None:
        self._place = place
        self._kernels: dict[str, Kernel] = {}
        self.signatures = Signatures()  # hashing a kernel costs more than its row

    def new(self, kernels: Iterable[Kernel]) -> dict[str, Kernel]:
        """By signature, those that were not yet seen in the data base."""
        found = {self.signatures.of(kernel): kernel for kernel in kernels}
        return {signature: kernel for signature, kernel in found.items() if signature not in self._kernels}

    def add(self, connection: sa.Connection, new: Mapping[str, Kernel]) -> None:
        """Insert those that are not there, in the caller's transaction; once it is through they are to be kept."""
        known = known_kernels(connection, new)
        bulk.insert_kernels(connection, {s: rows.to_json(kernel) for s, kernel in new.items() if s not in known})

    def keep(self, new: Mapping[str, Kernel]) -> None:
        """These are in the data base now."""
        self._kernels.update(new)

    def load(self, connection: sa.Connection, signatures: Collection[str]) -> Mapping[str, Kernel]:
        """Kernels by signature, at least these.

        Raises:
            StoreError: one of them is not there, or does not decode.
        """
        missing = [s for s in signatures if s not in self._kernels]
        for part in parts(missing):
            query = sa.select(schema.kernels).where(schema.kernels.c.signature.in_(part))
            found = connection.execute(query).all()
            texts = [row.json for row in found]
            for kernel, row in zip(decoded(self._place, texts, rows.kernel_of), found, strict=True):
                self._kernels[row.signature] = kernel
                self.signatures.know(kernel, row.signature)
        lost = [s for s in missing if s not in self._kernels]
        if lost:
            raise StoreError(
                f"{self._place}: records name the kernel {lost[0]}, which is not there: the file is damaged."
            )
        return self._kernels


def known_kernels(connection: sa.Connection, signatures: Collection[str]) -> set[str]:
    """Those of these signatures that the data base has."""
    known: set[str] = set()
    column = schema.kernels.c.signature
    for part in parts(signatures):
        known.update(connection.execute(sa.select(column).where(column.in_(part))).scalars())
    return known


def parts(values: Collection[str]) -> list[list[str]]:
    """Values in lists that fit into one query, sorted, each once."""
    ordered = sorted(set(values))
    return [ordered[i : i + _MANY] for i in range(0, len(ordered), _MANY)]


def decoded(place: str, found: Iterable[Any], read: Callable[[Any], T]) -> list[T]:
    """Rows as values.

    Raises:
        StoreError: a row is none of ours: the file is damaged.
    """
    try:
        return [read(row) for row in found]
    except (ValueError, TypeError, KeyError) as error:
        raise StoreError(
            f"{place}: a row cannot be read ({error}): the file is damaged; move it away and measure again."
        ) from error
