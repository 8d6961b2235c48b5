"""The marginal cost of kernels: what each adds to a stage that runs it.

A kernel alone pays what a stage pays once: the call into the provider, and the copy or change of layout of what comes
in and goes out. So its cost is a slope: over copies in a row where its output fits its input, over copies side by side
where it has weights that keep them apart. What moves images is measured behind convolutions, as what it adds to them.
Elsewhere it is its time alone less a surplus. What copies side by side and kernels alone pay beyond their cost is
measured per lane and kind of ends (`surplus.py`).
"""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from autotune.core import (
    Failure,
    FailureKind,
    Identity,
    Kernel,
    Lane,
    Measurement,
    ProfileRecord,
)
from autotune.profiler.following import Following
from autotune.profiler.probes import Ends, Probe, Surplus, ends_of, own_threads
from autotune.profiler.provenance import notes
from autotune.profiler.sentinel import Sentinel, disturbance, slowness
from autotune.profiler.serve import failure_of
from autotune.profiler.surplus import measure_surplus
from autotune.profiler.worker import Worker

LEAST_LEFT_SHARE = 0.15
"""Share of its time under which a lane begins no further group."""
LIVE_KERNELS = 16
ROUNDS = 8
"""Of a kernel, at most: beside neighbours, where nothing settles, two measurements of a kernel agree no better with
more of them, for what a neighbour does lasts longer."""
OF_SURPLUS = 1.5
"""Times as many rounds for the surplus: what is wrong with it is wrong with all kernels."""
LANE_TRIES = 2
"""Workers that may die before their first kernel until all kernels count as failed: that is stored for good."""
OPENING_SHARE = 0.2
"""Share of the time left that opening the sessions of a group may take: what is open by then is measured, and a
round takes about as long as opening."""
ENDING_SHARE = 0.85
"""Share of the time left after which a group ends with the rounds that it has, before the deadline kills the worker."""
WAIT_SHARE = 0.2
"""Of the time spent on a lane so far that may go by waiting for a disturbed machine to calm down."""
LEAST_SAMPLES = 2
"""Fewer samples than this are not worth keeping: what is stored is not measured again."""
ERROR_OF_DEVIATION = 1.57
"""Standard error of the median of n normal samples, times √n, over their mean deviation: √(π/2) · √(π/2)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Enough:
    """When a kernel needs no further round.

    Args:
        samples: so many are there, and …
        error: … the standard error of its median, as a share, is no larger.
    """

    samples: int
    error: float


KNOWN = Enough(samples=6, error=0.015)
"""What plans are chosen by."""
ROUGH = Enough(samples=3, error=0.06)
"""What is only learnt from: another kernel teaches more than another round, for what is predicted of kernels between
measured ones is off by more."""
PATIENCE_SHARE = 0.3
LEAST_PATIENCE_S, MOST_PATIENCE_S = 15.0, 60.0
"""Seconds without a sign of life after which a kernel hangs, a share of the time for its lane: opening its sessions, or
a round. Engines that a GPU's provider compiles take up to half a minute."""


def profile_kernels(
    kernels: Sequence[Kernel],
    lane: Lane,
    *,
    identity: Identity,
    rounds: int = ROUNDS,
    round_s: float = 0.003,
    seed: int = 0,
    fastest_us: float = 0.0,
    deadline_s: float,
    on_record: Callable[[ProfileRecord], None],
    rough: Collection[str] = (),
) -> None:
    """Measures kernels on a lane and hands over each record as it is made.

    A kernel that brings the worker down or hangs gets a Failure; the others go on. Kernels that cannot be built are
    skipped. What is not measured by the deadline is left.

    Args:
        kernels: what to measure.
        lane: where.
        identity: under which the records are filed.
        rounds: most samples of each kernel: fewer for slow ones, and once its median has settled.
        round_s: seconds of a round, at least one run.
        seed: of orders and weights.
        fastest_us: what the lane's sentinel takes at its fastest, as far as is known; 0: nothing is.
        deadline_s: seconds for all of it.
        on_record: takes each record.
        rough: signatures of those that are only learnt from: they get fewer rounds (`ROUGH`).
    """
    waiting = [kernel for kernel in kernels if kernel.buildable]
    tries = LANE_TRIES
    until = time.monotonic() + deadline_s
    silence_s = min(MOST_PATIENCE_S, max(LEAST_PATIENCE_S, PATIENCE_SHARE * deadline_s))
    with Worker() as worker:
        while waiting and (left_s := until - time.monotonic()) > 0:
            running, done = -1, set()
            enough = [ROUGH if kernel.signature in rough else KNOWN for kernel in waiting]
            asked = (waiting, lane, rounds, round_s, seed, left_s, fastest_us, enough)
            for item in worker.stream(measure_here, *asked, deadline_s=left_s, silence_s=silence_s):
                if isinstance(item, Failure):
                    if item.kind is FailureKind.HANG and time.monotonic() >= until:
                        return
                    if running < 0 and tries > 1:  # the references did not run: the lane's fault, or somebody's kill
                        tries -= 1
                    elif running < 0:  # the lane is broken
                        done = set(range(len(waiting)))
                        for kernel in waiting:
                            on_record(_record(kernel, lane, item, identity, UNKNOWN))
                    else:
                        on_record(_record(waiting[running], lane, item, identity, UNKNOWN))
                        done.add(running)
                elif item[0] == "late":
                    return
                elif item[0] == "running":
                    running = item[1]
                else:
                    _, at, result, sentinel = item
                    on_record(_record(waiting[at], lane, result, identity, sentinel))
                    done.add(at)
            waiting = [kernel for at, kernel in enumerate(waiting) if at not in done]


