"""Active learning beside random and grid sampling (replayed), and measuring while the committee learns (live).

python benchmarks/active_learning.py --home FOLDER [--part replay|search|overlap] [--seeds 5] [--lanes cpu/f32/t1,…]

Replay: each measured kernel of the store's models is revealed when asked for and costs the time that its measuring
takes by the protocol. A quarter of the kernels is never revealed. Error: mean |log(predicted / measured)| of those
(`held_out`), and of the others weighted by their share of their models' time, measured ones counting as known (`costs`:
what a search would believe of the models in hand).

Search: a model is searched for the first time, the kernels of the others are known. Its own are revealed in the order
in which the search would measure them (`learning.ranked`), the largest first, or at random. Error: of its kernels
weighted by their share of its time, measured ones counting as known, over the share of the time that all of them take.
"""

from __future__ import annotations

import argparse
import random
import statistics
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from common import write

from autotune.api import SearchSettings, profile
from autotune.core import Kernel, Lane, Measurement, ProfileRecord, Protocol
from autotune.core.codec import encode
from autotune.datasets import DRAWN, Store
from autotune.learning import Belief, DeviceMeasurer, Queue, believe, free_core, ranked
from autotune.predictor.features import KernelRows
from autotune.processors import discover, this_device
from autotune.processors.cores import pin_thread
from autotune.profiler import expected_seconds, identity

