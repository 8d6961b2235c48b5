"""How much longer work takes on one lane while another lane is busy.

Both sides' sessions live in one worker, each made on its lane's cores, each called by a thread of its own that stays
there, as the runtime has it. Rounds take turns: the first alone, the second alone, both at once; while one works alone
the other's thread waits and its pool does not spin.
"""

from __future__ import annotations

import random
import statistics
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any

from autotune.core import CoRunMeasurement, Failure, FailureKind, Kernel, Lane, TensorSpec
from autotune.errors import UsageError
from autotune.graph import build_kernel
from autotune.processors.cores import allowed_cores, pin_thread, spread
from autotune.profiler.probes import Bound
from autotune.profiler.serve import failure_of
from autotune.profiler.worker import Worker
from autotune.runtime.crew import Seat, copies_of, crews_of
from autotune.runtime.stages import calm

LEAST_RUNS = 2
OVERLAP = 0.9
"""Share of a run during which the other side must have been busy for the run to count."""
ALONE_FIRST, ALONE_SECOND, BOTH = range(3)
Span = tuple[float, float]
"""Begin and end of a run, seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """Work on a lane.

    Args:
        kernels: what runs, in order.
        lane: where.
        file: an ONNX file of exactly these kernels; empty builds the one kernel alone.
        inputs: of the file.
    """

    kernels: tuple[Kernel, ...]
    lane: Lane
    file: str = ""
    inputs: tuple[TensorSpec, ...] = ()

    def __post_init__(self) -> None:
        if not self.kernels or (not self.file and len(self.kernels) > 1):
            raise UsageError(f"{len(self.kernels)} kernels on {self.lane} need a file that runs them")


@dataclass(frozen=True, slots=True, kw_only=True)
class CoRunPair:
    """Two sides that run at the same time: on two lanes, or on two streams of one.

    Args:
        first: one side.
        second: the other.

    Raises:
        UsageError: the lanes would take turns instead of working at the same time, or need more cores than there are.
    """

    first: Side
    second: Side

    def __post_init__(self) -> None:
        check_apart(self.first.lane, self.second.lane)

    @property
    def sides(self) -> tuple[Side, Side]:
        """Both."""
        return self.first, self.second


CoRunResult = tuple[CoRunMeasurement, CoRunMeasurement] | Failure
"""The first side beside the second, and the second beside the first."""


def check_apart(first: Lane, second: Lane) -> None:
    """Raises UsageError where two lanes would take turns, or need more cores than there are."""
    seats_of(first, second)
    cores = allowed_cores()
    spread([_as_it_runs(lane, len(cores)) for lane in dict.fromkeys((first, second))], cores)


def _as_it_runs(lane: Lane, cores: int) -> Lane:
    """The lane with a thread per core, which is what a provider takes that is told neither threads nor cores."""
    setting = lane.concurrency
    return lane if setting.threads or setting.cores else replace(lane, concurrency=replace(setting, threads=cores))


def seats_of(first: Lane, second: Lane) -> tuple[tuple[Lane, Seat], tuple[Lane, Seat]]:
    """Lane of the session and place of the thread for each side.

    Raises:
        UsageError: two lanes that share cores, or one lane with a single stream.
    """
    one, two = (lane for lane in calm([first, second]) if isinstance(lane, Lane))
    crews = crews_of([one, two])
    if one == two:
        if len(crews[0].seats) < 2:
            raise UsageError(f"{first} has one stream, so that nothing runs beside it: write {first}/s2, or two lanes")
        seats = crews[0].seats[:2]
    elif len(crews) < 2:
        raise UsageError(f"{first} and {second} share cores and would take turns: give them cores of their own")
    else:
        seats = (crews[0].seats[0], crews[1].seats[0])
    own = [copies_of(lane)[seat.copy % len(copies_of(lane))] for lane, seat in zip((one, two), seats, strict=True)]
    return (own[0], seats[0]), (own[1], seats[1])


def measure_coruns(
    pairs: Sequence[CoRunPair],
    *,
    rounds: int = 7,
    round_s: float = 0.015,
    seed: int = 0,
    deadline_s: float,
    on_result: Callable[[int, CoRunResult], None],
) -> None:
    """Measures pairs in both directions, in order, and hands over each result as it is made.

    A pair that brings the worker down gets a Failure; the others go on. What is not measured by the deadline is left.

    Args:
        pairs: what to measure.
        rounds: of each pair.
        round_s: seconds of each of a round's three parts, at least two runs.
        seed: of the orders.
        deadline_s: seconds for all of it.
        on_result: is told which pair, and what came of it.
    """
    waiting = list(range(len(pairs)))
    until = time.monotonic() + deadline_s
    with Worker() as worker:
        while waiting and (left_s := until - time.monotonic()) > 0:
            running, done = 0, set()
            chosen = [pairs[at] for at in waiting]
            for item in worker.stream(corun_here, chosen, rounds, round_s, seed, left_s, deadline_s=left_s):
                if isinstance(item, Failure):
                    if item.kind is FailureKind.HANG and time.monotonic() >= until:
                        return
                    on_result(waiting[running], item)
                    done.add(running)
                elif item[0] == "running":
                    running = item[1]
                elif item[0] == "late":
                    return
                else:
                    on_result(waiting[item[1]], item[2])
                    done.add(item[1])
            waiting = [at for position, at in enumerate(waiting) if position not in done]


def corun_here(
    pairs: Sequence[CoRunPair], rounds: int, round_s: float, seed: int, left_s: float
) -> Iterator[tuple[Any, ...]]:
    """In the worker: what is running, then its result; `late` when the time is up."""
    until = time.monotonic() + left_s
    order = random.Random(seed)
    slowest = 0.0
    for at, pair in enumerate(pairs):
        begin = time.monotonic()
        if at and begin + slowest > until:
            yield ("late",)
            return
        yield ("running", at)
        try:
            yield ("result", at, _measure(pair, rounds, round_s, order))
        except Exception as error:  # noqa: BLE001 - the edge of a worker process
            yield ("result", at, failure_of(error))
        slowest = max(slowest, time.monotonic() - begin)


def _measure(pair: CoRunPair, rounds: int, round_s: float, order: random.Random) -> CoRunResult:
    places = seats_of(pair.first.lane, pair.second.lane)
    with ExitStack() as opened:
        sides = [opened.enter_context(_Open(side, *place)) for side, place in zip(pair.sides, places, strict=True)]
        alone: tuple[list[float], list[float]] = ([], [])
        beside: tuple[list[float], list[float]] = ([], [])
        for _ in range(rounds):
            for part in order.sample((ALONE_FIRST, ALONE_SECOND, BOTH), 3):
                if part == BOTH:
                    for found, us in zip(beside, _both(sides, round_s), strict=True):
                        found.append(us)
                else:
                    alone[part].append(_median_us(sides[part].begin(round_s).result()))
    one, two = (CoRunMeasurement(alone_us=tuple(a), beside_us=tuple(b)) for a, b in zip(alone, beside, strict=True))
    return one, two


def _both(sides: Sequence[_Open], round_s: float) -> tuple[float, ...]:
    """Median µs of each side's runs while the other one was busy: each goes on until both have had their time."""
    had = [threading.Event() for _ in sides]
    start = threading.Barrier(len(sides))
    waiting = [side.begin(round_s, _Beside(start, had[at], had[1 - at])) for at, side in enumerate(sides)]
    runs = [future.result() for future in waiting]
    first, last = max(own[0][0] for own in runs), min(own[-1][1] for own in runs)
    return tuple(_median_us(together(own, first, last)) for own in runs)


