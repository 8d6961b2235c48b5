"""What kernels are measured to take beyond their cost, per lane and kind of ends, in each process anew.

Measured on kernels that compute so little that it is not lost in their noise: the call and its bytes on light work that
can be chained, averaging behind convolutions as the difference of two models that only differ in that.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from autotune.core import Kernel, Lane
from autotune.profiler.following import Following
from autotune.profiler.probes import (
    Ends,
    Form,
    Probe,
    Surplus,
    reference_kernel,
    reference_product,
    reference_rows,
)
from autotune.profiler.sentinel import Sentinel, slowness

IMAGES = tuple(reference_kernel(*size) for size in ((16, 16), (16, 80), (32, 112), (64, 40)))
ROWS = tuple(reference_product(*size) for size in ((16, 64), (128, 256), (512, 64), (1024, 128)))
LIGHT = tuple(reference_rows(*size) for size in ((16, 64), (128, 256), (512, 256), (1024, 512)))
"""Kernels with a chain, which show what kernels alone pay: in a product that is lost in what it computes."""
AVERAGED = tuple(reference_kernel(*size) for size in ((16, 16), (64, 14), (64, 28), (64, 56)))
"""Kernels whose inputs are averaged behind convolutions; beyond 1 MB a convolution is faster where nobody reads what it
writes, which is no cost of averaging."""


def measure_surplus(
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

    def opened(form: Form, kernels: Sequence[Kernel]) -> list[Probe]:
        return [Probe(kernel, lane, shared_pool=shared, seed=seed, form=form) for kernel in kernels]

    images = kind in (Ends.SMALL, Ends.MEANS)
    lone = opened(Form.CHAIN, IMAGES if images else LIGHT)
    ends = opened(Form.ENDS, AVERAGED if images else ())
    fans, chains = (opened(form, () if images else ROWS) for form in (Form.FAN, Form.CHAIN))
    probes = [*lone, *ends, *fans, *chains]
    marks = [sentinel.mark()]
    for _ in range(rounds):
        for probe in probes:
            probe.take(round_s)
        marks.append(sentinel.mark())
    slower = following.after((probe.alone_us for probe in probes), slowness(marks, sentinel.fastest))

    def slopes(those: Sequence[Probe]) -> list[float]:
        return [probe.median_us(slower)[1] for probe in those]

    moved = [probe.kernel.bytes_read + probe.kernel.bytes_written for probe in lone]
    beyond = [alone - slope for alone, slope in (probe.median_us(slower) for probe in lone)]
    apart = slopes(ends) if images else [copy - slope for copy, slope in zip(slopes(fans), slopes(chains), strict=True)]
    averaged = [probe.kernel.bytes_read for probe in ends] or [probe.kernel.bytes_written for probe in fans]
    (call_us, per_byte_us), (copy_us, copy_per_byte_us) = _line(moved, beyond), _line(averaged, apart)
    return Surplus(call_us=call_us, per_byte_us=per_byte_us, copy_us=copy_us, copy_per_byte_us=copy_per_byte_us)


def _line(sizes: Sequence[float], found_us: Sequence[float]) -> tuple[float, float]:
    """Level and slope of a line through these times, neither negative; relative errors count, down to 5 µs."""
    from scipy.optimize import nnls

    found = np.maximum(found_us, 0.0)
    weight = 1 / np.maximum(found, 5.0)
    solution, _ = nnls(np.stack([np.ones_like(weight), sizes], axis=1) * weight[:, None], found * weight)
    return float(solution[0]), float(solution[1])
