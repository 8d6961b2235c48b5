"""Measures what `own_device.py` judges: kernels of the zoo and synthetic ones, and whole models.

Everything is stored as it is measured; what is there already is not measured again.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Collection, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from autotune import models
from autotune.api import SearchSettings
from autotune.api.task import load_model
from autotune.api.workplace import Guarded, Workplace, hold_device, open_workplace
from autotune.core import (
    Candidate,
    Failure,
    Identity,
    Kernel,
    Lane,
    Measurement,
    Protocol,
    Scenario,
    SilentObserver,
    StageChoice,
    StageRecord,
)
from autotune.datasets import Drawn, Store
from autotune.graph import Graph, save_arrays
from autotune.planning import Bench
from autotune.processors import lanes_of
from autotune.profiler import fastest_us, identity, notes, profile_kernels, screen

VISITS = 3
"""Of every lane, with the whole models after each: a neighbour's minutes are not all that a lane knows."""
ROUNDS, ROUND_S = 8, 0.05
DEADLINE_S = 240.0
WAIT_S = 600.0
AGAIN = "again"
"""Folder, in a home, of what was measured once more."""
SPENT = "own_device.json"


def kernel_seconds(home: Path) -> float:
    """What has been spent on measuring kernels into this home."""
    path = home / SPENT
    return float(json.loads(path.read_text())["kernels_s"]) if path.exists() else 0.0


def load_zoo(names: Sequence[str], work: Path) -> dict[str, Graph]:
    graphs = {}
    for name in names:
        folder = work / name
        folder.mkdir(parents=True)
        graphs[name], _, _ = load_model(name, SearchSettings(), folder)
    return graphs


def kernels_of(graphs: Mapping[str, Graph]) -> list[Kernel]:
    uses = [use.kernel for graph in graphs.values() for use in graph.kernels if use.kernel.buildable]
    return list({kernel.signature: kernel for kernel in uses}.values())


def lanes_here(place: Workplace) -> list[Lane]:
    """Every processor and precision on all cores, and the CPU provider on one."""
    cores = place.device.cores
    lanes = [lane for processor in place.processors for lane in lanes_of(processor, cores=cores)]
    return [
        lane
        for lane in lanes
        if lane.concurrency.spinning is None
        and (lane.concurrency.threads in (0, len(cores)) or (lane.processor, lane.concurrency.threads) == ("cpu", 1))
    ]


def measure_kernels(
    place: Workplace,
    store: Store,
    kernels: Sequence[Kernel],
    lanes: Sequence[Lane],
    seconds: float,
    seed: int,
    *,
    rough: Collection[str],
    once_more: bool,
) -> dict[str, float]:
    """Measures kernels in the order given, every lane for an equal share of the time; gives seconds by lane.

    With `once_more` also those that a disturbed machine measured, in their turn.
    """
    until, spent = time.monotonic() + seconds, {}
    by_signature = {kernel.signature: kernel for kernel in kernels}
    for at, lane in enumerate(lanes):
        begin = time.monotonic()
        tag = identity(place.device, place.processor(lane.processor), place.discovery, Protocol.MARGINAL)
        known = store.known(list(by_signature), lane, tag)
        speed_us = fastest_us(store.notes(lane, tag))
        if once_more:
            known -= store.disturbed(known, lane, tag, fastest_us=speed_us)
        missing = [kernel for signature, kernel in by_signature.items() if signature not in known]
        share_s = (until - begin) / (len(lanes) - at)
        if missing and share_s > 1:
            profile_kernels(
                missing,
                lane,
                identity=tag,
                seed=seed,
                fastest_us=speed_us,
                deadline_s=share_s,
                on_record=lambda record: store.add([record]),
                rough=rough,
            )
        spent[str(lane)] = time.monotonic() - begin
        print(f"{lane}: {len(missing)} kernels wanted, {spent[str(lane)]:.0f} s", flush=True)
    return spent


Wholes = dict[tuple[str, Lane], Measurement | Failure]