STEPS = 12
FINAL_SHARE = 0.5
"""Of the whole pool's measuring time: where random sampling ends."""
METRICS = ("held_out", "costs")
Batch = list[tuple[str, Lane]]
IDLE, BUSY, IDLE_AGAIN = "idle", "while another core trains", "idle again"
TURNS = (IDLE, BUSY, IDLE_AGAIN)
"""Of a live measurement, forth and back, so that a drift falls on all alike; the idle ones differ by noise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """What can be revealed, and what it costs."""

    records: dict[tuple[str, Lane], ProfileRecord]
    kernels: dict[str, Kernel]
    uses: list[Counter[str]]
    hidden: frozenset[str]
    rows: KernelRows = field(default_factory=KernelRows)

    @property
    def lanes(self) -> list[Lane]:
        return list(dict.fromkeys(lane for _, lane in self.records))

    @property
    def open(self) -> Batch:
        return [key for key in self.records if key[0] not in self.hidden]

    def truth_us(self, key: tuple[str, Lane]) -> float:
        result = self.records[key].result
        return result.median_us if isinstance(result, Measurement) else float("nan")

    def seconds(self, key: tuple[str, Lane]) -> float:
        return expected_seconds(self.kernels[key[0]], self.truth_us(key))

    def errors(self, belief: Belief, known: set[tuple[str, Lane]]) -> dict[str, float]:
        held: list[float] = []
        costs: list[float] = []
        for lane in self.lanes:
            signatures = [s for s, own in self.records if own == lane]
            logs, _ = belief.predict([self.kernels[s] for s in signatures], lane, self.rows)
            truth = np.array([self.truth_us((s, lane)) for s in signatures])
            off = np.abs(logs - np.log(truth))
            held += off[[s in self.hidden for s in signatures]].tolist()
            off[[(s, lane) in known for s in signatures]] = 0.0
            for use in self.uses:
                share = truth * [0 if s in self.hidden else use[s] for s in signatures]
                if share.sum() > 0:
                    costs.append(float(np.average(off, weights=share)))
        return {"held_out": statistics.fmean(held), "costs": statistics.fmean(costs)}


def load_pool(home: Path, lanes: Sequence[str], seed: int) -> Pool:
    with Store(f"sqlite:///{home / 'profiles.db'}") as store:
        found = store.kernels(lanes=[Lane.parse(text) for text in lanes] or None)
        models = store.models()
    named = [signatures for name, signatures in models.values() if not name.startswith(DRAWN)]
    asked = set().union(*named)
    measured = [
        record for record in found if isinstance(record.result, Measurement) and record.kernel.signature in asked
    ]
    records = {(record.kernel.signature, record.lane): record for record in measured}
    if not records:
        raise SystemExit(f"{home} holds no measured kernels: run `autotune profile` with AUTOTUNE_HOME={home}")
    kernels = {signature: record.kernel for (signature, _), record in records.items()}
    uses = [Counter(s for s in signatures if s in kernels) for signatures in named]
    hidden = random.Random(seed).sample(sorted(kernels), len(kernels) // 4)
    return Pool(records=records, kernels=kernels, uses=uses, hidden=frozenset(hidden))


def in_order(pool: Pool, order: Batch) -> Callable[[Belief, float], Batch]:
    """The next ones of a fixed order until their seconds are spent."""
    waiting = iter(order)

    def more(_: Belief, seconds: float) -> Batch:
        batch: Batch = []
        while seconds > 0 and (key := next(waiting, None)) is not None:
            batch.append(key)
            seconds -= pool.seconds(key)
        return batch

    return more


def at_random(pool: Pool, seed: int) -> Callable[[Belief, float], Batch]:
    return in_order(pool, random.Random(seed).sample(pool.open, len(pool.open)))


def on_grid(pool: Pool, seed: int) -> Callable[[Belief, float], Batch]:
    """Round and round over the cells of a grid of lane, family, work (×8) and bytes (×8)."""
    cells: dict[tuple[object, ...], Batch] = {}
    for key in random.Random(seed).sample(pool.open, len(pool.open)):
        kernel = pool.kernels[key[0]]
        moved = kernel.bytes_read + kernel.bytes_written + kernel.weight_bytes
        place = (str(key[1]), kernel.family, int(np.log2(kernel.flops + 1) // 3), int(np.log2(moved + 1) // 3))
        cells.setdefault(place, []).append(key)

    def turns() -> Iterator[tuple[str, Lane]]:
        while any(cells.values()):
            for place in sorted(cells, key=str):
                if cells[place]:
                    yield cells[place].pop()

    return in_order(pool, list(turns()))


def asked_for(pool: Pool, seed: int) -> Callable[[Belief, float], Batch]:  # noqa: ARG001 - as the others
    """What `autotune profile --budget` would measure."""
    kernels = {s: kernel for s, kernel in pool.kernels.items() if s not in pool.hidden}
    missing = {(s, lane) for s in kernels for lane in pool.lanes} - set(pool.open)
    queue = Queue(kernels, pool.lanes, settled=missing, uses=pool.uses, seconds=expected_seconds)

    def more(belief: Belief, seconds: float) -> Batch:
        batch: Batch = []
        queue.rank(belief)
        while seconds > 0 and len(queue):
            lane, chosen = queue.take(seconds)
            keys = [(kernel.signature, lane) for kernel in chosen]
            batch += keys
            seconds -= sum(map(pool.seconds, keys))
        return batch

    return more


STRATEGIES = {"random": at_random, "grid": on_grid, "active": asked_for}


def replay(pool: Pool, strategy: str, seed: int) -> list[dict[str, float]]:
    """Error after each step, until random sampling's share of the measuring time is spent."""
    final_s = FINAL_SHARE * sum(map(pool.seconds, pool.open))
    more, belief, spent_s = STRATEGIES[strategy](pool, seed), Belief(cores=len(this_device().cores)), 0.0
    known: set[tuple[str, Lane]] = set()
    curve: list[dict[str, float]] = []
    while spent_s < final_s:
        batch = more(belief, min(final_s / STEPS, final_s - spent_s))
        if not batch:
            break
        known.update(batch)
        spent_s += sum(map(pool.seconds, batch))
        belief = believe([pool.records[key] for key in known], belief, seed=seed)
        curve.append({"seconds": spent_s, "kernels": float(len(known))} | pool.errors(belief, known))
    return curve


SHARES = np.linspace(0.0, 1.0, 41)


