"""Which cores a lane's threads may use: disjoint by construction, and set for the threads that exist."""

from __future__ import annotations

import contextlib
import itertools
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace

from autotune.core import Lane
from autotune.errors import UsageError


def allowed_cores() -> tuple[int, ...]:
    """Cores that the calling thread may use (its affinity mask), ascending."""
    if sys.platform == "linux":
        return tuple(sorted(os.sched_getaffinity(0)))
    return tuple(range(os.cpu_count() or 1))


def pin_thread(cores: Sequence[int]) -> None:
    """Keeps the calling thread, and threads that it starts, on some cores; nothing where none are named.

    Only Linux can pin a single thread; elsewhere nothing happens.

    Raises:
        UsageError: this process may not use them.
    """
    if not cores or sys.platform != "linux":
        return
    try:
        os.sched_setaffinity(0, cores)
    except OSError as error:
        raise UsageError(f"a thread cannot be pinned to cores {tuple(cores)} here ({error.strerror})") from error


@contextlib.contextmanager
def pinned(cores: Sequence[int]) -> Iterator[None]:
    """Within the block the calling thread is pinned: what a session starts there inherits it (OpenVINO's threads).

    Raises:
        UsageError: this process may not use them.
    """
    if not cores or sys.platform != "linux":
        yield
        return
    before = os.sched_getaffinity(0)
    pin_thread(cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def share_out(needs: Sequence[int], cores: Sequence[int]) -> tuple[tuple[int, ...], ...]:
    """Cores for each who needs so many: none twice, in this order; there must be enough."""
    ends = itertools.accumulate(needs)
    return tuple(tuple(cores[end - need : end]) for need, end in zip(needs, ends, strict=True))


def spread(lanes: Sequence[Lane], cores: Sequence[int]) -> tuple[Lane, ...]:
    """The lanes, each on the CPU pinned to cores that no other one has: as many as it has threads in all its streams.

    Args:
        lanes: that shall run at the same time; none of them twice. A lane without a number of threads counts as one.
        cores: to share out, in this order.

    Raises:
        UsageError: they need more cores than there are, or a lane is named twice.
    """
    if len(set(lanes)) != len(lanes):
        raise UsageError("a lane is named twice: ask for two streams of it instead")
    needs = [lane.threads_busy(lane.concurrency.streams) for lane in lanes]
    if sum(needs) > len(cores):
        listed = ", ".join(f"{lane} {need}" for lane, need in zip(lanes, needs, strict=True))
        raise UsageError(
            f"these lanes need {sum(needs)} cores ({listed}), there are {len(cores)}: "
            "use fewer lanes, threads or streams"
        )
    return tuple(
        replace(lane, concurrency=replace(lane.concurrency, threads=max(1, lane.concurrency.threads), cores=own))
        if own
        else lane
        for lane, own in zip(lanes, share_out(needs, cores), strict=True)
    )
