"""Load after MLPerf Inference's scenarios on a real plan, from a generator of our own or from MLPerf's LoadGen.

Short runs that compare plans with each other; they are never MLPerf results.
"""

from autotune.profiler.load.generators import default_generator, generator, generator_names
from autotune.profiler.load.issuing import issue_to
from autotune.profiler.load.server import ServerReport, highest_rate
from autotune.profiler.load.trials import Goal, middle, trial_of
from autotune.profiler.load.values import SAMPLES_PER_QUERY, Issue, Load, LoadGenerator, LoadReport

__all__ = [
    "SAMPLES_PER_QUERY",
    "Goal",
    "Issue",
    "Load",
    "LoadGenerator",
    "LoadReport",
    "ServerReport",
    "default_generator",
    "generator",
    "generator_names",
    "highest_rate",
    "issue_to",
    "middle",
    "trial_of",
]
