"""How long measuring a kernel will take, by the protocol of `kernels.py` and `probes.py`."""

from __future__ import annotations

from autotune.core import Kernel
from autotune.profiler.probes import CHAIN, KERNEL_SECONDS, LEAST_ROUNDS, SLOW_S, Form, form_of

OPENING_S = 0.02
"""Seconds to make one small session; a provider that compiles takes longer, which whoever measures learns."""
OPENING_RUNS = 3
"""Runs of each session before its first round; a slow one's first says enough."""
USUAL_ROUNDS, ROUGH_ROUNDS = 8, 4
"""After which a median has mostly settled, and that of a kernel that is only learnt from."""


def expected_seconds(kernel: Kernel, latency_us: float, *, rough: bool = False, round_s: float = 0.003) -> float:
    """Seconds to measure a kernel that takes about this long.

    Args:
        kernel: what is measured; it is timed as copies too where it can be.
        latency_us: expected, or as measured.
        rough: whether it is only learnt from, as for `profile_kernels`.
        round_s: as for `profile_kernels`.
    """
    run_s = latency_us / 1e6
    sessions = {Form.ALONE: [run_s], Form.BEHIND: [CHAIN * run_s, 2 * CHAIN * run_s]}.get(
        form_of(kernel), [run_s, CHAIN * run_s]
    )
    rounds = ROUGH_ROUNDS if rough else USUAL_ROUNDS
    taken = max(LEAST_ROUNDS, min(rounds, int(KERNEL_SECONDS / max(sum(sessions), 1e-9))))
    opening_s = sum(OPENING_S + each * (OPENING_RUNS if each < SLOW_S else 1) for each in sessions)
    waking_s = sum(each for each in sessions if each < SLOW_S)
    return opening_s + taken * (waking_s + sum(max(round_s, each) for each in sessions))