def _record(
    kernel: Kernel, lane: Lane, result: Measurement | Failure, identity: Identity, sentinel: tuple[float, float]
) -> ProfileRecord:
    ratio, level_us = sentinel
    circumstances = notes(sentinel_ratio=ratio, sentinel_us=level_us)
    return ProfileRecord(kernel=kernel, lane=lane, result=result, identity=identity, notes=circumstances)


UNKNOWN = (1.0, 0.0)
"""Ratio and µs of a sentinel that says nothing."""


def measure_here(
    kernels: Sequence[Kernel],
    lane: Lane,
    rounds: int,
    round_s: float,
    seed: int,
    left_s: float,
    fastest_us: float = 0.0,
    enough: Sequence[Enough] = (),
) -> Iterator[Any]:
    """In the worker: what runs (-1: references), each kernel's result with the sentinel's ratio and µs; `late`."""
    until = time.monotonic() + left_s
    own, shared = own_threads(lane)
    sentinel = Sentinel(lane, patience=WAIT_SHARE, known_us=fastest_us)
    following, surplus = Following(), dict[Ends, Surplus]()
    for kind in {ends_of(kernel, lane) for kernel in kernels}:
        more = round(OF_SURPLUS * rounds)
        surplus[kind] = measure_surplus(kind, own, more, round_s, sentinel, following, shared=shared, seed=seed)
        yield ("running", -1)
    order = random.Random(seed)
    for begin in range(0, len(kernels), LIVE_KERNELS):
        probes: dict[int, Probe] = {}
        now = time.monotonic()
        opened_by, ended_by = (now + share * (until - now) for share in (OPENING_SHARE, ENDING_SHARE))
        for at in range(begin, min(begin + LIVE_KERNELS, len(kernels))):
            yield ("running", at)
            try:
                probes[at] = Probe(kernels[at], own, shared_pool=shared, seed=seed)
            except Exception as error:  # noqa: BLE001 - the edge of a worker process
                yield ("record", at, failure_of(error), UNKNOWN)
            if time.monotonic() > opened_by:
                break
        marks = [sentinel.mark()]
        moving = set(probes)
        while moving and time.monotonic() < ended_by:
            for mark in sentinel.calmer(marks[-1]):
                marks[-1] = mark
                yield ("running", min(moving))
            for at in order.sample(sorted(moving), len(moving)):
                if time.monotonic() < ended_by:
                    yield ("running", at)
                    probes[at].take(round_s)
            marks.append(sentinel.mark())
            slower = following.of(slowness(marks, sentinel.fastest))
            moving = {
                at
                for at in moving
                if len(slower) < probes[at].rounds(rounds)
                and not settled(probes[at], surplus, slower, enough[at] if enough else KNOWN)
            }
        slower = following.after((probe.alone_us for probe in probes.values()), slowness(marks, sentinel.fastest))
        for at, probe in probes.items():
            if len(probe.samples) < LEAST_SAMPLES:
                continue
            ratio = disturbance(marks[: len(probe.samples) + 1], sentinel.fastest)
            yield ("record", at, probe.result(surplus, slower), (ratio, sentinel.level_us))
        if until - time.monotonic() < LEAST_LEFT_SHARE * left_s:
            yield ("late",)
            return


def settled(probe: Probe, surplus: Mapping[Ends, Surplus], slower: Sequence[float], enough: Enough = KNOWN) -> bool:
    """Whether further rounds would hardly move the median: by the mean deviation, which one outlier hardly moves."""
    if len(probe.samples) < enough.samples:
        return False
    result = probe.result(surplus, slower)
    deviation_us = statistics.fmean(abs(sample - result.median_us) for sample in result.samples_us)
    calm = len(result.samples_us)
    least_us = enough.error * result.median_us * calm**0.5
    return calm >= enough.samples and ERROR_OF_DEVIATION * deviation_us <= least_us
