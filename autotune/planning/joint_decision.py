"""Whether a joint plan beats every model's own best plan side by side: scores of paired launches."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from autotune.core import Ratio
from autotune.planning.decision import EQUAL, crossed, interval

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
    count = len(scores[reference])

    def best(at: Iterable[int]) -> str:
        return max(joint, key=lambda name: sum(math.log(scores[name][one] or 1.0) for one in at), default="")

    challenger = best(range(count))
    picks = [(best(choosing), report) for choosing, report in crossed(count)]
    gain = _ratio(scores, picks, reference) if challenger else None
    won = gain is not None and gain.low > 1.0
    winner = challenger if won else reference
    chosen = picks if won else [(reference, range(count))]
    over = {name: _ratio(scores, chosen, name) if name != winner else EQUAL for name in scores}
    return JointDecision(
        winner=winner,
        challenger=challenger,
        gain=gain,
        over={name: ratio for name, ratio in over.items() if ratio is not None},
    )


def _ratio(scores: Scores, better: Sequence[tuple[str, range]], base: str) -> Ratio | None:
    """Of what is named for each of these launches over one job."""
    pairs = [(scores[name][at], scores[base][at]) for name, launches in better for at in launches]
    return interval([math.log(new / old) for new, old in pairs if new and old])