def time_models(place: Workplace, store: Store, graphs: Mapping[str, Graph], lanes: Sequence[Lane]) -> Wholes:
    """Every model whole on every lane, host arrays in and out; a model's lanes take turns in one process."""
    found: Wholes = {}
    for name, graph in graphs.items():
        known = {record.lane for record in store.stages(model_sha256=graph.sha256)}
        missing = [lane for lane in lanes if lane not in known]
        if not missing:
            continue
        begin = time.monotonic()
        with tempfile.TemporaryDirectory(dir=place.work) as folder:
            feeds = Path(folder) / "feeds.npz"
            save_arrays(feeds, models.sample_inputs(name, graph.inputs, count=1)[0])
            bench = Bench(graph, work=Path(folder) / "stages", feeds=feeds, scenario=Scenario.SINGLE_STREAM)
            wholes = [StageChoice(start=0, stop=len(graph.kernels), lane=lane) for lane in missing]
            jobs = [bench.job(Candidate(stages=(whole,)), str(whole.lane)) for whole in wholes]
            results = screen(jobs, rounds=ROUNDS, round_s=ROUND_S, deadline_s=DEADLINE_S)
        found |= {(name, lane): result for lane, result in zip(missing, results, strict=True)}
        texts = [f"{r.median_us / 1e3:.2f} ms" if isinstance(r, Measurement) else r.message for r in results]
        print(f"{name}: {', '.join(texts)} ({time.monotonic() - begin:.0f} s)", flush=True)
    return found


def store_fastest(place: Workplace, store: Store, graphs: Mapping[str, Graph], visits: Sequence[Wholes]) -> None:
    """Of every model and lane the fastest visit: the speed that kernels are brought to as well."""
    for (name, lane), result in visits[0].items():
        results = [visit.get((name, lane), result) for visit in visits]
        measured = [one for one in results if isinstance(one, Measurement)]
        best = min(measured, key=lambda one: one.median_us, default=result)
        tag = identity(place.device, place.processor(lane.processor), place.discovery, Protocol.SCREENING)
        store.add_stages([whole_record(graphs[name], lane, best, tag)])


def whole_record(graph: Graph, lane: Lane, result: Measurement | Failure, tag: Identity) -> StageRecord:
    return StageRecord(
        model_sha256=graph.sha256,
        start=0,
        stop=len(graph.kernels),
        kernels=tuple(use.kernel.signature for use in graph.kernels),
        bytes_in=sum(tensor.bytes for tensor in graph.inputs),
        bytes_out=sum(tensor.bytes for tensor in graph.outputs),
        lane=lane,
        result=result,
        identity=tag,
        notes=notes(),
    )


def measure(
    home: Path,
    *,
    minutes: float,
    synthetic: Sequence[Drawn],
    again: bool,
    names: Sequence[str],
    only: Sequence[str] = (),
) -> None:
    """Kernels for so many minutes, then whole models.

    Args:
        home: folder of the records.
        minutes: for kernels, on all lanes together.
        synthetic: kernels that follow those of the zoo.
        again: measure once more, in new sessions and another order, into the home's folder `again`.
        names: models of the zoo.
        only: lanes; empty: all that are judged.
    """
    with ExitStack() as stack:
        place = stack.enter_context(open_workplace(home / AGAIN if again else home))
        store = stack.enter_context(Store(place.store_url))
        graphs = load_zoo(names, place.work)
        for name, graph in graphs.items():
            store.add_model(graph.sha256, name, [use.kernel.signature for use in graph.kernels])
        store.add_drawn(synthetic)
        stack.enter_context(hold_device(place, Guarded(SilentObserver()), wait_s=WAIT_S))
        zoo, lanes = kernels_of(graphs), [lane for lane in lanes_here(place) if not only or str(lane) in only]
        rough = {one.kernel.signature for one in synthetic} - {kernel.signature for kernel in zoo}
        kernels = [*(reversed(zoo) if again else zoo), *(one.kernel for one in synthetic)]
        print(f"{len(zoo)} kernels of {len(graphs)} models, {len(kernels)} in all, {len(lanes)} lanes", flush=True)
        visits: list[Wholes] = []
        for visit in range(VISITS):
            begin = time.monotonic()
            measure_kernels(
                place,
                store,
                kernels,
                lanes,
                60 * minutes / VISITS,
                seed=VISITS * int(again) + visit,
                rough=rough,
                once_more=visit == VISITS - 1,  # earlier, a neighbour would leave no time for new ones
            )
            spent_s = time.monotonic() - begin + kernel_seconds(place.home)
            (place.home / SPENT).write_text(json.dumps({"kernels_s": spent_s}))
            print(f"kernels: {spent_s:.0f} s in all", flush=True)
            visits.append(time_models(place, store, graphs, lanes))
        store_fastest(place, store, graphs, visits)
