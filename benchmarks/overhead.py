"""Plan against a bare session, cost of a further stage, throughput of the cost table and of the exact seeds.

python benchmarks/overhead.py
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from common import write
from onnx import TensorProto, helper

from autotune.core import Lane
from autotune.graph import extract, load
from autotune.planning import CostTable, Setting, exact_chain
from autotune.processors import create_session
from autotune.runtime import StageRunner
from autotune.runtime.pipeline import Pipeline

RUNS = 3000
LANE = Lane.parse("cpu/f32/t1")


def chain(length: int, path: Path) -> None:
    kinds = ("Relu", "Softmax")  # two kinds that are never fused
    nodes = [helper.make_node(kinds[at % 2], [f"t{at}"], [f"t{at + 1}"]) for at in range(length)]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 64]) for name in ("t0", f"t{length}")]
    graph = helper.make_graph(nodes, "chain", ends[:1], ends[1:])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), str(path))


def median_us(call: Callable[[], Any]) -> float:
    for _ in range(200):
        call()
    times = []
    for _ in range(RUNS):
        begin = time.perf_counter()
        call()
        times.append(time.perf_counter() - begin)
    return float(np.median(times)) * 1e6


def runtime_overhead(folder: Path) -> dict[str, float]:
    path = folder / "chain.onnx"
    chain(8, path)
    graph = load(path)
    feeds = {"t0": np.ones((1, 64), np.float32)}
    outputs = [graph.outputs[0].name]
    count = len(graph.kernels)
    whole = extract(graph, [(0, count)], folder / "whole")[0]
    bare = create_session(str(whole.path), LANE)
    plan = StageRunner([(str(whole.path), LANE)], outputs)
    found = {"bare_us": [], "plan_us": [], "stages_us": [], "sessions_us": [], "pipeline_us": []}  # type: dict[str, list[float]]
    legal = [cut.position for cut in graph.cuts if cut.legal and 0 < cut.position < count][:3]
    spans = list(zip([0, *legal], [*legal, count], strict=True))
    files = extract(graph, spans, folder / "stages")
    staged = StageRunner([(str(file.path), LANE) for file in files], outputs)
    sessions = [create_session(str(file.path), LANE) for file in files]

    def by_hand() -> Any:
        tensors = dict(feeds)
        for session, file in zip(sessions, files, strict=True):
            names = [tensor.name for tensor in file.outputs]
            tensors |= dict(zip(names, session.run(names, {t.name: tensors[t.name] for t in file.inputs}), strict=True))
        return tensors

    steps = [
        (session, [t.name for t in f.inputs], [t.name for t in f.outputs])
        for session, f in zip(sessions, files, strict=True)
    ]
    pipeline = Pipeline(steps, [f"lane {at}" for at in range(len(steps))], outputs)
    for _ in range(5):
        found["pipeline_us"].append(median_us(lambda: pipeline.submit(None, feeds).result()))
        found["bare_us"].append(median_us(lambda: bare.run(outputs, feeds)))
        found["plan_us"].append(median_us(lambda: plan.run(outputs, feeds)))
        found["stages_us"].append(median_us(lambda: staged.run(outputs, feeds)))
        found["sessions_us"].append(median_us(by_hand))
    pipeline.close()
    medians = {name: float(np.median(values)) for name, values in found.items()}
    further = max(1, len(spans) - 1)
    return medians | {
        "stages": len(spans),
        "single_lane_overhead_us": medians["plan_us"] - medians["bare_us"],
        "per_further_stage_us": (medians["stages_us"] - medians["plan_us"]) / further,
        "pipeline_per_hand_over_us": (medians["pipeline_us"] - medians["stages_us"]) / (len(spans) + 1),
        "executor_alone_per_stage_us": (medians["stages_us"] - medians["sessions_us"]) / len(spans),
    }


def search_throughput() -> dict[str, Any]:
    rng = np.random.default_rng(0)
    count, lanes = 300, tuple(Lane.parse(f"cpu/{p}/t{t}") for p in ("f32", "bf16") for t in (1, 2, 3))
    cost = rng.uniform(10, 1000, (count, 6))
    cost[:, 3:] = cost[:, :3] * 0.5
    error = np.zeros((count, 6, 1))
    error[:, 3:] = rng.uniform(0, 1e-8, (count, 3, 1))
    entry, leave = rng.uniform(50, 150, (count + 1, 6)), rng.uniform(5, 50, (count + 1, 6))
    table = CostTable(
        setting=Setting(),
        lanes=lanes,
        kernel_us=cost,
        entry_us=entry,
        exit_us=leave,
        error=error,
        change_us=np.zeros((len(lanes),) * 2),
    )
    seconds = {}
    for tolerance in (1e-4, 5e-4, 8e-4):
        begin = time.perf_counter()
        optimum = exact_chain(table, weights=np.ones(1), budget=tolerance**2)
        seconds[f"exact_300x6_s at {tolerance:g}"] = time.perf_counter() - begin
        seconds[f"exact at {tolerance:g}"] = bool(optimum and optimum.exact)
    begin = time.perf_counter()
    table.all_stages_us()
    return seconds | {"stages_priced_per_s": table.triples / (time.perf_counter() - begin)}


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        runtime = runtime_overhead(Path(folder))
    throughput = search_throughput()
    for name, value in (runtime | throughput).items():
        print(f"{name:36} {value:,.3f}" if isinstance(value, float) else f"{name:36} {value}")
    print(write("overhead", {"runtime": runtime, "search": throughput}))


if __name__ == "__main__":
    main()
