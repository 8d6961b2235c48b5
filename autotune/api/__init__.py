"""Orchestration: search, profile, retrain, run, bench and export as a program or the command line calls them."""

from autotune.api.plans import BenchResult, bench_plan, export_plan, run_plan
from autotune.api.profiling import ProfileResult, profile
from autotune.api.result import SearchResult
from autotune.api.retraining import RetrainResult, retrain
from autotune.api.searching import search
from autotune.api.settings import SearchSettings, parse_duration

__all__ = [
    "BenchResult",
    "ProfileResult",
    "RetrainResult",
    "SearchResult",
    "SearchSettings",
    "bench_plan",
    "export_plan",
    "parse_duration",
    "profile",
    "retrain",
    "run_plan",
    "search",
]
