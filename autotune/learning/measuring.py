"""Who measures a batch: this device through the profiler's worker processes, or anything that gives records."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from autotune.core import Identity, Kernel, Lane, ProfileRecord
from autotune.processors.cores import pin_thread
from autotune.profiler import profile_kernels


class Measurer(Protocol):
    """Measures batches."""

    def measure(
        self,
        kernels: Sequence[Kernel],
        lane: Lane,
        *,
        cores: Sequence[int],
        deadline_s: float,
        on_record: Callable[[ProfileRecord], None],
    ) -> None:
        """Hands over each record as it is made; a kernel that brings a worker down gets a Failure, the others go on.

        Args:
            kernels: the batch.
            lane: where.
            cores: to stay on, because something else runs on the others; empty: all.
            deadline_s: seconds for all of it.
            on_record: takes each record.
        """


class DeviceMeasurer:
    """Measures on this device.

    Args:
        identity: under which a lane's records are filed.
        seed: of orders and weights.
    """

    def __init__(self, identity: Callable[[Lane], Identity], *, seed: int = 0) -> None:
        self._identity = identity
        self._seed = seed

    def measure(
        self,
        kernels: Sequence[Kernel],
        lane: Lane,
        *,
        cores: Sequence[int],
        deadline_s: float,
        on_record: Callable[[ProfileRecord], None],
    ) -> None:
        """In a worker process; it inherits the cores of the thread that starts it."""
        pin_thread(cores)
        profile_kernels(
            kernels, lane, identity=self._identity(lane), seed=self._seed, deadline_s=deadline_s, on_record=on_record
        )
