"""The least time that lanes could need for a model together, if sharing its kernels cost nothing at all."""

from __future__ import annotations

import numpy as np

from autotune.planning.costs import Floats


def ideal_us(kernel_us: Floats) -> float:
    """Largest load of a lane where every kernel is shared out among the lanes in the best proportions.

    No plan ends before: each gives every kernel, or its parts, to lanes. The linear relaxation of scheduling on
    unrelated machines (Lenstra, Shmoys and Tardos 1990); milliseconds for hundreds of kernels.

    Args:
        kernel_us: [K, L] cost of each kernel on each lane, finite.
    """
    from scipy.optimize import linprog
    from scipy.sparse import csr_array

    count, lanes = kernel_us.shape
    unit = float(kernel_us.mean()) or 1.0
    columns = np.arange(count * lanes)  # the share of each kernel on each lane; behind them the largest load
    costs = kernel_us.ravel() / unit
    of_lane = np.concatenate([columns % lanes, np.arange(lanes)])
    loads = csr_array(
        (np.concatenate([costs, -np.ones(lanes)]), (of_lane, np.concatenate([columns, np.full(lanes, count * lanes)])))
    )
    whole = csr_array((np.ones(count * lanes), (columns // lanes, columns)), shape=(count, count * lanes + 1))
    found = linprog(
        np.append(np.zeros(count * lanes), 1.0),
        A_ub=loads,
        b_ub=np.zeros(lanes),
        A_eq=whole,
        b_eq=np.ones(count),
        method="highs",
    )
    return float(found.fun) * unit if found.success else least_ideal_us(kernel_us)


def least_ideal_us(kernel_us: Floats) -> float:
    """What `ideal_us` cannot be under, by the dual program with each lane weighed by its speed: without a solver.

    Exact where the lanes are equally good at every kernel.

    Args:
        kernel_us: [K, L] as of `ideal_us`.
    """
    speed = 1 / kernel_us.sum(axis=0)
    return float((kernel_us * speed).min(axis=1).sum() / speed.sum())
