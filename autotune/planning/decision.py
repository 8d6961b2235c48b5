"""Who won: paired ratios over process launches; either half chooses, and the other reports on its choice."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from autotune.core import Failure, Measurement, Ratio

LaunchTimes = Mapping[str, Sequence[Measurement | Failure]]
"""Job name -> one result per launch; launch i of every job is the same launch."""

CONFIDENCE = 0.97
"""Of an interval. Halves that report on each other's choice are not independent, and further launches are a second
look: with both, of equal plans at most 5 % are called faster (`benchmarks/power.py`: 4.3 %)."""
DISTURBED = 1.2
"""Times its own fastest launch from where on a job counts as slowed; launches as such differ by 2–7 %."""
EVEN = 1.01
"""Speedup under which two single sessions count as even."""


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


def crossed(count: int) -> list[tuple[range, range]]:
    """Positions of the launches that choose, and of those that report on their choice: each half does both.

    So no launch reports on a choice that it had a part in, and all of them report (cross-fitting; Chernozhukov et al.,
    The Econometrics Journal 21, 2018).
    """
    even, odd = range(0, count, 2), range(1, count, 2)
    return [(even, odd), (odd, even)] if odd else [(even, even)]


def decide_winner(times: LaunchTimes, *, ranks: Sequence[Sequence[str]], against: Sequence[str]) -> Decision:
    """The winner under the rule that the simpler one wins unless the gain is distinguishable.

    The first two ranks are one session each, as simple as each other: the fastest of them leads, the first rank where
    they are even. The fastest of the further ranks wins only if its speedup over the leader has an interval above 1.
    Speedups are of what one half of the launches chooses, on the other half, both ways.

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
    picks = [(_pick(complete, ready, choosing), reporting) for choosing, reporting in crossed(count)]
    single, leader, challenger = _pick(complete, ready, range(count))
    gain = None
    if leader and challenger:
        gain = interval([complete[own][at] - complete[new][at] for (_, own, new), report in picks for at in report])
        if gain is not None and gain.ratio < 1:
            challenger, gain = "", None
    won = bool(challenger) and (not leader or (gain is not None and gain.low > 1.0))
    winner = challenger if won else leader
    if not winner:
        raise ValueError("no job finished all its launches")
    over: dict[str, Ratio | None] = {}
    for name in against:
        base = found.get(name, [])
        chosen = [(pick[2] if won else pick[1], report) for pick, report in picks]
        pairs = [(base[at], complete[own][at]) for own, report in chosen for at in report if at < len(base)]
        over[name] = interval([old - new for old, new in pairs if not math.isnan(old)])
    known = {winner: EQUAL} | ({leader: gain} if won and leader else {})
    over |= {name: ratio for name, ratio in known.items() if name in over}
    return Decision(
        winner=winner,
        best_single=single,
        challenger=challenger or winner,
        over={name: ratio for name, ratio in over.items() if ratio is not None},
        challenger_gain=gain,
    )


EQUAL = Ratio(ratio=1.0, low=1.0, high=1.0)


def _logs(results: Sequence[Measurement | Failure]) -> list[float]:
    """Logarithm of each launch's median; `math.nan` where it failed."""
    return [math.log(result.median_us) if isinstance(result, Measurement) else math.nan for result in results]


def _pick(times: Mapping[str, Sequence[float]], ranks: Sequence[Sequence[str]], at: range) -> tuple[str, str, str]:
    """By these launches: the fastest of one session, the one that leads, the fastest of the further ranks."""
    levels = {name: float(np.mean([logs[one] for one in at])) for name, logs in times.items()}

    def fastest(names: Iterable[str], otherwise: str = "") -> str:
        return min(names, key=levels.__getitem__, default=otherwise)

    single = fastest(itertools.chain(*ranks[:2]))
    simplest = fastest(ranks[0], single)
    leads = single and levels[simplest] > levels[single] + math.log(EVEN)
    return single, single if leads else simplest, fastest(itertools.chain(*ranks[2:]))
