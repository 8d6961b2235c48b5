"""What is left to gain at float32: the zoo under ONNX Runtime's default, beside this machine's fastest matrix product.

The product of two large float32 matrices runs as near to the processor's peak as anything does. A model that did all
its floating-point operations at that rate, and nothing else, would be `most` times as fast as under the default: no
plan of these processors at float32 gains more. The product is timed in turns with the model, so that a slow minute
slows both.

    python benchmarks/headroom.py [--models yolo,squeezenet]
"""

from __future__ import annotations

import argparse
import math
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from common import write
from onnx import TensorProto, helper

from autotune import models
from autotune.core import DEFAULT_LANE, Lane, Measurement
from autotune.graph import load, save_arrays
from autotune.processors import discover, lanes_of, this_device
from autotune.profiler import Job, JobStage, screen

SIZE = 1024
ROUNDS = 12
ROUND_S = 0.05
DEADLINE_S = 300.0


def product_jobs(folder: Path) -> list[Job]:
    """A product of two SIZE × SIZE matrices, on every float32 lane with all cores."""
    shape = [SIZE, SIZE]
    weight = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["a", "b"], ["c"])],
        "product",
        [helper.make_tensor_value_info("a", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("c", TensorProto.FLOAT, shape)],
        [onnx.numpy_helper.from_array(weight, "b")],
    )
    path = folder / "product.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), str(path))
    save_arrays(folder / "product.npz", {"a": weight})
    cores = this_device().cores
    lanes = [lane for processor in discover().processors for lane in lanes_of(processor, cores=cores)]
    whole = [lane for lane in lanes if lane.precision.is_reference and lane.concurrency.threads == len(cores)]
    return [job(f"product {lane}", path, lane, ["c"], folder / "product.npz") for lane in whole]


def job(name: str, path: Path, lane: Lane, outputs: list[str], feeds: Path) -> Job:
    return Job(name=name, stages=(JobStage(file=str(path), lane=lane),), outputs=tuple(outputs), feeds=str(feeds))


def one(name: str, products: list[Job], folder: Path) -> dict[str, Any]:
    path, feeds = folder / f"{name}.onnx", folder / f"{name}.npz"
    onnx.save(models.build(name), str(path))
    graph = load(path)
    save_arrays(feeds, models.sample_inputs(name, graph.inputs, count=1)[0])
    default = job("default", path, DEFAULT_LANE, [tensor.name for tensor in graph.outputs], feeds)
    results = screen([default, *products], rounds=ROUNDS, round_s=ROUND_S, deadline_s=DEADLINE_S)
    first, *rest = [result.median_us if isinstance(result, Measurement) else float("inf") for result in results]
    rate = 2 * SIZE**3 / min(rest)  # floating-point operations per µs
    flops = models.get(name).flops
    return {
        "model": name,
        "default_us": first,
        "default_gflops": flops / first / 1e3,
        "product_gflops": rate / 1e3,
        "most": first * rate / flops,
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--models", default=",".join(models.names()))
    flags = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        products = product_jobs(folder)
        rows = [one(model, products, folder) for model in flags.models.split(",")]
    for row in rows:
        print(
            f"{row['model']:14} default {row['default_us'] / 1e3:8.1f} ms, {row['default_gflops']:6.1f} GFLOP/s; "
            f"product {row['product_gflops']:6.1f} GFLOP/s; at most {row['most']:.2f}x"
        )
    most = math.exp(sum(math.log(row["most"]) for row in rows) / len(rows))
    print(write("headroom", rows, geometric_mean_of_most=most))


if __name__ == "__main__":
    main()
