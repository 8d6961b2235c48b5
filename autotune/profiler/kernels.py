"""The marginal cost of kernels: what each adds to a stage that runs it.

A kernel alone pays what a stage pays once: the call into the provider, and the copy or change of layout of what
comes in
and goes out. The surplus is additive. Where a kernel's output fits its input, its cost is the slope over a chain of it;
elsewhere it is its time alone less a surplus fitted, per lane, on chains of reference convolutions.
"""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import onnxruntime as ort

from autotune.core import (
    Concurrency,
    Failure,
    FailureKind,
    Identity,
    Kernel,
    KernelNode,
    Lane,
    Measurement,
    ProfileRecord,
    TensorSpec,
)
from autotune.graph import build_kernel, chainable, random_inputs
from autotune.processors import create_session, ort_value
from autotune.profiler.provenance import notes
from autotune.profiler.serve import failure_of
from autotune.profiler.worker import Worker

CHAIN = 4
LEAST_LEFT_SHARE = 0.15
"""Share of its time under which a lane begins no further group."""
LIVE_KERNELS = 16
LEAST_ROUNDS = 4
KERNEL_SECONDS = 0.15
LANE_TRIES = 2
"""Workers that may die before their first kernel until all kernels count as failed: that is stored for good."""
FLOOR_US = 0.3
FLOOR_SHARE = 0.05
MAX_CHAIN_BYTES = 64 << 20
OPENING_SHARE = 0.2
"""Share of the time left that opening the sessions of a group may take: what is open by then is measured, and a
round takes about as long as opening."""
ENDING_SHARE = 0.85
"""Share of the time left after which a group ends with the rounds that it has, before the deadline kills the worker."""
LEAST_SAMPLES = 2
"""Fewer samples than this are not worth keeping: what is stored is not measured again."""


def profile_kernels(
    kernels: Sequence[Kernel],
    lane: Lane,
    *,
    identity: Identity,
    rounds: int = 12,
    round_s: float = 0.003,
    seed: int = 0,
    deadline_s: float,
    on_record: Callable[[ProfileRecord], None],
) -> None:
    """Measures kernels on a lane and hands over each record as it is made.

    A kernel that brings the worker down gets a Failure; the others go on. Kernels that cannot be built are skipped.
    What
    is not measured by the deadline is left.

    Args:
        kernels: what to measure.
        lane: where.
        identity: under which the records are filed.
        rounds: samples of each kernel, fewer for slow ones.
        round_s: seconds of a round, at least one run.
        seed: of orders and weights.
        deadline_s: seconds for all of it.
        on_record: takes each record.
    """
    waiting = [kernel for kernel in kernels if kernel.buildable]
    tries = LANE_TRIES
    until = time.monotonic() + deadline_s
    with Worker() as worker:
        while waiting and (left_s := until - time.monotonic()) > 0:
            running, done = -1, set()
            for item in worker.stream(measure_here, waiting, lane, rounds, round_s, seed, left_s, deadline_s=left_s):
                if isinstance(item, Failure):
                    if item.kind is FailureKind.HANG and time.monotonic() >= until:
                        return
                    if running < 0 and tries > 1:  # the references did not run: the lane's fault, or somebody's kill
                        tries -= 1
                    elif running < 0:  # the lane is broken
                        done = set(range(len(waiting)))
                        for kernel in waiting:
                            on_record(_record(kernel, lane, item, identity, 1.0))
                    else:
                        on_record(_record(waiting[running], lane, item, identity, 1.0))
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
    kernel: Kernel, lane: Lane, result: Measurement | Failure, identity: Identity, sentinel: float
) -> ProfileRecord:
    return ProfileRecord(
        kernel=kernel, lane=lane, result=result, identity=identity, notes=notes(sentinel_ratio=sentinel)
    )


def reference_kernel(channels: int, size: int) -> Kernel:
    """A convolution with its activation that can be chained."""
    shape = (1, channels, size, size)
    return Kernel(
        family="convolution",
        nodes=(
            KernelNode(
                op_type="Conv",
                inputs=("i0", "w0", "w1"),
                outputs=("t0",),
                attributes=(("pads", (1, 1, 1, 1)),),
            ),
            KernelNode(op_type="Relu", inputs=("t0",), outputs=("o0",)),
        ),
        inputs=(TensorSpec(name="i0", dtype="float32", shape=shape),),
        weights=(
            TensorSpec(name="w0", dtype="float32", shape=(channels, channels, 3, 3)),
            TensorSpec(name="w1", dtype="float32", shape=(channels,)),
        ),
        outputs=(TensorSpec(name="o0", dtype="float32", shape=shape),),
        opset=17,
        flops=2 * channels * channels * 9 * size * size,
    )


REFERENCES = ((16, 16), (16, 80), (32, 112), (64, 40))


class _Bound:
    """A session with inputs and outputs bound, so that copies of host arrays do not count."""

    def __init__(self, model: bytes, kernel: Kernel, lane: Lane, *, shared_pool: bool) -> None:
        self._session = create_session(model, lane, shared_pool=shared_pool)
        self._binding = self._session.io_binding()
        kinds = {item.name: item.type for item in self._session.get_inputs()}
        drawn = random_inputs(kernel.inputs, seed=0)
        self._values = {name: ort_value(array, kinds[name]) for name, array in drawn.items()}
        for name, (value, _) in self._values.items():  # the binding does not keep them alive
            self._binding.bind_ortvalue_input(name, value)
        for spec in kernel.outputs:
            self._binding.bind_output(spec.name)
        self.estimate_s = min(self.run() for _ in range(3))

    def run(self) -> float:
        begin = time.perf_counter()
        self._session.run_with_iobinding(self._binding)
        return time.perf_counter() - begin

    def sample_us(self, seconds: float) -> float:
        """Median of the runs of one round."""
        self.run()
        found: list[float] = []
        end = time.perf_counter() + seconds
        while not found or time.perf_counter() < end:
            found.append(self.run())
        return statistics.median(found) * 1e6


