"""The marginal cost of kernels: what each adds to a stage that runs it.

A kernel alone pays what a stage pays once: the call into the provider, and the copy or change of layout of what comes
in and goes out. So its cost is a slope: over copies in a row where its output fits its input, over copies side by side
where it has weights that keep them apart. What moves images is measured behind convolutions, as what it adds to them.
Elsewhere it is its time alone less a surplus. What copies side by side and kernels alone pay beyond their cost is
fitted, per lane and kind of ends (`probes.Ends`), on kernels with a chain; what averages images behind convolutions is
measured as it is.
"""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np

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
from autotune.profiler.probes import (
    Ends,
    Form,
    Probe,
    Surplus,
    ends_of,
    own_threads,
    reference_kernel,
    reference_product,
    reference_rows,
)
from autotune.profiler.provenance import notes
from autotune.profiler.sentinel import Sentinel, disturbance, slowness
from autotune.profiler.serve import failure_of
from autotune.profiler.worker import Worker

LEAST_LEFT_SHARE = 0.15
"""Share of its time under which a lane begins no further group."""
LIVE_KERNELS = 16
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
    rounds: int = 12,
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
IMAGES = tuple(reference_kernel(*size) for size in ((16, 16), (16, 80), (32, 112), (64, 40)))
ROWS = tuple(reference_product(*size) for size in ((16, 64), (128, 256), (512, 64), (1024, 128)))
LIGHT = tuple(reference_rows(*size) for size in ((16, 64), (128, 256), (512, 256), (1024, 512)))
"""Kernels with a chain, which show what kernels alone pay: in a product that is lost in what it computes."""
AVERAGED = tuple(reference_kernel(*size) for size in ((16, 16), (64, 14), (64, 28), (64, 56)))
"""Kernels whose inputs are averaged behind convolutions; beyond 1 MB a convolution is faster where nobody reads what it
writes, which is no cost of averaging."""


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
        surplus[kind] = _surplus(kind, own, rounds, round_s, sentinel, following, shared=shared, seed=seed)
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
        slower = _slower(probes.values(), slowness(marks, sentinel.fastest), following)
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


def _surplus(
    kind: Ends,
    lane: Lane,
    rounds: int,
    round_s: float,
    sentinel: Sentinel,
    following: Following,
    *,
    shared: bool,
    seed: int,
) -> Surplus:
    """What kernels with such ends are measured to take beyond their cost on this lane."""
    images = kind in (Ends.SMALL, Ends.MEANS)
    asked = [(Form.CHAIN, IMAGES if images else LIGHT)]
    asked += [(Form.ENDS, AVERAGED)] if images else [(Form.FAN, ROWS), (Form.CHAIN, ROWS)]
    probes = [
        [Probe(kernel, lane, shared_pool=shared, seed=seed, form=form) for kernel in those] for form, those in asked
    ]
    marks = [sentinel.mark()]
    for _ in range(rounds):
        for probe in chain.from_iterable(probes):
            probe.take(round_s)
        marks.append(sentinel.mark())
    slower = _slower(list(chain.from_iterable(probes)), slowness(marks, sentinel.fastest), following)
    (lone, *copied), kernels = ([[probe.median_us(slower) for probe in some] for some in probes], asked[1][1])
    moved = [kernel.bytes_read + kernel.bytes_written for kernel in asked[0][1]]
    call_us, per_byte_us = _line(moved, [alone - slope for alone, slope in lone])
    slopes = [[slope for _, slope in some] for some in copied]
    apart = slopes[0] if images else [copy - slope for copy, slope in zip(*slopes, strict=True)]
    written = [kernel.bytes_read if images else kernel.bytes_written for kernel in kernels]
    copy_us, copy_per_byte_us = _line(written, apart)
    return Surplus(call_us=call_us, per_byte_us=per_byte_us, copy_us=copy_us, copy_per_byte_us=copy_per_byte_us)


def _slower(probes: Iterable[Probe], beside: Sequence[float], following: Following) -> list[float]:
    """How many times slower these were in each round, from how much the sentinel was, once they have taught it."""
    for probe in probes:
        following.learn([alone for alone, _ in probe.samples], beside)
    return following.of(beside)


def _line(sizes: Sequence[float], found_us: Sequence[float]) -> tuple[float, float]:
    """Level and slope of a line through these times, neither negative; relative errors count, down to 5 µs."""
    from scipy.optimize import nnls

    found = np.maximum(found_us, 0.0)
    weight = 1 / np.maximum(found, 5.0)
    solution, _ = nnls(np.stack([np.ones_like(weight), sizes], axis=1) * weight[:, None], found * weight)
    return float(solution[0]), float(solution[1])
