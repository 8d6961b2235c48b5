"""Kernels open in this process, ready to be timed: alone, as copies where they can be, or behind convolutions."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import onnxruntime as ort

from autotune.core import Concurrency, Kernel, KernelNode, Lane, Measurement, TensorSpec
from autotune.graph import (
    RESHAPING,
    behind_convolutions,
    build_kernel,
    can_fan,
    chainable,
    has_row_ends,
    has_small_ends,
    made_by_convolutions,
    made_of_pixels,
    only_convolutions,
    random_inputs,
    with_few_pixels,
    with_means,
    with_row_ends,
)
from autotune.processors import create_session, ort_value

CONVOLUTIONS = ("convolution", "depthwise")
CHAIN = 4
LEAST_ROUNDS = 4
KERNEL_SECONDS = 0.15
FLOOR_US = 0.3
FLOOR_SHARE = 0.05
MAX_CHAIN_BYTES = 64 << 20
PICKING = ("Gather", "GatherElements", "GatherND", "Slice")
"""Operators that read no more of their input than they write."""
CALM = 1.08
"""How many times slower than at its fastest the machine may be in a round that counts."""
LEAST_CALM = 3
SLOW_S = 0.005
"""Seconds of a run beside which it says little whether caches and threads were awake before it."""


class Ends(StrEnum):
    """What a kernel's ends are like when it is measured.

    Images are made and averaged inside (small), or only averaged (means; what is added to them is made inside, too);
    rows are averaged; the rest is as it is.
    """

    SMALL = "small"
    MEANS = "means"
    ROWS = "rows"
    PLAIN = "plain"


class Form(StrEnum):
    """What a kernel is measured as: copies in a row, copies side by side, copies behind convolutions, or alone.

    Ends are no kernel: what averages its inputs behind convolutions.
    """

    CHAIN = "chain"
    FAN = "fan"
    BEHIND = "behind"
    ALONE = "alone"
    ENDS = "ends"


@dataclass(frozen=True, slots=True, kw_only=True)
class Surplus:
    """What kernels with such ends are measured to take beyond what they take in a model.

    Args:
        call_us: alone, for the call.
        per_byte_us: alone, per byte that it reads and writes.
        copy_us: for each copy side by side, and for each image that is averaged behind convolutions.
        copy_per_byte_us: for these, per byte that is written.
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
        if kernel.family in CONVOLUTIONS or form_of(kernel) is Form.BEHIND:
            return Ends.MEANS
    return Ends.ROWS if has_row_ends(kernel) else Ends.PLAIN


def form_of(kernel: Kernel) -> Form:
    """As what the kernel is measured: copies need memory for their weights."""
    if _moves_images(kernel):
        return Form.BEHIND
    if kernel.weight_bytes * CHAIN >= MAX_CHAIN_BYTES:
        return Form.ALONE
    if chainable(kernel):
        return Form.CHAIN
    return Form.FAN if can_fan(kernel) else Form.ALONE


def _moves_images(kernel: Kernel) -> bool:
    """Whether its cost is that of the layout and precision which convolutions around it have, and not its own."""
    if kernel.family not in ("pooling", "data_movement") or can_fan(kernel) or not has_small_ends(kernel):
        return False
    return not any(node.op_type in RESHAPING for node in kernel.nodes)


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


