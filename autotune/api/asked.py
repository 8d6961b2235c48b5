"""Profiling what a committee of predictors asks for, until the budget is spent or it agrees."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass

from autotune.api.workplace import Guarded, Workplace
from autotune.core import Failure, Identity, Kernel, Lane, ProfileRecord, Protocol
from autotune.datasets import Store
from autotune.learning import DeviceMeasurer, Pace, Queue, learn
from autotune.profiler import expected_seconds, fastest_us, identity


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneProfile:
    """What was measured on one lane.

    Args:
        lane: its name.
        known: kernels that had been measured before.
        measured: kernels measured now.
        failed: kernels that could not be measured.
        missing: kernels that the budget left no time for.
        agreed: kernels that need no measuring: predictors agree on them within the noise.
        reason: why the first one failed, empty where none did.
    """

    lane: str
    known: int
    measured: int
    failed: int
    missing: int
    agreed: int = 0
    reason: str = ""


def profile_asked(
    place: Workplace,
    store: Store,
    kernels: Mapping[str, Kernel],
    uses: Sequence[Mapping[str, int]],
    rough: Set[str],
    lanes: Sequence[Lane],
    budget_s: float,
    seed: int,
    observer: Guarded,
) -> list[LaneProfile]:
    """Measures kernels in the order in which the committee asks for them; gives what came of each lane.

    Args:
        place: device and processors.
        store: of known records and new ones.
        kernels: by signature.
        uses: how often each model in hand runs each of them.
        rough: those that are only learnt from.
        lanes: where.
        budget_s: seconds for all of it.
        seed: of the committee and of measuring.
        observer: is told of each record and of each span of measuring and training.
    """
    tags = {lane: _tag(place, lane) for lane in lanes}
    known = {lane: store.known(list(kernels), lane, tags[lane]) for lane in lanes}
    failures: dict[Lane, list[str]] = {lane: [] for lane in lanes}
    answered = dict.fromkeys(lanes, 0)
    total = sum(len(kernels) - len(own) for own in known.values())

    def keep(record: ProfileRecord) -> None:
        store.add([record])
        answered[record.lane] += 1
        if isinstance(record.result, Failure):
            failures[record.lane].append(record.result.message)
        observer.progress("profile", sum(answered.values()), total, text=str(record.lane))

    def seconds(kernel: Kernel, latency_us: float) -> float:
        return expected_seconds(kernel, latency_us, rough=kernel.signature in rough)

    queue = Queue(
        kernels,
        lanes,
        settled={(signature, lane) for lane, own in known.items() for signature in own},
        uses=uses,
        seconds=seconds,
    )
    lesson = learn(
        queue,
        DeviceMeasurer(
            tags.__getitem__,
            seed=seed,
            fastest_us={lane: fastest_us(store.notes(lane, tags[lane])) for lane in lanes},
            rough=rough,
        ),
        Pace(budget_s=budget_s, cores=place.device.cores, seed=seed),
        known=[record for lane in lanes for record in store.kernels(lanes=[lane], identity=tags[lane])],
        on_record=keep,
    )
    for span in lesson.spans:
        observer.event(
            "learning",
            {"work": str(span.work), "lane": span.lane, "begin_s": span.begin_s, "end_s": span.end_s},
        )
    return [
        LaneProfile(
            lane=str(lane),
            known=len(known[lane]),
            measured=answered[lane] - len(failures[lane]),
            failed=len(failures[lane]),
            missing=len(kernels) - len(known[lane]) - answered[lane] - queue.agreed.get(lane, 0),
            agreed=queue.agreed.get(lane, 0),
            reason=failures[lane][0] if failures[lane] else "",
        )
        for lane in lanes
    ]


def _tag(place: Workplace, lane: Lane) -> Identity:
    return identity(place.device, place.processor(lane.processor), place.discovery, Protocol.MARGINAL)
