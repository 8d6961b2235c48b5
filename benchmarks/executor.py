"""What the executor costs: per hand-over between lanes, per fork and join; and what a split over two cores gains.

python benchmarks/executor.py
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from common import write
from onnx import TensorProto, helper, numpy_helper

from autotune.core import Lane
from autotune.graph import Graph, Split, SplitKind, divide, extract_sets, find_sites, load, partition
from autotune.processors import allowed_cores, spread
from autotune.runtime import StageRunner
from autotune.runtime.pipeline import Pipeline

RUNS, ROUNDS, STAGES = 1500, 5, 8
SHARES = (0.3, 0.4, 0.5, 0.6, 0.7)


class Nothing:
    """A session that hands its input on: what remains is the executor."""

    def run(self, output_names: Sequence[str], feeds: Mapping[str, Any], _: Any = None, /) -> list[Any]:
        return list(feeds.values())[: len(output_names)]


def median_us(call: Callable[[], Any], runs: int = RUNS) -> float:
    for _ in range(runs // 10):
        call()
    times = []
    for _ in range(runs):
        begin = time.perf_counter()
        call()
        times.append(time.perf_counter() - begin)
    return float(np.median(times)) * 1e6


def hand_overs(lanes: Sequence[Lane]) -> dict[str, float]:
    """µs per stage of a chain of stages that do nothing; round trips of one request, and throughput of many."""
    value = np.zeros((1, 64), np.float32)

    def chain(pattern: Sequence[Lane]) -> Pipeline:
        steps = [(Nothing(), [f"t{at}"], [f"t{at + 1}"]) for at in range(len(pattern))]
        return Pipeline(steps, pattern, [f"t{len(pattern)}"])

    def many(pipeline: Pipeline) -> float:
        begin = time.perf_counter()
        futures = [pipeline.submit(None, {"t0": value}) for _ in range(RUNS)]
        for future in futures:
            future.result()
        return (time.perf_counter() - begin) / RUNS * 1e6

    first, second = lanes
    found: dict[str, list[float]] = {}
    pipelines = {
        "one stage": chain([first]),
        "same lane": chain([first] * STAGES),
        "two lanes": chain([first, second] * (STAGES // 2)),
    }
    fork = [(Nothing(), ["t0"], ["a"]), (Nothing(), ["t0"], ["b"]), (Nothing(), ["a", "b"], ["y"])]
    pipelines["fork and join"] = Pipeline(fork, [first, second, first], ["y"])
    for _ in range(ROUNDS):
        for name, pipeline in pipelines.items():
            found.setdefault(name, []).append(median_us(lambda p=pipeline: p.submit(None, {"t0": value}).result()))  # type: ignore[misc]
            found.setdefault(f"{name}, many requests", []).append(many(pipeline))
    for pipeline in pipelines.values():
        pipeline.close()
    us = {name: min(values) for name, values in found.items()}
    return us | {
        "round trip of submit": us["one stage"],
        "per hand-over between lanes": (us["two lanes"] - us["one stage"]) / (STAGES - 1),
        "per hand-over within a lane": (us["same lane"] - us["one stage"]) / (STAGES - 1),
        "per stage between lanes, many requests": us["two lanes, many requests"] / STAGES,
    }


def convolution(path: Path, channels: int, size: int) -> Graph:
    rng = np.random.default_rng(0)
    weight = (rng.standard_normal((channels, channels, 3, 3)) * 0.05).astype(np.float32)
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, channels, size, size]) for name in "xy"]
    nodes = [helper.make_node("Conv", ["x", "w"], ["c"], name="c", pads=[1] * 4), helper.make_node("Relu", "c", "y")]
    graph = helper.make_graph(nodes, path.stem, ends[:1], ends[1:], [numpy_helper.from_array(weight, "w")])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), str(path))
    return load(path)


def split_runner(graph: Graph, kind: SplitKind, share: float, lanes: Sequence[Lane], folder: Path) -> StageRunner:
    site = max((s for s in find_sites(graph) if s.kind is kind), key=lambda s: len(s.operators))
    split = Split(operators=site.operators, axis=site.axis, shares=(share, 1 - share))
    divided = divide(graph, [split], work=folder / "model")
    stages = partition(divided.graph, divided.stages())
    second = set(divided.parts[0][1])
    files = extract_sets(divided.graph, stages, folder / "stages")
    where = [lanes[1] if set(file.stage.operators) <= second else lanes[0] for file in files]
    return StageRunner([(file.path, lane) for file, lane in zip(files, where, strict=True)], ["y"])


def splits(lanes: Sequence[Lane], folder: Path) -> dict[str, dict[str, float]]:
    """µs of a convolution with its activation: on one core, on two by threads, on two by splits."""
    results = {}
    for channels, size in ((32, 160), (64, 56), (256, 14)):
        graph = convolution(folder / f"conv{channels}.onnx", channels, size)
        feeds = {"x": np.ones((1, channels, size, size), np.float32)}
        whole = str(graph.path)
        runners = {
            "1 thread": StageRunner([(whole, lanes[0])], ["y"]),
            "2 threads": StageRunner([(whole, Lane.parse("cpu/f32/t2"))], ["y"]),
        }
        for kind in (SplitKind.CHANNELS, SplitKind.HEIGHT):
            for share in SHARES:
                place = folder / f"{channels}-{kind}-{share}"
                runners[f"{kind} {share:g}"] = split_runner(graph, kind, share, lanes, place)
        times: dict[str, list[float]] = {}
        for _ in range(ROUNDS):
            for name, runner in runners.items():
                times.setdefault(name, []).append(median_us(partial(runner.run, None, feeds), runs=60))
        for runner in runners.values():
            runner.close()
        results[f"Conv {channels}x{channels} 3x3 on {size}x{size}"] = {
            name: min(found) for name, found in times.items()
        }
    return results


def main() -> None:
    lanes = spread([Lane.parse("cpu/f32/t1"), Lane.parse("cpu/f32/t1/nospin")], allowed_cores()[:2])
    with tempfile.TemporaryDirectory() as folder:
        results: dict[str, Any] = {"hand-overs": hand_overs(lanes), "splits": splits(lanes, Path(folder))}
    for name, value in results["hand-overs"].items():
        print(f"{name:45} {value:9.2f} µs")
    for name, row in results["splits"].items():
        best = min((key for key in row if "thread" not in key), key=lambda key: row[key])
        print(
            f"{name:35} 1 thread {row['1 thread']:7.0f}, 2 threads {row['2 threads']:7.0f}, {best} {row[best]:7.0f} µs"
        )
    per_hand_over = results["hand-overs"]["per hand-over between lanes"]
    print(write("executor", results, per_hand_over_us=per_hand_over, lanes=[str(lane) for lane in lanes]))


if __name__ == "__main__":
    main()
