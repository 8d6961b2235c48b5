"""Whether a joint plan beats every model's own best plan side by side: scores of paired launches."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from autotune.core import Ratio
from autotune.planning.decision import EQUAL, cross_fitted

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

    Where there are several, either half of the launches chooses and the other reports on its choice, so that the choice
    does not flatter its own figures.

    Args:
        scores: of the reference, of further baselines, and of joint plans (names that begin with `joint:`).
        reference: what is kept unless a joint plan is better.
    """
    joint = [name for name, launches in scores.items() if name.startswith("joint:") and all(launches)]
    logs = {name: [math.log(score) if score else math.nan for score in own] for name, own in scores.items()}
    count = len(scores[reference])

    def best(at: Iterable[int]) -> str:
        return max(joint, key=lambda name: sum(logs[name][one] for one in at), default="")

    def over(name: str, choose: Callable[[range], str]) -> Ratio | None:
        return cross_fitted(count, choose, lambda chosen, at: logs[chosen][at] - logs[name][at])

    challenger = best(range(count))
    gain = over(reference, best) if challenger else None
    won = gain is not None and gain.low > 1.0
    winner = challenger if won else reference
    found = {name: over(name, best if won else lambda _: reference) if name != winner else EQUAL for name in scores}
    return JointDecision(
        winner=winner,
        challenger=challenger,
        gain=gain,
        over={name: ratio for name, ratio in found.items() if ratio is not None},
    )
