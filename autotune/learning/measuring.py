"""Who measures a batch: this device through the profiler's worker processes, or anything that gives records."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
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
        fastest_us: what each lane's sentinel takes at its fastest, as far as is known.
        rough: signatures of kernels that are only learnt from.
    """

    def __init__(
        self,
        identity: Callable[[Lane], Identity],
        *,
        seed: int = 0,
        fastest_us: Mapping[Lane, float] | None = None,
        rough: Collection[str] = (),
    ) -> None:
        self._identity = identity
        self._seed = seed
        self._rough = rough
        self._fastest_us = {lane: us for lane, us in (fastest_us or {}).items() if us > 0}

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
        known_us = self._fastest_us.get(lane, 0.0)

        def keep(record: ProfileRecord) -> None:
            if (us := record.notes.sentinel_us) > 0:
                self._fastest_us[lane] = min(us, self._fastest_us.get(lane, us))
            on_record(record)

        profile_kernels(
            kernels,
            lane,
            identity=self._identity(lane),
            seed=self._seed,
            fastest_us=known_us,
            deadline_s=deadline_s,
            on_record=keep,
            rough=self._rough,
        )
