"""Kernels open in this process, ready to be timed: alone, and as copies where they can be."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import onnxruntime as ort

from autotune.core import Concurrency, Kernel, KernelNode, Lane, Measurement, TensorSpec
from autotune.graph import (
    build_kernel,
    can_fan,
    chainable,
    has_small_ends,
    random_inputs,
    small_inputs,
    with_means,
    with_small_ends,
)
from autotune.processors import create_session, ort_value

CHAIN = 4
LEAST_ROUNDS = 4
KERNEL_SECONDS = 0.15
FLOOR_US = 0.3
FLOOR_SHARE = 0.05
MAX_CHAIN_BYTES = 64 << 20
CALM = 1.08
"""How many times slower than at its fastest the machine may be in a round that counts."""
LEAST_CALM = 3
SLOW_S = 0.02
"""Seconds of a run beside which it says little whether caches and threads were awake before it."""


class Ends(StrEnum):
    """What a kernel's ends are like when it is measured: images made and averaged inside, only averaged, or as is."""

    SMALL = "small"
    MEANS = "means"
    PLAIN = "plain"


class Form(StrEnum):
    """What a kernel is measured as: copies in a row, copies side by side, or alone."""

    CHAIN = "chain"
    FAN = "fan"
    ALONE = "alone"


@dataclass(frozen=True, slots=True, kw_only=True)
class Surplus:
    """What kernels with such ends are measured to take beyond what they take in a model.

    Args:
        call_us: alone, for the call.
        per_byte_us: alone, per byte that it reads and writes.
        copy_us: for each copy side by side.
        copy_per_byte_us: for each copy side by side, per byte that it writes.
    """

    call_us: float = 0.0
    per_byte_us: float = 0.0
    copy_us: float = 0.0
    copy_per_byte_us: float = 0.0


def ends_of(kernel: Kernel, lane: Lane) -> Ends:
    """How the kernel is measured on this lane.

    A provider that compiles changes layouts at a model's ends: there, images are made and averaged inside the model
    (`graph/ends.py`). ONNX Runtime's own CPU provider changes those of convolutions, and no others.
    """
    if kernel.family not in ("matmul", "attention") and has_small_ends(kernel):
        if lane.processor != "cpu":
            return Ends.SMALL
        if kernel.family in ("convolution", "depthwise"):
            return Ends.MEANS
    return Ends.PLAIN


def form_of(kernel: Kernel) -> Form:
    """As what the kernel is measured: copies need memory for their weights."""
    if kernel.weight_bytes * CHAIN >= MAX_CHAIN_BYTES:
        return Form.ALONE
    if chainable(kernel):
        return Form.CHAIN
    return Form.FAN if can_fan(kernel) else Form.ALONE


