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
EVEN = 1.02
"""Speedup under which two single sessions count as even."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """The outcome of a decided comparison.

    Args:
        winner: name of the winning job.
        challenger: the fastest on the choosing half; differs from the winner where its gain was not distinguishable.
        over: speedup of the winner over each job that was asked for, by name.
        challenger_gain: speedup of the challenger over the best simple one, on the reporting half; None if it is
        that one.
    """

    winner: str
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
    if len(logs) < 2:
        return None
    mean = float(np.mean(logs))
    from scipy.special import stdtrit

    reach = float(stdtrit(len(logs) - 1, 0.5 + CONFIDENCE / 2)) * float(np.std(logs, ddof=1)) / len(logs) ** 0.5
    return Ratio(ratio=math.exp(mean), low=math.exp(mean - reach), high=math.exp(mean + reach))


def _half(times: LaunchTimes, which: int) -> dict[str, list[Measurement | Failure]]:
    return {name: list(results)[which::2] for name, results in times.items()}


def _level(results: Sequence[Measurement | Failure]) -> float:
    medians = [result.median_us for result in results if isinstance(result, Measurement)]
    return float(np.exp(np.mean(np.log(medians)))) if medians and len(medians) == len(results) else math.inf


def decide_winner(times: LaunchTimes, *, ranks: Sequence[Sequence[str]], against: Sequence[str]) -> Decision:
    """The winner under the rule that the simpler one wins unless the gain is distinguishable.

    The fastest of each rank is chosen on the even launches. From the simplest rank to the most complicated, a rank's
    fastest takes the lead only if its speedup over the leader, on the odd launches, has an interval above 1. For the
    second rank (still one session, so that the choice costs its user nothing) being faster by `EVEN` on both halves is
    enough.

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
    leader, challenger, gain = "", "", None
    for number, rank in enumerate(ranks):
        names = [name for name in rank if name in times and math.isfinite(_level(choosing[name]))]
        if not names:
            continue
        fastest = min(names, key=lambda name: _level(choosing[name]))
        if not leader:
            leader = challenger = fastest
            continue
        ratio = speedup(reporting[leader], reporting[fastest])
        if ratio is not None and (not challenger or _level(choosing[fastest]) <= _level(choosing[challenger])):
            challenger, gain = fastest, ratio
        if ratio is None:
            continue
        consistent = min(ratio.ratio, _level(choosing[leader]) / _level(choosing[fastest])) > EVEN
        if ratio.low > 1.0 or (number == 1 and consistent):
            leader = fastest
    if not leader:
        raise ValueError("no job finished all its launches")
    over = {name: speedup(reporting[name], reporting[leader]) for name in against if name in times}
    return Decision(
        winner=leader,
        challenger=challenger,
        over={name: ratio for name, ratio in over.items() if ratio is not None},
        challenger_gain=gain,
    )
