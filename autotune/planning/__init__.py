"""Which plan: cost table, exact seeds, Optuna study, verification, decision."""

from autotune.planning.aim import Aim, at_pace, callers_plan
from autotune.planning.bench import Bench
from autotune.planning.chain import ChainOptimum, cheapest_chain, exact_chain
from autotune.planning.costs import CostTable, Setting, build_table
from autotune.planning.decision import (
    Decision,
    LaunchTimes,
    calm,
    cross_fitted,
    decide_winner,
    interval,
    speedup,
    undisturbed,
)
from autotune.planning.explore import Explorer, Proposal, exact_seeds
from autotune.planning.front import front_proposals, non_dominated, spread
from autotune.planning.ideal import ideal_us, least_ideal_us
from autotune.planning.joint import JointCandidate, JointProposal, JointSpace, quiet
from autotune.planning.joint_decision import JointDecision, decide_joint
from autotune.planning.joint_parts import Objective, Option, Slowdowns
from autotune.planning.joint_search import shortlist
from autotune.planning.lane_team import KernelNeeds, LaneTeam, kernel_needs
from autotune.planning.output_error import ErrorModel
from autotune.planning.parallel import parallel_proposals
from autotune.planning.segments import rough_us, segment_ranges
from autotune.planning.stage_files import WrittenStage, write_stages

__all__ = [
    "Aim",
    "Bench",
    "ChainOptimum",
    "CostTable",
    "Decision",
    "ErrorModel",
    "Explorer",
    "JointCandidate",
    "JointDecision",
    "JointProposal",
    "JointSpace",
    "KernelNeeds",
    "LaneTeam",
    "LaunchTimes",
    "Objective",
    "Option",
    "Proposal",
    "Setting",
    "Slowdowns",
    "WrittenStage",
    "at_pace",
    "build_table",
    "callers_plan",
    "calm",
    "cheapest_chain",
    "cross_fitted",
    "decide_joint",
    "decide_winner",
    "exact_chain",
    "exact_seeds",
    "front_proposals",
    "ideal_us",
    "interval",
    "kernel_needs",
    "least_ideal_us",
    "non_dominated",
    "parallel_proposals",
    "quiet",
    "rough_us",
    "segment_ranges",
    "shortlist",
    "speedup",
    "spread",
    "undisturbed",
    "write_stages",
]
