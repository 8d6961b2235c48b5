"""How long it takes: one measurement protocol, isolated worker processes."""

from autotune.profiler.chains import ChainTimes, time_chain
from autotune.profiler.compare import compare, squared_errors
from autotune.profiler.coruns import CoRunPair, CoRunResult, Side, check_apart, measure_coruns
from autotune.profiler.decide import decide
from autotune.profiler.executor import WorkerExecutor
from autotune.profiler.expected import expected_seconds
from autotune.profiler.jobs import Job, JobStage, available_bytes
from autotune.profiler.kernels import profile_kernels
from autotune.profiler.lock import device_lock
from autotune.profiler.noise import NoiseReport, noise_check
from autotune.profiler.outputs import run_outputs, stage_errors
from autotune.profiler.provenance import fastest_us, identity, notes
from autotune.profiler.screen import screen
from autotune.profiler.together import JointJob, JointResult, JointTimes, MemberTimes, measure_together
from autotune.profiler.worker import Worker

__all__ = [
    "ChainTimes",
    "CoRunPair",
    "CoRunResult",
    "Job",
    "JobStage",
    "JointJob",
    "JointResult",
    "JointTimes",
    "MemberTimes",
    "NoiseReport",
    "Side",
    "Worker",
    "WorkerExecutor",
    "available_bytes",
    "check_apart",
    "compare",
    "decide",
    "device_lock",
    "expected_seconds",
    "fastest_us",
    "identity",
    "measure_coruns",
    "measure_together",
    "noise_check",
    "notes",
    "profile_kernels",
    "run_outputs",
    "screen",
    "squared_errors",
    "stage_errors",
    "time_chain",
]
