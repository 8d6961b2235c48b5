"""Event-driven simulation of many plans at once: every step, each plan goes on to its own next event."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from autotune.errors import UsageError
from autotune.simulator.staged import Floats, Ints, Packed
from autotune.simulator.teams import Team, teams_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Door:
    """When requests are let in.

    Args:
        depth: requests that may be under way at once, later ones wait outside; None: two per worker, as
            `autotune.runtime` has it.
        group: requests come in groups of this many, and a group is let in when the one before has ended; 0: no groups.
    """

    depth: int | None = None
    group: int = 0

    def __post_init__(self) -> None:
        if (self.depth is not None and self.depth < 1) or self.group < 0:
            raise UsageError(f"a depth of at least 1 and a group of at least 0 are needed, got {self}")

    def depth_of(self, plans: Packed) -> Ints:
        """[P] requests that may be under way at once."""
        if self.depth is not None:
            return np.full(plans.plans, self.depth)
        workers: Ints = (plans.worker_lane >= 0).sum(axis=0)
        return 2 * workers


@dataclass(frozen=True, eq=False, slots=True, kw_only=True)
class Times:
    """When requests began and ended.

    Args:
        admitted_us: [R, P] when each was let in.
        finished_us: [R, P] when its last stage ended.
    """

    admitted_us: Floats
    finished_us: Floats


def simulate_requests(plans: Packed, arrival_us: Floats, door: Door) -> Times:
    """Requests through stages: every lane takes what is ready in the order in which it became ready.

    Work goes on at a rate that changes whenever a worker begins or ends (slowdowns of all busy neighbours multiply), as
    in `play`.

    Args:
        plans: P plans.
        arrival_us: [R, P] when requests arrive, rising along the first axis.
        door: when they are let in.
    """
    state = _State(plans, arrival_us, door)
    while state.step():
        pass
    return Times(admitted_us=state.admitted, finished_us=state.finished)


class _State:
    """Arrays have the plan last and are used through flat indices: several times faster than fancy indexing.

    A task is (request << bits) | stage. Every step costs some forty calls of NumPy, whatever the number of plans.
    """

    def __init__(self, plans: Packed, arrival_us: Floats, door: Door) -> None:
        self.plans, self.group = plans, door.group
        self.depth = door.depth_of(plans)
        self.size, self.many = plans.stage_us.shape
        many = self.many
        self.requests = len(arrival_us)
        self.workers = len(plans.worker_lane)
        self.bits = (self.size - 1).bit_length()
        self.all = np.arange(many)
        self.now = np.zeros(many)
        self.left = np.full((self.workers + 1, many), np.inf)  # µs of undisturbed work; the last row is the door
        self._left = self.left.reshape(-1)
        self.task = np.zeros(self.workers * many, np.int64)
        rows = (int(plans.worker_lane.max()) + 1) * many
        self.mask = (1 << (min(int(self.depth.max()), self.requests) * self.size - 1).bit_length()) - 1
        self.queue = np.zeros((self.mask + 1) * rows, np.int64)
        self.head, self.tail = np.zeros(rows, np.int64), np.zeros(rows, np.int64)
        self.entered, self.inside = np.zeros(many, np.int64), np.zeros(many, np.int64)
        self.arrival = np.concatenate([arrival_us, np.full((1, many), np.inf)]).reshape(-1)
        self.admitted, self.finished = np.zeros((self.requests, many)), np.zeros((self.requests, many))
        self._admitted, self._finished = self.admitted.reshape(-1), self.finished.reshape(-1)
        self._stage_us, self._lane = plans.stage_us.reshape(-1), plans.lane.reshape(-1)
        self.teams = teams_of(plans.worker_lane)
        self.chains = plans.chains
        if not self.chains:
            padded = np.zeros((1 << self.bits, many), np.int16)
            padded[: self.size] = plans.waits
            self.missing = np.tile(padded.reshape(-1), self.requests)
            self.open = np.tile(plans.count, self.requests)
            self._after = [after.reshape(-1) for after in plans.after]

    def step(self) -> bool:
        """On to the next event of every plan; False where none has one."""
        for team in self.teams:
            self._dispatch(team)
        self._look_outside()
        slow = self._slowdown()
        ends = self.left if slow is None else self.left * slow
        event = ends.argmin(axis=0)
        passed = ends.reshape(-1)[event * self.many + self.all]
        idle = passed == np.inf
        some_idle = bool(idle.any())
        if some_idle:
            if idle.all():
                return False
            passed[idle] = 0.0
        self.now += passed
        self.left -= passed if slow is None else passed / slow
        door = event == self.workers
        self._admit((door & ~idle if some_idle else door).nonzero()[0])
        working = ~(door | idle) if some_idle else ~door
        self._finish(working.nonzero()[0], event)
        return True

    def _dispatch(self, team: Team) -> None:
        waiting = (self._left[team.workers] == np.inf) & (self.head[team.rows] < self.tail[team.rows])
        chosen = waiting.nonzero()[0]
        if not len(chosen):
            return
        worker, row, plans = team.workers[chosen], team.rows[chosen], team.plans[chosen]
        head = self.head[row]
        task = self.queue[row + (head & self.mask) * len(self.head)]
        self.head[row] = head + 1
        self.task[worker] = task
        self._left[worker] = self._stage_us[(task & ((1 << self.bits) - 1)) * self.many + plans]

    def _look_outside(self) -> None:
        """How long until the next request is let in; inf where that waits for another one to end."""
        blocked = self.inside >= self.depth
        if self.group:
            blocked |= (self.entered % self.group == 0) & (self.inside > 0)
        wait = self.left[-1]
        np.subtract(self.arrival[self.entered * self.many + self.all], self.now, out=wait)
        np.maximum(wait, 0.0, out=wait)
        wait[blocked] = np.inf

    def _slowdown(self) -> Floats | None:
        table = self.plans.log_slowdown
        if table is None:
            return None
        busy = (self.left[:-1] < np.inf).astype(np.float64)
        slow = np.ones((self.workers + 1, self.many))
        np.exp(np.einsum("wvp,vp->wp", table, busy), out=slow[:-1])
        return slow

    def _finish(self, plans: Ints, event: Ints) -> None:
        worker = event[plans] * self.many + plans
        self._left[worker] = np.inf
        task = self.task[worker]
        request, stage = task >> self.bits, task & ((1 << self.bits) - 1)
        if self.chains:
            last = stage + 1 == self.plans.count[plans]
            on, done = (~last).nonzero()[0], last.nonzero()[0]
            self._push(plans[on], task[on] + 1, stage[on] + 1)
        else:
            done = self._fan_out(plans, request, stage)
        if len(done):
            over = plans[done]
            self._finished[request[done] * self.many + over] = self.now[over]
            self.inside[over] -= 1

    def _fan_out(self, plans: Ints, request: Ints, stage: Ints) -> Ints:
        """Tells the stages that waited for these; which of the requests are done."""
        at = stage * self.many + plans
        for after in self._after:
            following = after[at]
            chosen = (following >= 0).nonzero()[0]
            self._arrive(plans[chosen], request[chosen], following[chosen])
        place = request * self.many + plans
        left = self.open[place] - 1
        self.open[place] = left
        done: Ints = (left == 0).nonzero()[0]
        return done

    def _arrive(self, plans: Ints, request: Ints, stage: Ints) -> None:
        """One input more of a stage is there."""
        task = (request << self.bits) | stage
        place = task * self.many + plans
        missing = self.missing[place] - 1
        self.missing[place] = missing
        ready = (missing == 0).nonzero()[0]
        self._push(plans[ready], task[ready], stage[ready])

    def _push(self, plans: Ints, task: Ints, stage: Ints) -> None:
        row = self._lane[stage * self.many + plans] * self.many + plans
        tail = self.tail[row]
        self.queue[row + (tail & self.mask) * len(self.tail)] = task
        self.tail[row] = tail + 1

    def _admit(self, plans: Ints) -> None:
        if not len(plans):
            return
        request = self.entered[plans]
        self._admitted[request * self.many + plans] = self.now[plans]
        self.entered[plans] = request + 1
        self.inside[plans] += 1
        for first in self.plans.first:
            stage = first[plans]
            there = (stage >= 0).nonzero()[0]
            self._push(plans[there], (request[there] << self.bits) | stage[there], stage[there])
