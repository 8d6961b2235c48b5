"""Who won: paired ratios over process launches; either half chooses, and the other reports on its choice."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple, TypeVar

import numpy as np

from autotune.core import Failure, Measurement, Ratio

Choice = TypeVar("Choice")
LaunchTimes = Mapping[str, Sequence[Measurement | Failure]]
"""Job name -> one result per launch; launch i of every job is the same launch."""

CONFIDENCE = 0.97
"""Of an interval. Halves that report on each other's choice are not independent, and further launches are a second
look: with both, of equal plans at most 5 % are called faster (`benchmarks/power.py`: 4.3 %)."""
DISTURBED = 1.2
"""Times its own fastest launch from where on a job counts as slowed; launches as such differ by 2–7 %."""
EVEN = 1.01
"""Speedup under which two single sessions count as even."""
EQUAL = Ratio(ratio=1.0, low=1.0, high=1.0)
"""Of a job over itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """The outcome of a decided comparison.

    Args:
        winner: name of the winning job.
        best_single: the fastest job of one session.
        challenger: the fastest partition if it is faster; differs from the winner where its gain was not
            distinguishable. The winner where there is none.
        over: speedup of the winner over each job that was asked for, by name.
        challenger_gain: speedup of the challenger over the best simple one; None without either, or an interval.
    """

    winner: str
    best_single: str
    challenger: str
    over: Mapping[str, Ratio]
    challenger_gain: Ratio | None


def speedup(base: Sequence[Measurement | Failure], new: Sequence[Measurement | Failure]) -> Ratio | None:
    """How many times faster `new` is than `base`: geometric mean of paired ratios, Student's t interval over launches.

    Returns:
        None where fewer than two launches have both: there is no interval then.
    """
    logs = [
        math.log(old.median_us / young.median_us)
        for old, young in zip(base, new, strict=True)
        if isinstance(old, Measurement) and isinstance(young, Measurement)
    ]
    return interval(logs)


def interval(logs: Sequence[float]) -> Ratio | None:
    """Geometric mean of ratios given as logarithms, with Student's t interval; None for fewer than two launches."""
    if len(logs) < 2:
        return None
    mean = float(np.mean(logs))
    from scipy.special import stdtrit

    reach = float(stdtrit(len(logs) - 1, 0.5 + CONFIDENCE / 2)) * float(np.std(logs, ddof=1)) / len(logs) ** 0.5
    return Ratio(ratio=math.exp(mean), low=math.exp(mean - reach), high=math.exp(mean + reach))


def undisturbed(times: LaunchTimes) -> list[int]:
    """Launches in which the machine was not slower as a whole: positions, all of them where nothing was disturbed.

    What else a machine does slows all jobs of a launch, since they are interleaved; a job that is slow on its own
    says something about itself. So a launch is disturbed where at least half of its jobs took `DISTURBED` times their
    own fastest launch, whichever jobs those are.
    """
    levels = [
        [result.median_us if isinstance(result, Measurement) else math.nan for result in results]
        for results in times.values()
    ]
    slowed = [np.asarray(row) > DISTURBED * np.nanmin(row) for row in levels if not np.isnan(row).all()]
    if not slowed:
        return list(range(max((len(row) for row in levels), default=0)))
    return [at for at, share in enumerate(np.mean(slowed, axis=0)) if share < 0.5]


def calm(times: LaunchTimes, *, least: int) -> dict[str, list[Measurement | Failure]]:
    """The launches that were not disturbed; all of them where fewer than `least` would be left."""
    good = undisturbed(times)
    return {
        name: [results[at] for at in good] if len(good) >= least else list(results) for name, results in times.items()
    }


def cross_fitted(
    count: int, choose: Callable[[range], Choice], log_gain: Callable[[Choice, int], float]
) -> Ratio | None:
    """The gain of choosing by launches: either half chooses, and the other reports on its choice.

    So no launch reports on a choice that it had a part in, and all of them report (Chernozhukov et al., The
    Econometrics Journal 21, 2018).

    Args:
        count: of launches.
        choose: by the launches at these positions.
        log_gain: logarithm of a choice's gain in the launch at a position; `math.nan` where it is not known.
    """
    even, odd = range(0, count, 2), range(1, count, 2)
    halves = [(even, odd), (odd, even)] if odd else [(even, even)]
    logs = [log_gain(choice, at) for chooses, reports in halves for choice in [choose(chooses)] for at in reports]
    return interval([log for log in logs if not math.isnan(log)])


class Pick(NamedTuple):
    """The fastest job of one session, the one that leads, and the fastest partition; empty where there is none."""

    single: str
    leader: str
    partition: str


def decide_winner(times: LaunchTimes, *, ranks: Sequence[Sequence[str]], against: Sequence[str]) -> Decision:
    """The winner under the rule that the simpler one wins unless the gain is distinguishable.

    The first two ranks are one session each, as simple as each other: the fastest of them leads, the first rank where
    they are even. The fastest of the further ranks wins only if its speedup over the leader has an interval above 1.
    Speedups are `cross_fitted`.

    Args:
        times: results by job and launch; one that failed in a launch cannot win.
        ranks: job names, simplest rank first (default; single processors; partitions); a name may be missing in
            `times`.
        against: jobs over which the winner's speedup is reported.

    Raises:
        ValueError: no job of any rank has a complete set of launches.
    """
    found = {name: _logs(results) for name, results in times.items()}
    complete = {name: logs for name, logs in found.items() if logs and not np.isnan(logs).any()}
    count = max(map(len, complete.values()), default=0)
    ready = [[name for name in rank if name in complete] for rank in ranks]
    choose = partial(_pick, complete, ready)
    single, leader, challenger = choose(range(count))
    gain = None
    if leader and challenger:
        gain = cross_fitted(count, choose, lambda pick, at: found[pick.leader][at] - found[pick.partition][at])
        if gain is not None and gain.ratio < 1:
            challenger, gain = "", None
    won = bool(challenger) and (not leader or (gain is not None and gain.low > 1.0))
    winner = challenger if won else leader
    if not winner:
        raise ValueError("no job finished all its launches")

    def over(name: str) -> Ratio | None:
        if name == winner:
            return EQUAL
        if won and name == leader:
            return gain
        return cross_fitted(
            count, choose, lambda pick, at: found[name][at] - found[pick.partition if won else pick.leader][at]
        )

    speedups = {name: over(name) for name in against if name in found}
    return Decision(
        winner=winner,
        best_single=single,
        challenger=challenger or winner,
        over={name: ratio for name, ratio in speedups.items() if ratio is not None},
        challenger_gain=gain,
    )


def _logs(results: Sequence[Measurement | Failure]) -> list[float]:
    """Logarithm of each launch's median; `math.nan` where it failed."""
    return [math.log(result.median_us) if isinstance(result, Measurement) else math.nan for result in results]


def _pick(times: Mapping[str, Sequence[float]], ranks: Sequence[Sequence[str]], at: range) -> Pick:
    """What these launches choose."""
    levels = {name: float(np.mean([logs[one] for one in at])) for name, logs in times.items()}

    def fastest(names: Iterable[str], otherwise: str = "") -> str:
        return min(names, key=levels.__getitem__, default=otherwise)

    single = fastest(itertools.chain(*ranks[:2]))
    simplest = fastest(ranks[0], single)
    leads = single and levels[simplest] > levels[single] + math.log(EVEN)
    partition = fastest(itertools.chain(*ranks[2:]))
    return Pick(single=single, leader=single if leads else simplest, partition=partition)
