"""Who won: paired ratios over process launches, chosen on one half and reported on the other."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from autotune.core import Failure, Measurement, Ratio

LaunchTimes = Mapping[str, Sequence[Measurement | Failure]]
"""Job name -> one result per launch; launch i of every job is the same launch."""

CONFIDENCE = 0.95
DISTURBED = 1.2
"""Times its own fastest launch from where on a job counts as slowed; launches as such differ by 2–7 %."""
EVEN = 1.01
"""Speedup under which two single sessions count as even."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """The outcome of a decided comparison.

    Args:
        winner: name of the winning job.
        best_single: the fastest job of one session, on the choosing half.
        challenger: the fastest on the choosing half; differs from the winner where its gain was not distinguishable.
        over: speedup of the winner over each job that was asked for, by name.
        challenger_gain: speedup of the challenger over the best simple one, on the reporting half; None if it is
        that one.
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


def _half(times: LaunchTimes, which: int) -> dict[str, list[Measurement | Failure]]:
    return {name: list(results)[which::2] for name, results in times.items()}


def _level(results: Sequence[Measurement | Failure]) -> float:
    medians = [result.median_us for result in results if isinstance(result, Measurement)]
    return float(np.exp(np.mean(np.log(medians)))) if medians and len(medians) == len(results) else math.inf


def decide_winner(times: LaunchTimes, *, ranks: Sequence[Sequence[str]], against: Sequence[str]) -> Decision:
    """The winner under the rule that the simpler one wins unless the gain is distinguishable.

    The fastest of each rank is chosen on the even launches. The first two ranks are one session each, as simple as each
    other: the fastest of them leads, the first rank where they are even. From there to the most complicated rank, a
    rank's fastest takes the lead only if its speedup over the leader, on the odd launches, has an interval above 1.

    Args:
        times: results by job and launch.
        ranks: job names, simplest rank first (default; single processors; partitions); a name may be missing in
        `times`.
        against: jobs over which the winner's speedup is reported.

    Raises:
        ValueError: no job of any rank has a complete set of launches.
    """
    choosing, reporting = _half(times, 0), _half(times, 1)
    if not any(reporting.values()):
        reporting = choosing
    levels = {name: level for name, results in choosing.items() if math.isfinite(level := _level(results))}
    ready = [[name for name in rank if name in levels] for rank in ranks]
    single = min((name for rank in ready[:2] for name in rank), key=lambda name: levels[name], default="")
    simplest = min(ready[0], key=lambda name: levels[name], default=single)
    leader = single if single and levels[simplest] > EVEN * levels[single] else simplest
    challenger, gain = leader, None
    for rank in ready[2:]:
        fastest = min(rank, key=lambda name: levels[name], default="")
        if not leader or not fastest:
            leader = challenger = leader or fastest
            continue
        ratio = speedup(reporting[leader], reporting[fastest])
        if ratio is None:
            continue
        if levels[fastest] <= levels[challenger]:
            challenger, gain = fastest, ratio
        if ratio.low > 1.0:
            leader = fastest
    if not leader:
        raise ValueError("no job finished all its launches")
    over = {name: speedup(reporting[name], reporting[leader]) for name in against if name in times}
    return Decision(
        winner=leader,
        best_single=single,
        challenger=challenger,
        over={name: ratio for name, ratio in over.items() if ratio is not None},
        challenger_gain=gain,
    )