def first_search(pool: Pool, seed: int) -> dict[str, npt.NDArray[np.float64]]:
    """By order: error at `SHARES` of each model's measuring time, mean over models and lanes."""
    curves: dict[str, list[npt.NDArray[np.float64]]] = {}
    cores = len(this_device().cores)
    for use in pool.uses:
        others = [record for (signature, _), record in pool.records.items() if signature not in use]
        belief = believe(others, Belief(cores=cores), seed=seed)
        for lane in pool.lanes:
            own = [pool.kernels[s] for s in use if (s, lane) in pool.records]
            orders = {
                "random": random.Random(seed).sample(own, len(own)),
                "largest": sorted(own, key=lambda kernel: -kernel.flops),
                "ranked": ranked({lane: own}, use, others, cores=cores, seed=seed)[lane],
            }
            keys = {id(kernel): (kernel.signature, lane) for kernel in own}
            truth = {at: pool.truth_us(key) for at, key in keys.items()}
            logs = belief.predict(own, lane, pool.rows)[0]
            off = {id(kernel): abs(log - np.log(truth[id(kernel)])) for kernel, log in zip(own, logs, strict=True)}
            weight = {id(kernel): use[kernel.signature] * truth[id(kernel)] for kernel in own}
            for name, order in orders.items():
                seconds = np.cumsum([0.0, *(pool.seconds(keys[id(kernel)]) for kernel in order)])
                gains = np.cumsum([0.0, *(weight[id(kernel)] * off[id(kernel)] for kernel in order)])
                error = (gains[-1] - gains) / sum(weight.values())
                at = np.searchsorted(seconds / seconds[-1], SHARES + 1e-9, side="right") - 1
                curves.setdefault(name, []).append(error[at])
    return {name: np.mean(own, axis=0) for name, own in curves.items()}


def search_all(home: Path, lanes: Sequence[str], seeds: int) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    shares: dict[str, list[float]] = {}
    for seed in range(seeds):
        curves = first_search(load_pool(home, lanes, seed), seed)
        final = curves["random"][int(FINAL_SHARE * (len(SHARES) - 1))]
        for name, curve in curves.items():
            shares.setdefault(name, []).append(float(SHARES[np.argmax(curve <= final)]) / FINAL_SHARE)
            reached = f"random's {final:.1%} after {shares[name][-1]:.0%} of its time"
            print(f"seed {seed} {name:8} from {curve[0]:.1%} to {reached}", flush=True)
        rows.append({"seed": seed, "curves": {name: curve.tolist() for name, curve in curves.items()}})
    medians = {name: {"median": statistics.median(own), "all": own} for name, own in shares.items()}
    return rows, {f"search, {name}: share of random's time": found for name, found in medians.items()}


def time_to(curve: Sequence[dict[str, float]], metric: str, error: float) -> float:
    """Seconds until the error is reached, straight between steps; infinite where it is not."""
    before = curve[0]
    for point in curve:
        if point[metric] <= error:
            fall = before[metric] - point[metric]
            part = (before[metric] - error) / fall if fall > 0 else 1.0
            return before["seconds"] + part * (point["seconds"] - before["seconds"])
        before = point
    return float("inf")


def replay_all(home: Path, lanes: Sequence[str], seeds: int) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    shares: dict[tuple[str, str], list[float]] = {(s, m): [] for s in STRATEGIES for m in METRICS}
    for seed in range(seeds):
        pool = load_pool(home, lanes, seed)
        curves = {strategy: replay(pool, strategy, seed) for strategy in STRATEGIES}
        rows.append({"seed": seed, "curves": curves})
        for strategy, curve in curves.items():
            for metric in METRICS:
                last = curves["random"][-1]
                shares[strategy, metric].append(time_to(curve, metric, last[metric]) / last["seconds"])
            ends = ", ".join(f"{metric} {curve[-1][metric]:.1%}" for metric in METRICS)
            reached = ", ".join(f"{shares[strategy, metric][-1]:.0%}" for metric in METRICS)
            print(f"seed {seed} {strategy:7} ends at {ends}; random's end after {reached} of its time", flush=True)
    summary = {
        f"{strategy} {metric}: share of random's time": {
            "median": statistics.median(own),
            "all": [share if np.isfinite(share) else "not reached" for share in own],
        }
        for (strategy, metric), own in shares.items()
    }
    return rows, summary


