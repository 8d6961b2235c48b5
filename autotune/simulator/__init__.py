"""What a whole plan costs: tasks on processors that work at the same time, and requests that arrive in a scenario."""

from autotune.simulator.contention import SlowdownTable, mean_slowdown, slowdowns
from autotune.simulator.lockstep import Door, Times, simulate_requests
from autotune.simulator.scenarios import (
    SAMPLES_PER_QUERY,
    SimulatedLoad,
    SimulatedServer,
    arrivals,
    multi_stream,
    offline,
    server,
    single_stream,
)
from autotune.simulator.schedule import Schedule, play, simulate
from autotune.simulator.staged import Packed, StagedPlan, pack
from autotune.simulator.task_graph import CoRun, TaskGraph

__all__ = [
    "SAMPLES_PER_QUERY",
    "CoRun",
    "Door",
    "Packed",
    "Schedule",
    "SimulatedLoad",
    "SimulatedServer",
    "SlowdownTable",
    "StagedPlan",
    "TaskGraph",
    "Times",
    "arrivals",
    "mean_slowdown",
    "multi_stream",
    "offline",
    "pack",
    "play",
    "server",
    "simulate",
    "simulate_requests",
    "single_stream",
    "slowdowns",
]