def reference_product(rows: int, columns: int) -> Kernel:
    """A matrix product that can be chained."""
    shape = (1, rows, columns)
    return Kernel(
        family="matmul",
        nodes=(KernelNode(op_type="MatMul", inputs=("i0", "w0"), outputs=("o0",)),),
        inputs=(TensorSpec(name="i0", dtype="float32", shape=shape),),
        weights=(TensorSpec(name="w0", dtype="float32", shape=(columns, columns)),),
        outputs=(TensorSpec(name="o0", dtype="float32", shape=shape),),
        opset=17,
        flops=2 * rows * columns * columns,
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


class Bound:
    """A session with inputs and outputs bound, so that copies of host arrays do not count.

    Args:
        model: an ONNX file, or its bytes.
        inputs: what it takes; they get random values.
        lane: where it runs.
        shared_pool: whether it uses the process's own threads instead of a pool of its own.
    """

    def __init__(
        self, model: bytes | str, inputs: Sequence[TensorSpec], lane: Lane, *, shared_pool: bool = False
    ) -> None:
        self._session = create_session(model, lane, shared_pool=shared_pool)
        self._binding = self._session.io_binding()
        kinds = {item.name: item.type for item in self._session.get_inputs()}
        drawn = random_inputs(inputs, seed=0)
        self._values = {name: ort_value(array, kinds[name]) for name, array in drawn.items()}
        for name, (value, _) in self._values.items():  # the binding does not keep them alive
            self._binding.bind_ortvalue_input(name, value)
        for item in self._session.get_outputs():
            self._binding.bind_output(item.name)
        self.estimate_s = min(self.run() for _ in range(2))
        if self.estimate_s < SLOW_S:
            self.estimate_s = min(self.estimate_s, self.run())

    def run(self) -> float:
        """Seconds of one run."""
        begin = time.perf_counter()
        self._session.run_with_iobinding(self._binding)
        return time.perf_counter() - begin

    def sample_us(self, seconds: float) -> float:
        """Median of the runs of one round, after one that does not count where that matters."""
        if self.estimate_s < SLOW_S:
            self.run()
        found: list[float] = []
        end = time.perf_counter() + seconds
        while not found or time.perf_counter() < end:
            found.append(self.run())
        return statistics.median(found) * 1e6


class Probe:
    """One kernel: alone, and as copies where it can be.

    Args:
        kernel: what to time.
        lane: where.
        shared_pool: as of `Bound`.
        seed: of the weights.
        form: as what; None as `form_of` says.
    """

    def __init__(self, kernel: Kernel, lane: Lane, *, shared_pool: bool, seed: int, form: Form | None = None) -> None:
        self.kernel = kernel
        self.ends = ends_of(kernel, lane)
        self.form = form or form_of(kernel)
        self.alone = self._open(lane, shared_pool, seed, copies=1)
        self.copies = self._open(lane, shared_pool, seed, copies=CHAIN) if self.form is not Form.ALONE else None
        self.samples: list[tuple[float, float]] = []

    def _open(self, lane: Lane, shared_pool: bool, seed: int, *, copies: int) -> Bound:
        model = build_kernel(self.kernel, seed=seed, copies=copies, fan=copies > 1 and self.form is Form.FAN)
        inputs = self.kernel.inputs
        if self.ends is Ends.SMALL:
            model, inputs = with_small_ends(model, self.kernel), small_inputs(self.kernel)
        elif self.ends is Ends.MEANS:
            model = with_means(model, self.kernel)
        return Bound(model.SerializeToString(), inputs, lane, shared_pool=shared_pool)

    def rounds(self, wanted: int) -> int:
        """Fewer rounds for a slow kernel."""
        each = self.alone.estimate_s + (self.copies.estimate_s if self.copies is not None else 0.0)
        return max(LEAST_ROUNDS, min(wanted, int(KERNEL_SECONDS / max(each, 1e-9))))

    def take(self, round_s: float) -> None:
        """One round: (alone, slope over the copies or 0)."""
        alone = self.alone.sample_us(round_s)
        slope = 0.0
        if self.copies is not None:
            slope = (self.copies.sample_us(round_s) - alone) / (CHAIN - 1)
        self.samples.append((alone, slope))

    def median_us(self, slower: Sequence[float]) -> tuple[float, float]:
        """Medians of the time alone and of the slope; `slower` as of `result`."""
        pairs = list(zip(self.samples, slower, strict=False))
        alone = statistics.median(alone / factor for (alone, _), factor in pairs)
        return alone, statistics.median(slope / factor for (_, slope), factor in pairs)

    def result(self, surplus: Mapping[Ends, Surplus], slower: Sequence[float]) -> Measurement:
        """Marginal cost per round, as it would have been on the machine at its fastest.

        Rounds in which it nearly was count alone, if enough: not every kernel is slowed down like the sentinel.

        Args:
            surplus: what is measured beyond it, by its ends.
            slower: by round, how many times slower the machine was.
        """
        own = surplus.get(self.ends, Surplus())
        written = self.kernel.bytes_written
        beyond = {
            Form.CHAIN: 0.0,
            Form.FAN: own.copy_us + own.copy_per_byte_us * written,
            Form.ALONE: own.call_us + own.per_byte_us * (self.kernel.bytes_read + written),
        }[self.form]
        rounds = list(zip(self.samples, slower, strict=False))
        calm = [pair for pair in rounds if pair[1] <= CALM]
        costs = []
        for (alone, slope), factor in calm if len(calm) >= LEAST_CALM else rounds:
            cost = (alone if self.form is Form.ALONE else slope) - beyond * factor
            costs.append(max(cost, FLOOR_SHARE * alone, FLOOR_US) / factor)
        return Measurement(samples_us=tuple(costs))


def own_threads(lane: Lane) -> tuple[Lane, bool]:
    """The lane as sessions are opened here, and whether they share this process's pool of threads.

    Pools that spin would disturb each other: the CPU provider's sessions of such a lane share one.
    """
    shared = lane.processor == "cpu" and lane.concurrency.threads > 1 and lane.concurrency.spinning is None
    if not shared:
        return lane, False
    if not _pool_is_set:
        ort.set_global_thread_pool_sizes(lane.concurrency.threads, 1)
        _pool_is_set.append(True)
    return Lane(processor=lane.processor, precision=lane.precision, concurrency=Concurrency()), True


_pool_is_set: list[bool] = []
