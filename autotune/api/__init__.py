"""Orchestration: search, profile, retrain, run, bench and export as a program or the command line calls them."""

from autotune.api.contention import ContentionResult, profile_contention
from autotune.api.plans import BenchResult, bench_plan, export_plan, run_plan
from autotune.api.profiling import ProfileResult, profile
from autotune.api.result import SearchResult
from autotune.api.retraining import RetrainResult, retrain
from autotune.api.searching import search
from autotune.api.settings import SearchSettings, parse_duration
from autotune.api.together import search_together
from autotune.api.together_bench import bench_plans
from autotune.api.together_plans import run_plans
from autotune.api.together_result import JointSearchResult
from autotune.api.together_settings import Participant

__all__ = [
    "BenchResult",
    "ContentionResult",
    "JointSearchResult",
    "Participant",
    "ProfileResult",
    "RetrainResult",
    "SearchResult",
    "SearchSettings",
    "bench_plan",
    "bench_plans",
    "export_plan",
    "parse_duration",
    "profile",
    "profile_contention",
    "retrain",
    "run_plan",
    "run_plans",
    "search",
    "search_together",
]
