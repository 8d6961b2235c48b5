"""Load after MLPerf Inference's scenarios on a real plan, from a generator of our own or from MLPerf's LoadGen.

Short runs that compare plans with each other; they are never MLPerf results.
"""

from autotune.profiler.load.generators import default_generator, generator, generator_names
from autotune.profiler.load.issuing import issue_to
from autotune.profiler.load.server import ServerReport, highest_rate
from autotune.profiler.load.values import Issue, Load, LoadGenerator, LoadReport

__all__ = [
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
]
