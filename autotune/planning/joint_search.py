"""Which joint plans are worth measuring: all combinations where they are few, an Optuna study where they are many."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator

from autotune.core import Sharing
from autotune.planning.joint import Groups, JointProposal, JointSpace

MOST_ENUMERATED = 30_000
TRIALS = 600
KEPT = 200


def shortlist(space: JointSpace, *, most: int, seed: int = 0) -> tuple[list[JointProposal], int]:
    """The joint plans that are predicted to be best.

    The best of each way to share comes first: predictions rank like with like better than ways against each other.

    Args:
        space: what can be combined.
        most: how many to give.
        seed: of the study.

    Returns:
        Proposals, and how many were compared.
    """
    compared = 0
    best: dict[str, JointProposal] = {}
    for proposal in _all(space) if _count(space) <= MOST_ENUMERATED else _studied(space, seed):
        compared += 1
        best.setdefault(proposal.candidate.hash, proposal)
        if len(best) > 2 * KEPT:
            best = {p.candidate.hash: p for p in _ranked(best.values())[:KEPT]}
    ranked = _ranked(best.values())
    first = [next((p for p in ranked if p.candidate.sharing is sharing), None) for sharing in Sharing]
    leaders = _ranked(p for p in first if p is not None)
    rest = [p for p in ranked if all(p is not leader for leader in leaders)]
    return (leaders + rest)[:most], compared


def _ranked(proposals: Iterable[JointProposal]) -> list[JointProposal]:
    return sorted(proposals, key=lambda p: -p.score)


def _count(space: JointSpace) -> float:
    """At least as many combinations as there are."""
    models = len(space.options)
    return math.prod(map(len, space.options)) * (len(list(partitions(models))) + 1 if models < 8 else math.inf)


def partitions(count: int) -> Iterator[Groups]:
    """All ways to divide models 0..count-1 into groups."""
    if count == 0:
        yield ()
        return
    for smaller in partitions(count - 1):
        yield (*smaller, (count - 1,))
        for at, group in enumerate(smaller):
            yield (*smaller[:at], (*group, count - 1), *smaller[at + 1 :])


def _all(space: JointSpace) -> Iterator[JointProposal]:
    for chosen in itertools.product(*space.options):
        yield space.free(chosen)
        for groups in partitions(len(space.options)):
            proposal = space.arranged(groups, chosen)
            if proposal is not None:
                yield proposal


def _studied(space: JointSpace, seed: int) -> Iterator[JointProposal]:
    """What an Optuna study tries; the score of what cannot be is 0."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=seed))
    models = len(space.options)
    for start in (range(models), [0] * models):
        study.enqueue_trial({f"group {at}": group for at, group in enumerate(start)} | {"free": False})
    for _ in range(TRIALS):
        trial = study.ask()
        chosen = [
            options[trial.suggest_categorical(f"option {at}", range(len(options)))]
            for at, options in enumerate(space.options)
        ]
        proposal: JointProposal | None
        if trial.suggest_categorical("free", [False, True]):
            proposal = space.free(chosen)
        else:
            where = [trial.suggest_int(f"group {at}", 0, models - 1) for at in range(models)]
            groups = tuple(tuple(at for at in range(models) if where[at] == group) for group in dict.fromkeys(where))
            proposal = space.arranged(groups, chosen)
        study.tell(trial, proposal.score if proposal is not None else 0.0)
        if proposal is not None:
            yield proposal
