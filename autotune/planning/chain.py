"""Exact answers of the predicted problem: which lane for each kernel of a chain, under an error budget.

`cheapest_chain` is the plain dynamic programme with a price on error (a Lagrangian relaxation): fast enough to
decode every
Optuna trial. `exact_chain` is label-setting for the resource-constrained shortest path (Irnich and Desaulniers,
Shortest
Path Problems with Resource Constraints, 2005): all Pareto labels of (time, error) are kept, pruned by a lower bound
of the
time that remains and by the best feasible chain known.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from autotune.core import Candidate
from autotune.planning.costs import CostTable, Floats

Indices = NDArray[np.int64]
MAX_LABELS = 4_000
PRICE_STEPS = 24


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainOptimum:
    """The best chain of the predicted problem.

    Args:
        candidate: the choice.
        predicted_us: its predicted time.
        error: its predicted squared error in the resource that was limited.
        exact: whether it is the optimum; False when labels had to be thinned out.
    """

    candidate: Candidate
    predicted_us: float
    error: float
    exact: bool


def cheapest_chain(
    table: CostTable, *, price: Floats, cut_penalty_us: float = 0.0, allowed: NDArray[np.bool_] | None = None
) -> Candidate:
    """The chain that minimises time + price·error.

    Args:
        table: what everything costs.
        price: [P] microseconds per unit of squared error of each output part.
        cut_penalty_us: added for every change of lane.
        allowed: [L] lanes that may be used; None allows all.
    """
    cost = table.kernel_us + table.error @ price
    if allowed is not None:
        cost = np.where(allowed[None, :], cost, np.inf)
    count, lanes = cost.shape
    came = np.zeros((count, lanes), dtype=np.int64)
    best = table.entry_us[0] + cost[0]
    off_diagonal = np.where(np.eye(lanes, dtype=bool), 0.0, cut_penalty_us + table.change_us)
    for at in range(1, count):
        change = (best + table.exit_us[at])[:, None] + table.entry_us[at][None, :] + off_diagonal
        np.fill_diagonal(change, best)
        came[at] = change.argmin(axis=0)
        best = change[came[at], np.arange(lanes)] + cost[at]
    return table.choose(_trace(came, int((best + table.exit_us[count]).argmin())))


def _trace(came: Indices, last: int) -> list[int]:
    chosen = [last]
    for at in range(came.shape[0] - 1, 0, -1):
        chosen.append(int(came[at, chosen[-1]]))
    return chosen[::-1]


def exact_chain(
    table: CostTable, *, weights: Floats, budget: float, max_labels: int = MAX_LABELS
) -> ChainOptimum | None:
    """The fastest chain whose weighted squared error stays within the budget.

    Args:
        table: what everything costs.
        weights: [P] weight of each output part in the limited resource.
        budget: largest allowed value of sum over kernels of error·weights.
        max_labels: Pareto labels kept per kernel and lane.

    Returns:
        The optimum, or None where no chain meets the budget.
    """
    error = table.error @ weights
    remaining_us = _remaining(table.kernel_us, table)
    remaining_error = _remaining_error(error, table)
    upper_us = _feasible_us(table, weights, budget)
    count, lanes = error.shape
    times = [np.array([table.entry_us[0, lane] + table.kernel_us[0, lane]]) for lane in range(lanes)]
    errors = [np.array([error[0, lane]]) for lane in range(lanes)]
    parents: list[list[tuple[Indices, Indices]]] = [[(np.array([-1]), np.array([-1]))] * lanes]
    thinned = False
    for at in range(1, count):
        leaving = [times[lane] + table.exit_us[at, lane] for lane in range(lanes)]
        all_leaving, all_errors = np.concatenate(leaving), np.concatenate(errors)
        all_lane = np.concatenate([np.full(len(t), lane) for lane, t in enumerate(times)])
        all_index = np.concatenate([np.arange(len(t)) for t in times])
        new_times, new_errors, new_parents = [], [], []
        arrivals: dict[bytes, tuple[Floats, Indices]] = {}
        for lane in range(lanes):
            changes = table.change_us[:, lane]
            key = changes.tobytes()  # the same for all lanes of a processor
            if key not in arrivals:
                arriving = all_leaving + changes[all_lane]
                arrivals[key] = arriving, _pareto(arriving, all_errors)
            arriving, keep = arrivals[key]
            time = np.concatenate([times[lane], arriving[keep] + table.entry_us[at, lane]]) + table.kernel_us[at, lane]
            spent = np.concatenate([errors[lane], all_errors[keep]]) + error[at, lane]
            from_lane = np.concatenate([np.full(len(times[lane]), lane), all_lane[keep]])
            from_index = np.concatenate([np.arange(len(times[lane])), all_index[keep]])
            alive = (time + remaining_us[at + 1, lane] <= upper_us) & (spent + remaining_error[at + 1] <= budget)
            alive_at = np.flatnonzero(alive)
            kept = alive_at[_pareto(time[alive_at], spent[alive_at])]
            if len(kept) > max_labels:
                kept = kept[np.linspace(0, len(kept) - 1, max_labels).astype(np.int64)]
                thinned = True
            new_times.append(time[kept])
            new_errors.append(spent[kept])
            new_parents.append((from_lane[kept], from_index[kept]))
        times, errors = new_times, new_errors
        parents.append(new_parents)
    return _best(table, times, errors, parents, budget=budget, exact=not thinned)


def _best(
    table: CostTable,
    times: list[Floats],
    errors: list[Floats],
    parents: list[list[tuple[Indices, Indices]]],
    *,
    budget: float,
    exact: bool,
) -> ChainOptimum | None:
    found: tuple[float, int, int] | None = None
    for lane, (time, spent) in enumerate(zip(times, errors, strict=True)):
        finished = np.where(spent <= budget, time + table.exit_us[table.kernels, lane], np.inf)
        if len(finished) and np.isfinite(finished.min()) and (found is None or finished.min() < found[0]):
            found = (float(finished.min()), lane, int(finished.argmin()))
    if found is None:
        return None
    predicted_us, lane, index = found
    error = float(errors[lane][index])
    chosen = [lane]
    for at in range(table.kernels - 1, 0, -1):
        from_lane, from_index = parents[at][lane]
        lane, index = int(from_lane[index]), int(from_index[index])
        chosen.append(lane)
    return ChainOptimum(candidate=table.choose(chosen[::-1]), predicted_us=predicted_us, error=error, exact=exact)


def _pareto(time: Floats, error: Floats) -> Indices:
    """Indices of the labels that no other beats in both, by rising time."""
    if not len(time):
        return np.zeros(0, dtype=np.int64)
    order = np.lexsort((error, time))
    order = order[np.isfinite(time[order])]
    lowest = np.minimum.accumulate(error[order])
    better = np.ones(len(order), dtype=bool)
    better[1:] = error[order][1:] < lowest[:-1]
    return order[better]


def _remaining(cost: Floats, table: CostTable) -> Floats:
    """[K + 1, L] least time from cut k to the end, for a stage that runs on lane l when it reaches the cut."""
    count, lanes = cost.shape
    least = np.zeros((count + 1, lanes))
    least[count] = table.exit_us[count]
    for at in range(count - 1, 0, -1):
        stay = cost[at] + least[at + 1]
        elsewhere = (table.change_us + (table.entry_us[at] + stay)[None, :]).min(axis=1)
        least[at] = np.minimum(stay, table.exit_us[at] + elsewhere)
    return least


def _remaining_error(error: Floats, table: CostTable) -> Floats:
    """[K + 1] least error that the kernels from cut k on must add."""
    possible = np.where(np.isfinite(table.kernel_us), error, np.inf).min(axis=1)
    return np.concatenate([np.cumsum(possible[::-1])[::-1], [0.0]])


def _feasible_us(table: CostTable, weights: Floats, budget: float) -> float:
    """Time of a feasible chain, found by bisection on the price of error; inf where none was found."""
    low, high, best = 0.0, 1.0, np.inf
    scale = float(np.nansum(np.where(np.isfinite(table.kernel_us), table.kernel_us, 0.0))) / max(budget, 1e-30)
    for _ in range(PRICE_STEPS):
        price = low if high == 1.0 and low == 0.0 else (low + high) / 2
        candidate = cheapest_chain(table, price=weights * price * scale)
        feasible = float(table.candidate_error(candidate) @ weights) <= budget
        if feasible:
            best = min(best, table.candidate_us(candidate))
            high = price
            if price == 0.0:
                break
        else:
            low = max(price, 1e-9)
    return best * (1 + 1e-12)