def overlap(lane: Lane, pairs: int, budget_s: float, model: str) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Live: spans of measuring and training; how far medians move while another core trains, and while none does."""
    device, found = this_device(), discover()
    spare = free_core(lane, device.cores)
    if spare is None:
        raise SystemExit(f"{lane} needs every core: name a lane with fewer threads")
    spans: list[dict[str, object]] = []

    class Spans:
        def progress(self, *_: object, **__: object) -> None: ...

        def event(self, name: str, fields: Any) -> None:
            if name == "learning":
                spans.append(dict(fields))

    with tempfile.TemporaryDirectory() as folder:
        settings = SearchSettings(home=Path(folder), budget_s=budget_s)
        profile([model], settings, lanes=[str(lane)], observer=Spans())
        with Store(f"sqlite:///{Path(folder) / 'profiles.db'}") as store:
            records = store.kernels()
    if not records:
        raise SystemExit(f"nothing was measured within {budget_s:.0f} s: give a larger --budget")
    tag = identity(device, found.get(lane.processor), found, Protocol.MARGINAL)
    measurer, others = DeviceMeasurer(lambda _: tag), tuple(core for core in device.cores if core != spare)
    kernels = [record.kernel for record in records][:16]
    medians: dict[str, dict[str, list[float]]] = {turn: {} for turn in TURNS}
    for turn in (turn for at in range(pairs) for turn in (TURNS if at % 2 == 0 else TURNS[::-1])):
        stop = threading.Event()

        def train(stop: threading.Event = stop) -> None:
            pin_thread((spare,))
            while not stop.is_set():
                believe(records, Belief(cores=len(device.cores)))

        trainer = threading.Thread(target=train)
        if turn == BUSY:
            trainer.start()
        new: list[ProfileRecord] = []
        measurer.measure(kernels, lane, cores=others, deadline_s=120.0, on_record=new.append)
        stop.set()
        if turn == BUSY:
            trainer.join()
        for record in new:
            if isinstance(record.result, Measurement):
                medians[turn].setdefault(record.kernel.signature, []).append(record.result.median_us)
    moved = {turn: shifts(medians[IDLE], medians[turn]) for turn in (BUSY, IDLE_AGAIN)}
    summary: dict[str, Any] = {"lane": str(lane), "pairs": pairs}
    for turn, own in moved.items():
        summary[turn] = {
            "kernels": len(own),
            "median_shift": statistics.median(own),
            "median_absolute_shift": statistics.median(map(abs, own)),
        }
        print(
            f"{lane}, {turn}: medians of {len(own)} kernels move by {summary[turn]['median_shift']:+.1%}, "
            f"either way by {summary[turn]['median_absolute_shift']:.1%}"
        )
    return [{"spans": spans, "shifts": moved}], summary


def shifts(before: Mapping[str, Sequence[float]], after: Mapping[str, Sequence[float]]) -> list[float]:
    """Relative change of each kernel's median over turns."""
    return [
        statistics.median(own) / statistics.median(before[signature]) - 1
        for signature, own in after.items()
        if signature in before
    ]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--home", default="", help="its records are replayed")
    parser.add_argument("--part", choices=("replay", "search", "overlap"), default="replay")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--lanes", default="", help="separated by commas; default: all of the store; cpu/f32/t1 live")
    parser.add_argument("--pairs", type=int, default=6, help="live: how often each turn is taken; even cancels drifts")
    parser.add_argument("--budget", type=float, default=30.0, help="seconds of the live learning")
    parser.add_argument("--model", default="yolo", help="whose kernels are measured live")
    flags = parser.parse_args()
    lanes = [text for text in flags.lanes.split(",") if text]
    if flags.part in ("replay", "search"):
        part = replay_all if flags.part == "replay" else search_all
        rows, summary = part(Path(flags.home), lanes, flags.seeds)
    else:
        rows, summary = overlap(Lane.parse((lanes or ["cpu/f32/t1"])[0]), flags.pairs, flags.budget, flags.model)
    print(write(f"active_learning_{flags.part}", encode(rows), **summary))


if __name__ == "__main__":
    main()
