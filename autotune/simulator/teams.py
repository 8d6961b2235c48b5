"""Workers of a lane that look into their queue at the same time."""

from __future__ import annotations

import numpy as np

from autotune.simulator.staged import Ints


class Team:
    """One worker of every lane, so that all of them can look into their queues at once, as flat indices.

    Args:
        worker_lane: [W, P].
        copy: which of a lane's workers.
    """

    def __init__(self, worker_lane: Ints, copy: int) -> None:
        many = worker_lane.shape[1]
        number = np.zeros_like(worker_lane)
        for worker in range(1, len(worker_lane)):
            number[worker] = (worker_lane[:worker] == worker_lane[worker]).sum(axis=0)
        worker, self.plans = ((number == copy) & (worker_lane >= 0)).nonzero()
        self.workers = worker * many + self.plans
        self.rows = worker_lane[worker, self.plans] * many + self.plans


def teams_of(worker_lane: Ints) -> list[Team]:
    """As many as the lane has workers that has most.

    Args:
        worker_lane: [W, P]; -1: none.
    """
    lanes = range(int(worker_lane.max()) + 1)
    copies = max(int((worker_lane == lane).sum(axis=0).max()) for lane in lanes)
    return [Team(worker_lane, copy) for copy in range(copies)]
