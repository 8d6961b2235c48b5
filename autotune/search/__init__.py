"""Which plan: cost table, exact seeds, Optuna study, verification, decision."""

from autotune.search.bench import Bench
from autotune.search.chain import ChainOptimum, cheapest_chain, exact_chain
from autotune.search.costs import CostTable, Setting, build_table
from autotune.search.decision import Decision, LaunchTimes, decide_winner, speedup
from autotune.search.explore import Explorer, Proposal
from autotune.search.output_error import ErrorModel
from autotune.search.segments import segment_ranges

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