def reference_rows(rows: int, columns: int) -> Kernel:
    """Light work over rows that can be chained, and that no provider takes two of for one."""
    shape = (1, rows, columns)
    return Kernel(
        family="normalisation",
        nodes=(KernelNode(op_type="Softmax", inputs=("i0",), outputs=("o0",), attributes=(("axis", -1),)),),
        inputs=(TensorSpec(name="i0", dtype="float32", shape=shape),),
        outputs=(TensorSpec(name="o0", dtype="float32", shape=shape),),
        opset=17,
        flops=5 * rows * columns,
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
        self.estimate_s = self.run()
        if self.estimate_s < SLOW_S:
            self.estimate_s = min(self.estimate_s, self.run(), self.run())

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
    """One kernel: alone, and as copies where it can be; or copies of it behind convolutions, and these without it.

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
        self.samples: list[tuple[float, float]] = []
        opening = (lane, shared_pool, seed)
        if self.form in (Form.BEHIND, Form.ENDS):
            large = (kernel.bytes_read + kernel.bytes_written) * CHAIN >= MAX_CHAIN_BYTES
            self.more = 1 if large else CHAIN
            without, beside = only_convolutions(kernel), behind_convolutions(kernel)
            if self.form is Form.ENDS:
                without, beside = (with_few_pixels(without, whole=whole) for whole in (False, True))
            self.less = self._open(without, *opening, copies=self.more, fan=True)
            self.copies: Bound | None = self._open(beside, *opening, copies=self.more, fan=True)
            return
        self.more = CHAIN - 1
        self.less = self._open(kernel, *opening)
        alone, fan = self.form is Form.ALONE, self.form is Form.FAN
        self.copies = None if alone else self._open(kernel, *opening, copies=CHAIN, fan=fan)

    def _open(
        self, kernel: Kernel, lane: Lane, shared_pool: bool, seed: int, *, copies: int = 1, fan: bool = False
    ) -> Bound:
        model, inputs = build_kernel(kernel, seed=seed, copies=copies, fan=fan), kernel.inputs
        if self.ends in (Ends.SMALL, Ends.MEANS):
            model = with_means(model, kernel)
            if kernel.family in CONVOLUTIONS and self.form not in (Form.BEHIND, Form.ENDS):
                inputs = made_by_convolutions(model, inputs)
            if self.ends is Ends.SMALL:
                inputs = made_of_pixels(model, inputs)
        elif self.ends is Ends.ROWS:
            model = with_row_ends(model, kernel)
        return Bound(model.SerializeToString(), inputs, lane, shared_pool=shared_pool)

    def rounds(self, wanted: int) -> int:
        """Fewer rounds for a slow kernel."""
        each = self.less.estimate_s + (self.copies.estimate_s if self.copies is not None else 0.0)
        return max(LEAST_ROUNDS, min(wanted, int(KERNEL_SECONDS / max(each, 1e-9))))

    def take(self, round_s: float) -> None:
        """One round: (alone or without it, slope over the copies or 0)."""
        less = self.less.sample_us(round_s)
        slope = 0.0
        if self.copies is not None:
            slope = (self.copies.sample_us(round_s) - less) / self.more
        self.samples.append((less, slope))

    @property
    def alone_us(self) -> list[float]:
        """Times alone (or without it), by round."""
        return [alone for alone, _ in self.samples]

    def median_us(self, slower: Sequence[float]) -> tuple[float, float]:
        """Medians of the time alone (or without it) and of the slope; `slower` as of `result`."""
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
        beyond = self._beyond_us(surplus.get(self.ends, Surplus()))
        floor = 0.0 if self.form is Form.BEHIND else FLOOR_SHARE
        rounds = list(zip(self.samples, slower, strict=False))
        calm = [pair for pair in rounds if pair[1] <= CALM]
        costs = []
        for (less, slope), factor in calm if len(calm) >= LEAST_CALM else rounds:
            cost = (less if self.form is Form.ALONE else slope) - beyond * factor
            costs.append(max(cost, floor * less, FLOOR_US) / factor)
        return Measurement(samples_us=tuple(costs))

    def _beyond_us(self, surplus: Surplus) -> float:
        """What is measured beyond the kernel's cost."""
        read, written = self.kernel.bytes_read, self.kernel.bytes_written
        match self.form:
            case Form.CHAIN:
                return 0.0
            case Form.FAN:
                return surplus.copy_us + surplus.copy_per_byte_us * written
            case Form.BEHIND:  # with it outputs are averaged, without it inputs
                more = len(self.kernel.outputs) - len(self.kernel.inputs)
                return surplus.copy_us * more + surplus.copy_per_byte_us * (written - read)
            case Form.ENDS:
                return 0.0
            case Form.ALONE:
                read = min(read, written) if self.kernel.nodes[0].op_type in PICKING else read
                return surplus.call_us + surplus.per_byte_us * (read + written)


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
