"""Which plan: cost table, exact seeds, Optuna study, verification, decision."""

from autotune.planning.bench import Bench
from autotune.planning.chain import ChainOptimum, cheapest_chain, exact_chain
from autotune.planning.costs import CostTable, Setting, build_table
from autotune.planning.decision import Decision, LaunchTimes, decide_winner, speedup
from autotune.planning.explore import Explorer, Proposal
from autotune.planning.output_error import ErrorModel
from autotune.planning.segments import segment_ranges

__all__ = [
    "Bench",
    "ChainOptimum",
    "CostTable",
    "Decision",
    "ErrorModel",
    "Explorer",
    "LaunchTimes",
    "Proposal",
    "Setting",
    "build_table",
    "cheapest_chain",
    "decide_winner",
    "exact_chain",
    "segment_ranges",
    "speedup",
]
