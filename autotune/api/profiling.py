"""Profiling as a job of its own: the kernels of models, or synthetic ones for a device that is new, on every lane."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence, Set
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from autotune.api.asked import LaneProfile, profile_asked
from autotune.api.clock import Budget
from autotune.api.settings import SearchSettings
from autotune.api.task import load_model
from autotune.api.together_settings import Participant, with_settings
from autotune.api.workplace import Guarded, Workplace, hold_device, open_workplace
from autotune.core import Failure, Kernel, Lane, Observer, ProfileRecord, Protocol, SilentObserver
from autotune.datasets import Store, synthetic_kernels
from autotune.errors import UnknownNameError
from autotune.processors import lanes_of
from autotune.profiler import fastest_us, identity, noise_check, profile_kernels

DEFAULT_BUDGET_S = 120.0
WITHOUT_MODEL = 300
"""Synthetic kernels where no model is given: more than a few minutes allow on any device with several lanes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileResult:
    """What a profiling job measured.

    Args:
        device: the device's name.
        store: where the records are.
        models: whose kernels were asked for; none where it was the device's predictor that was wanted.
        kernels: number of different kernels, synthetic ones among them.
        lanes: what was measured on each lane.
        spread: relative spread of a fixed workload before the start.
        seconds: time spent.
        warnings: what the user should know.
    """

    device: str
    store: str
    models: tuple[str, ...]
    kernels: int
    lanes: tuple[LaneProfile, ...]
    spread: float
    seconds: float
    warnings: tuple[str, ...]


def profile(
    models: Sequence[str | Path | Participant] = (),
    settings: SearchSettings | None = None,
    *,
    synthetic: int = 0,
    lanes: Sequence[str] = (),
    observer: Observer | None = None,
) -> ProfileResult:
    """Measures the kernels of some models on the lanes of this device.

    What is known already is not measured again, but once more where a disturbed machine measured it once and there is
    no budget (`Store.disturbed`).

    Args:
        models: names of the zoo or ONNX files; participants where each has shapes or dims of its own. Without any,
            synthetic kernels are measured, the same on every device: what a predictor of a new device needs. A budget
            begins with the reference kernels among them.
        settings: home, budget, processors, shapes. A budget is spent on what a committee of predictors asks for
            (`autotune.learning`); without one every lane gets an equal share of two minutes.
        synthetic: further kernels: three of four of graphs of published networks, the others around the models' own;
            without models `WITHOUT_MODEL` unless given.
        lanes: lanes to measure, as text; empty measures every lane of every processor.
        observer: is told of the progress.

    Raises:
        AutotuneError: see `autotune.errors`.
    """
    settings = settings or SearchSettings()
    asked = with_settings(models, settings)
    watcher = Guarded(observer or SilentObserver())
    budget = Budget(settings.budget_s or DEFAULT_BUDGET_S)
    with ExitStack() as stack:
        place = stack.enter_context(open_workplace(settings.home, settings.processors))
        store = stack.enter_context(Store(place.store_url))
        chosen = [lane_here(place, text) for text in lanes] or _lanes(place)
        by_model, uses = _kernels(asked, place, store)
        kernels = {kernel.signature: kernel for own in by_model.values() for kernel in own}
        wanted = frozenset(kernels)
        if count := synthetic or (0 if models else WITHOUT_MODEL):
            drawn = synthetic_kernels(by_model, count=count, seed=settings.seed)
            store.add_drawn(drawn)
            kernels |= {one.kernel.signature: one.kernel for one in drawn}
        rough = kernels.keys() - wanted
        stack.enter_context(hold_device(place, watcher, wait_s=settings.wait_s))
        noise = noise_check()
        if settings.budget_s is None:
            found = [
                _profile_lane(
                    place, store, kernels, rough, lane, budget.left_s / (len(chosen) - at), settings.seed, watcher
                )
                for at, lane in enumerate(chosen)
            ]
        else:
            found = profile_asked(place, store, kernels, uses, rough, chosen, budget.left_s, settings.seed, watcher)
    return ProfileResult(
        device=place.device.name,
        store=place.store_url,
        models=tuple(str(model) for model, _ in asked),
        kernels=len(kernels),
        lanes=tuple(found),
        spread=noise.spread,
        seconds=budget.elapsed_s,
        warnings=(*noise.warnings, *_shortfall(found)),
    )


def _shortfall(lanes: Sequence[LaneProfile]) -> list[str]:
    """What was not measured, and why."""
    found = [f"{one.lane}: {one.failed} kernels failed, the first: {one.reason}" for one in lanes if one.failed]
    left = sum(one.missing for one in lanes)
    return found + ([f"the budget left no time for {left} measurements: give a larger --budget."] if left else [])


def lane_here(place: Workplace, text: str) -> Lane:
    """The lane of that name, which must be one of a processor that is here, at a precision that works there."""
    lane = Lane.parse(text)
    processor = place.processor(lane.processor)
    if lane.precision not in processor.precisions:
        raise UnknownNameError(f"precision of {processor.name}", str(lane.precision), known=processor.precisions)
    return lane


def _lanes(place: Workplace) -> list[Lane]:
    return [lane for processor in place.processors for lane in lanes_of(processor, cores=place.device.cores)]


def _kernels(
    asked: Sequence[tuple[str | Path, SearchSettings]], place: Workplace, store: Store
) -> tuple[dict[str, list[Kernel]], list[Counter[str]]]:
    """The kernels of each model that can be measured, by its name, and how often each model runs each of its own."""
    kernels: dict[str, list[Kernel]] = {}
    uses = []
    for at, (model, settings) in enumerate(asked):
        work = place.work / f"model{at}"
        work.mkdir()
        graph, name, _ = load_model(model, settings, work)
        store.add_model(graph.sha256, name, [use.kernel.signature for use in graph.kernels])
        kernels.setdefault(name, []).extend(use.kernel for use in graph.kernels if use.kernel.buildable)
        uses.append(Counter(use.kernel.signature for use in graph.kernels))
    return kernels, uses


def _profile_lane(
    place: Workplace,
    store: Store,
    kernels: dict[str, Kernel],
    rough: Set[str],
    lane: Lane,
    left_s: float,
    seed: int,
    observer: Guarded,
) -> LaneProfile:
    tag = identity(place.device, place.processor(lane.processor), place.discovery, Protocol.MARGINAL)
    known = store.known(list(kernels), lane, tag)
    speed_us = fastest_us(store.notes(lane, tag))
    again = store.disturbed(known, lane, tag, fastest_us=speed_us)
    missing = [kernel for signature, kernel in kernels.items() if signature not in known]
    missing += [kernels[signature] for signature in sorted(again)]
    measured = 0
    reasons: list[str] = []

    def keep(record: ProfileRecord) -> None:
        nonlocal measured
        store.add([record])
        if isinstance(record.result, Failure):
            reasons.append(record.result.message)
        measured += 1
        observer.progress("profile", measured, len(missing), text=str(lane))

    if missing and left_s > 0:
        profile_kernels(
            missing,
            lane,
            identity=tag,
            seed=seed,
            fastest_us=speed_us,
            deadline_s=left_s,
            on_record=keep,
            rough=rough,
        )
    return LaneProfile(
        lane=str(lane),
        known=len(known - again),
        measured=measured - len(reasons),
        failed=len(reasons),
        missing=len(missing) - measured,
        reason=reasons[0] if reasons else "",
    )
