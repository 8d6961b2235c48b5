"""What a joint search returns, and its JSON contract: that of one model, with sections per model."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from autotune.api.result import SCHEMA_VERSION, SearchResult, ratio_json, result_of, timing_json
from autotune.api.together_delivery import share_of
from autotune.api.together_run import ALL_DEFAULT, SIDE_BY_SIDE, JointRun
from autotune.core import Fairness, JointMember, JointPlan, Plan, Share, Sharing
from autotune.core.codec import encode


@dataclass(frozen=True, slots=True, kw_only=True)
class JointBaseline:
    """A way to serve all models that the joint plan was compared with.

    Args:
        name: `side_by_side` or `default`.
        score: of the objective; None where it could not run.
        shares: what each model got, in the plan's order.
    """

    name: str
    score: float | None
    shares: tuple[Share | None, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class JointSearchResult:
    """What a joint search found.

    Args:
        plan: the joint plan.
        folder: where it lies.
        models: each model's own part: its plan in the folder, baselines, what its search cost.
        baselines: what it was compared with.
        verified: every joint plan that was measured: hash, how it shares, predicted and measured score, what was taken
            to slow the models down (`Slowing`), feasible.
        co_runs: records of this device that slowdowns were predicted from; 0 where only shared cores were counted.
        score: of the winner; None where it was not measured.
        cost: seconds by phase and what was spent besides, of all searches.
        warnings: what the user should know.
        interrupted: whether it was stopped before its end.
        mlflow_run_id: the run in MLflow, None where it is not tracked.
    """

    plan: JointPlan
    folder: Path
    models: tuple[SearchResult, ...]
    baselines: tuple[JointBaseline, ...]
    verified: tuple[dict[str, object], ...]
    score: float | None
    cost: dict[str, float]
    warnings: tuple[str, ...]
    interrupted: bool
    co_runs: int = 0
    mlflow_run_id: str | None = None

    def tracked(self, run_id: str | None) -> JointSearchResult:
        """The same with its run in MLflow."""
        return replace(self, mlflow_run_id=run_id)

    def metrics(self) -> dict[str, dict[str, float]]:
        """Per model, for MLflow."""
        found: dict[str, dict[str, float]] = {}
        for member in self.plan.members:
            if member.measured is not None:
                found[member.name] = {
                    "throughput_per_s": member.measured.timing.throughput_per_s,
                    "p50_ms": member.measured.timing.p50_us / 1e3,
                    "normalised_throughput": member.measured.throughput,
                    "normalised_latency": member.measured.latency,
                }
        return found

    def to_json(self) -> dict[str, Any]:
        """The object that `autotune search --json` prints for several models."""
        plan = self.plan
        own = [result.to_json() for result in self.models]
        kind = "side_by_side" if plan.sharing is Sharing.SIDE_BY_SIDE else "joint"
        return {
            "schema_version": SCHEMA_VERSION,
            "models": [_model(member, data) for member, data in zip(plan.members, own, strict=True)],
            "scenario": str(plan.scenario),
            "fairness": str(plan.fairness),
            "device": encode(plan.device),
            "plan": str(self.folder),
            "mlflow_run_id": self.mlflow_run_id,
            "verdict": {"kind": kind, "winner": str(plan.sharing), "reason": plan.reason},
            "turns": [list(group) for group in plan.turns],
            "baselines": [
                {
                    "name": baseline.name,
                    "latency_ms": None,
                    "throughput_per_s": _total(baseline.shares),
                    "error": None,
                    "feasible": True,
                    "score": baseline.score,
                    "models": {
                        name: share_json(share) for name, share in zip(plan.names, baseline.shares, strict=True)
                    },
                }
                for baseline in self.baselines
            ],
            "best_single_processor": None,
            "tuned": {
                "predicted": {"latency_ms": None, "throughput_per_s": _total([m.predicted for m in plan.members])},
                "measured": {"latency_ms": None, "throughput_per_s": _total([m.measured for m in plan.members])},
                "score": self.score,
                "error": None,
                "lanes": list(dict.fromkeys(lane for data in own for lane in data["tuned"]["lanes"])),
                "stages": [],
            },
            "speedup": {
                "over_default": ratio_json(plan.over_default),
                "over_best_single": None,
                "over_side_by_side": ratio_json(plan.over_side_by_side),
            },
            "verified": list(self.verified),
            "contention": {"co_runs": self.co_runs},
            "cost": self.cost,
            "warnings": list(self.warnings),
            "interrupted": self.interrupted,
        }


def _model(member: JointMember, own: dict[str, Any]) -> dict[str, Any]:
    """What one model's own search would print, and what it gets beside the others."""
    section = dict(own["models"][0])
    section |= {key: own[key] for key in ("verdict", "baselines", "best_single_processor", "tuned", "verified", "cost")}
    return section | {
        "plan": own["plan"],
        "weight": member.weight,
        "own_best": {"lanes": list(dict.fromkeys(str(stage.lane) for stage in member.own.stages))}
        | (timing_json(member.alone) or {}),
        "predicted": share_json(member.predicted),
        "measured": share_json(member.measured),
        "side_by_side": share_json(member.side_by_side),
    }


