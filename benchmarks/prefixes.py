"""Kernels as they are measured alone, beside beginnings of the model that hold them: what a sum of kernels gets wrong.

    python benchmarks/prefixes.py [--model squeezenet] [--lanes cpu/f32/t2/nospin,openvino:cpu/bf16/t2]

A beginning ends at a legal cut and pays what crosses it besides: those with as many bytes are to be compared.
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from common import write
from own_records import kernels_of
from spaces import all_core_lanes

from autotune.api import SearchSettings
from autotune.api.task import load_model
from autotune.api.workplace import Workplace, hold_device, open_workplace
from autotune.core import Lane, Measurement, ProfileRecord, Protocol, SilentObserver
from autotune.errors import SessionError
from autotune.graph import Graph, extract
from autotune.profiler import identity, profile_kernels
from autotune.profiler.probes import Bound

BEGINNINGS = 20
VISITS, ROUNDS, ROUND_S = 3, 8, 0.01
KERNELS_S = 120.0


def kernels_us(graph: Graph, lane: Lane, place: Workplace) -> np.ndarray[Any, Any]:
    """[K] marginal costs as a profile measures them; NaN where one failed."""
    found: dict[str, float] = {}

    def keep(record: ProfileRecord) -> None:
        if isinstance(record.result, Measurement):
            found[record.kernel.signature] = record.result.median_us

    tag = identity(place.device, place.processor(lane.processor), place.discovery, Protocol.MARGINAL)
    profile_kernels(kernels_of({"": graph}), lane, identity=tag, deadline_s=KERNELS_S, on_record=keep)
    return np.array([found.get(use.kernel.signature, np.nan) for use in graph.kernels])


def beginnings_us(graph: Graph, lane: Lane, stops: list[int], folder: Path) -> dict[int, tuple[float, int]]:
    """By the kernel where it ends: µs of a beginning (the faster half of its rounds) and bytes that leave it.

    One is open at a time: many sessions beside each other take each other's caches. A beginning that the provider
    cannot run is left out.
    """
    files = {stop: extract(graph, [(0, stop)], folder / str(stop))[0] for stop in stops}
    found: dict[int, list[float]] = {}
    for _ in range(VISITS):
        for stop, file in files.items():
            with contextlib.suppress(SessionError):
                bound = Bound(str(file.path), file.inputs, lane)
                found.setdefault(stop, []).extend(bound.sample_us(ROUND_S) for _ in range(ROUNDS))
                del bound
    return {
        stop: (
            statistics.median(sorted(us)[: len(us) // 2]),
            sum(tensor.bytes for tensor in files[stop].outputs),
        )
        for stop, us in found.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", default="squeezenet")
    parser.add_argument(
        "--lanes", default="", help="texts such as openvino:cpu/bf16/t2; without them all that are here"
    )
    flags = parser.parse_args()
    rows: list[dict[str, Any]] = []
    with (
        tempfile.TemporaryDirectory() as folder,
        open_workplace(Path(folder) / "home") as place,
        hold_device(place, SilentObserver(), wait_s=600.0),
    ):
        graph, _, _ = load_model(flags.model, SearchSettings(), place.work)
        legal = [stop for stop in range(1, len(graph.kernels) + 1) if graph.cuts[stop].legal]
        stops = sorted({*legal[:: max(1, len(legal) // BEGINNINGS)], legal[-1]})
        for text in flags.lanes.split(",") if flags.lanes else map(str, all_core_lanes()):
            lane = Lane.parse(text)
            summed = np.concatenate([[0.0], np.cumsum(kernels_us(graph, lane, place))])
            for stop, (us, out) in beginnings_us(graph, lane, stops, Path(folder) / text.replace("/", "_")).items():
                ops = [use.kernel.ops for use in graph.kernels[max([0, *(s for s in stops if s < stop)]) : stop]]
                row = {
                    "lane": text,
                    "kernels": stop,
                    "last": ops,
                    "us": us,
                    "sum_us": summed[stop],
                    "bytes_out": out,
                }
                rows.append(row)
                print(
                    f"{text:22} {stop:4} kernels {us:9.1f} us, their sum {summed[stop]:9.1f}, "
                    f"{out / 1e3:7.0f} kB leave, last: {', '.join(ops)}",
                    flush=True,
                )
    whole = {row["lane"]: row["sum_us"] / row["us"] for row in rows if row["kernels"] == stops[-1]}
    print(write("prefixes", rows, model=flags.model, sum_over_whole=whole))


if __name__ == "__main__":
    main()
