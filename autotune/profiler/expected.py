"""How long measuring a kernel will take, by the protocol of `kernels.py` and `probes.py`."""

from __future__ import annotations

from autotune.core import Kernel
from autotune.profiler.probes import CHAIN, KERNEL_SECONDS, LEAST_ROUNDS, Form, form_of

OPENING_S = 0.02
"""Seconds to make one small session; a provider that compiles takes longer, which whoever measures learns."""
OPENING_RUNS = 4
"""Runs of each session before its first round."""


def expected_seconds(kernel: Kernel, latency_us: float, *, rounds: int = 12, round_s: float = 0.003) -> float:
    """Seconds to measure a kernel that takes about this long (`profile_kernels` with the same rounds).

    Args:
        kernel: what is measured; it is timed as copies too where it can be.
        latency_us: expected, or as measured.
        rounds: as for `profile_kernels`.
        round_s: likewise.
    """
    run_s = latency_us / 1e6
    sessions = [run_s] if form_of(kernel) is Form.ALONE else [run_s, CHAIN * run_s]
    taken = max(LEAST_ROUNDS, min(rounds, int(KERNEL_SECONDS / max(sum(sessions), 1e-9))))
    opening_s = len(sessions) * OPENING_S + OPENING_RUNS * sum(sessions)
    return opening_s + taken * sum(each + max(round_s, each) for each in sessions)
