"""Whether a joint plan beats every model's own best plan side by side: scores of paired launches."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from autotune.core import Ratio
from autotune.planning.decision import interval

Scores = Mapping[str, Sequence[float | None]]
"""Job name -> score of each launch, None where it failed; more is better."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JointDecision:
    """The outcome.

    Args:
        winner: name of the winning job.
        challenger: the best joint plan; empty where there is none.
        gain: of the challenger over the reference; None where there is no interval.
        over: of the winner over each job, by name.
    """

    winner: str
    challenger: str
    gain: Ratio | None
    over: Mapping[str, Ratio]


def decide_joint(scores: Scores, *, reference: str) -> JointDecision:
    """The best joint plan wins if its gain over the reference is surely above 1.

    Where there are several, the even launches choose and the odd ones report, so that the choice does not flatter its
    own figures. A single one was chosen before: all launches report.

    Args:
        scores: of the reference, of further baselines, and of joint plans (names that begin with `joint:`).
        reference: what is kept unless a joint plan is better.
    """
    joint = [name for name, launches in scores.items() if name.startswith("joint:") and all(launches)]
    several = len(joint) > 1
    challenger = max(joint, key=lambda name: _level(scores[name][0::2] if several else scores[name]), default="")
    reported = {name: launches[1::2] if several else launches for name, launches in scores.items()}
    gain = _ratio(reported, challenger, reference) if challenger else None
    winner = challenger if gain is not None and gain.low > 1.0 else reference
    over = {name: _ratio(reported, winner, name) for name in reported}
    return JointDecision(
        winner=winner,
        challenger=challenger,
        gain=gain,
        over={name: ratio for name, ratio in over.items() if ratio is not None},
    )


def _level(launches: Sequence[float | None]) -> float:
    return sum(math.log(score) for score in launches if score)


def _ratio(scores: Scores, better: str, base: str) -> Ratio | None:
    pairs = zip(scores[better], scores[base], strict=True)
    return interval([math.log(new / old) for new, old in pairs if new and old])