class _Probe:
    """One kernel: alone, and chained where it can be."""

    def __init__(self, kernel: Kernel, lane: Lane, *, shared_pool: bool, seed: int) -> None:
        self.kernel = kernel
        self.alone = _Bound(build_kernel(kernel, seed=seed).SerializeToString(), kernel, lane, shared_pool=shared_pool)
        self.chain: _Bound | None = None
        if chainable(kernel) and kernel.weight_bytes * CHAIN < MAX_CHAIN_BYTES:
            model = build_kernel(kernel, seed=seed, copies=CHAIN).SerializeToString()
            self.chain = _Bound(model, kernel, lane, shared_pool=shared_pool)
        self.samples: list[tuple[float, float]] = []

    def rounds(self, wanted: int) -> int:
        """Fewer rounds for a slow kernel."""
        each = self.alone.estimate_s + (self.chain.estimate_s if self.chain is not None else 0.0)
        return max(LEAST_ROUNDS, min(wanted, int(KERNEL_SECONDS / max(each, 1e-9))))

    def take(self, round_s: float) -> None:
        """One round: (alone, slope of the chain or 0)."""
        alone = self.alone.sample_us(round_s)
        slope = 0.0
        if self.chain is not None:
            slope = (self.chain.sample_us(round_s) - alone) / (CHAIN - 1)
        self.samples.append((alone, slope))

    def surplus(self) -> tuple[float, float]:
        """Bytes at both ends, and median surplus of running alone."""
        size = float(self.kernel.bytes_read + self.kernel.bytes_written)
        return size, statistics.median(alone - slope for alone, slope in self.samples)

    def result(self, call_us: float, per_byte_us: float, drift: float) -> Measurement:
        """Marginal cost per round."""
        size = self.kernel.bytes_read + self.kernel.bytes_written
        costs = []
        for alone, slope in self.samples:
            cost = slope if self.chain is not None else alone - call_us - per_byte_us * size
            costs.append(max(cost, FLOOR_SHARE * alone, FLOOR_US) / drift)
        return Measurement(samples_us=tuple(costs))


def measure_here(
    kernels: Sequence[Kernel], lane: Lane, rounds: int, round_s: float, seed: int, left_s: float
) -> Iterator[Any]:
    """In the worker: what is running, then each kernel's result with the sentinel's ratio; `late` when time is up."""
    until = time.monotonic() + left_s
    shared = lane.processor == "cpu" and lane.concurrency.threads > 1 and lane.concurrency.spinning is None
    if shared and not _pool_is_set:
        ort.set_global_thread_pool_sizes(lane.concurrency.threads, 1)
        _pool_is_set.append(True)
    own = lane if not shared else Lane(processor=lane.processor, precision=lane.precision, concurrency=Concurrency())
    call_us, per_byte_us = _surplus(own, rounds, round_s, shared=shared, seed=seed)
    sentinel = _Probe(reference_kernel(32, 40), own, shared_pool=shared, seed=seed)
    first = _sentinel_us(sentinel, round_s)
    order = random.Random(seed)
    for begin in range(0, len(kernels), LIVE_KERNELS):
        probes: dict[int, _Probe] = {}
        now = time.monotonic()
        opened_by, ended_by = (now + share * (until - now) for share in (OPENING_SHARE, ENDING_SHARE))
        for at in range(begin, min(begin + LIVE_KERNELS, len(kernels))):
            yield ("running", at)
            try:
                probes[at] = _Probe(kernels[at], own, shared_pool=shared, seed=seed)
            except Exception as error:  # noqa: BLE001 - the edge of a worker process
                yield ("record", at, failure_of(error), 1.0)
            if time.monotonic() > opened_by:
                break
        before = _sentinel_us(sentinel, round_s)
        for number in range(rounds):
            for at in order.sample(sorted(probes), len(probes)):
                if number < probes[at].rounds(rounds) and time.monotonic() < ended_by:
                    yield ("running", at)
                    probes[at].take(round_s)
        drift = (before + _sentinel_us(sentinel, round_s)) / 2 / first
        for at, probe in probes.items():
            if len(probe.samples) < LEAST_SAMPLES:
                continue
            yield ("record", at, probe.result(call_us, per_byte_us, drift), drift)
        if until - time.monotonic() < LEAST_LEFT_SHARE * left_s:
            yield ("late",)
            return


_pool_is_set: list[bool] = []


def _sentinel_us(sentinel: _Probe, round_s: float) -> float:
    return statistics.median(sentinel.alone.sample_us(round_s) for _ in range(5))


def _surplus(lane: Lane, rounds: int, round_s: float, *, shared: bool, seed: int) -> tuple[float, float]:
    """Microseconds per call and per byte at both ends that a kernel alone pays on this lane."""
    probes = [_Probe(reference_kernel(*size), lane, shared_pool=shared, seed=seed) for size in REFERENCES]
    for _ in range(rounds):
        for probe in probes:
            probe.take(round_s)
    sizes, found = np.array([probe.surplus() for probe in probes]).T
    design = np.stack([np.ones_like(sizes), sizes], axis=1) / np.maximum(found, 5.0)[:, None]
    from scipy.optimize import nnls

    solution, _ = nnls(design, np.maximum(found, 0.0) / np.maximum(found, 5.0))
    return float(solution[0]), float(solution[1])