def together(runs: Sequence[Span], first: float, last: float) -> list[Span]:
    """Those that lay between two times nearly wholly; the one that lay there longest where none did."""

    def inside(run: Span) -> float:
        return min(run[1], last) - max(run[0], first)

    kept = [run for run in runs if inside(run) >= OVERLAP * (run[1] - run[0])]
    return kept or [max(runs, key=inside)]


def _median_us(runs: Sequence[Span]) -> float:
    return statistics.median(end - begin for begin, end in runs) * 1e6


class _Beside:
    """How two threads keep each other company.

    Args:
        start: where they wait for each other.
        own: set when this one has had its time.
        other: set when the other one has.
    """

    def __init__(self, start: threading.Barrier, own: threading.Event, other: threading.Event) -> None:
        self.start, self.own, self.other = start, own, other

    def give_up(self) -> None:
        """The other one need not wait any more."""
        self.start.abort()
        self.own.set()


class _Open:
    """One side's session and the thread that calls it."""

    def __init__(self, side: Side, lane: Lane, seat: Seat) -> None:
        self._thread = ThreadPoolExecutor(1, initializer=pin_thread, initargs=(seat.cores,))
        model = side.file or build_kernel(side.kernels[0]).SerializeToString()
        inputs = side.inputs if side.file else side.kernels[0].inputs
        self._session = self._thread.submit(Bound, model, inputs, lane).result()

    def begin(self, seconds: float, beside: _Beside | None = None) -> Future[list[Span]]:
        """Starts running for a while, at least `LEAST_RUNS` times; the future gives begin and end of each run."""
        return self._thread.submit(self._run, seconds, beside)

    def _run(self, seconds: float, beside: _Beside | None) -> list[Span]:
        try:
            self._session.run()  # what the other side left in the caches
            if beside is not None:
                beside.start.wait()
            return self._spans(seconds, beside)
        except BaseException:
            if beside is not None:
                beside.give_up()
            raise

    def _spans(self, seconds: float, beside: _Beside | None) -> list[Span]:
        run, clock = self._session.run, time.perf_counter
        found: list[Span] = []
        begin = clock()
        until, satisfied = begin + seconds, False
        while not satisfied or (beside is not None and not beside.other.is_set()):
            run()
            end = clock()
            found.append((begin, end))
            begin = end
            if not satisfied and end >= until and len(found) >= LEAST_RUNS:
                satisfied = True
                if beside is not None:
                    beside.own.set()
        return found

    def __enter__(self) -> _Open:
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.shutdown()