def share_json(share: Share | None) -> dict[str, Any] | None:
    """Timing and normalised values."""
    if share is None:
        return None
    normalised = {"normalised_throughput": share.throughput, "normalised_latency": share.latency}
    return (timing_json(share.timing) or {}) | normalised


def _total(shares: list[Share | None] | tuple[Share | None, ...]) -> float | None:
    known = [share.timing.throughput_per_s for share in shares if share is not None]
    return sum(known) if len(known) == len(shares) else None


def result_together(joint: JointRun, plan: JointPlan, plans: dict[str, Plan], folder: Path) -> JointSearchResult:
    """The result of a finished joint search."""
    own = tuple(
        result_of(member.run, plans[member.name], folder / member.name, member.decision) for member in joint.members
    )
    cost = {key: sum(result.cost[key] for result in own) for key in own[0].cost}
    cost["verify_s"] += joint.budget.spent_s.get("verify", 0.0)
    cost["device_measurements"] += joint.measurements
    cost["joint_candidates"] = joint.compared
    cost["total_s"] = joint.budget.elapsed_s
    baselines = []
    for name in (SIDE_BY_SIDE, ALL_DEFAULT):
        contender = joint.contenders.get(name)
        if contender is not None:
            shares = tuple(share_of(joint, contender, at) for at in range(len(joint.members)))
            baselines.append(JointBaseline(name=name, score=_score(plan, shares), shares=shares))
    return JointSearchResult(
        plan=plan,
        folder=folder,
        models=own,
        baselines=tuple(baselines),
        verified=tuple(
            {
                "plan_hash": contender.candidate.hash,
                "sharing": str(contender.candidate.sharing),
                "lanes": [[str(stage.lane) for stage in member.stages] for member in contender.candidate.members],
                "predicted": contender.proposal.score,
                "slowing": str(contender.proposal.slowing),
                "measured": joint.score(contender.screened),
                "feasible": contender.feasible,
            }
            for contender in joint.contenders.values()
            if contender.proposal is not None and contender.candidate is not None
        ),
        score=_score(plan, tuple(member.measured for member in plan.members)),
        cost=cost,
        warnings=tuple(
            dict.fromkeys([*joint.warnings, *(f"{m.name}: {text}" for m in joint.members for text in m.run.warnings)])
        ),
        interrupted=joint.interrupted or any(member.run.interrupted for member in joint.members),
        co_runs=joint.co_runs,
    )


def _score(plan: JointPlan, shares: tuple[Share | None, ...]) -> float | None:
    """As the objective has it, more is better; None where a model was not measured."""
    known = [(member.weight, share) for member, share in zip(plan.members, shares, strict=True) if share is not None]
    if len(known) < len(shares):
        return None
    if plan.fairness is Fairness.SUM:
        return sum(weight * share.throughput for weight, share in known)
    return 1.0 / max(weight * share.latency for weight, share in known)
