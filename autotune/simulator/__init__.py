"""What a whole plan costs: tasks on processors that work at the same time."""

from autotune.simulator.schedule import Schedule, play, simulate
from autotune.simulator.task_graph import CoRun, TaskGraph

__all__ = ["CoRun", "Schedule", "TaskGraph", "play", "simulate"]
