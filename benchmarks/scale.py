"""A million kernel records: made, imported, read by column, learnt from, predicted; seconds and memory of each step.

    python benchmarks/scale.py [--kernels 250000] [--rows FILE]

Kernels come from the project's generator (`datasets.kernels_around`), four lanes each. Their latencies are
*invented* (a roofline with tile effects and noise, deterministic): this measures the way that records take, not a
predictor. Some rows are spoilt on purpose, so that the check on the way in can be seen. Every step is a process.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pyarrow as pa
import pyarrow.parquet as pq
from common import write

from autotune import models
from autotune.core import Device, Identity, Kernel, Lane, Notes, Protocol
from autotune.datasets import PARQUET_SCHEMA_VERSION, Store, import_parquet, kernels_around
from autotune.datasets import rows as stored
from autotune.datasets.cards import COLUMNS, UNITS, card_path
from autotune.graph import load
from autotune.predictor import KernelPredictor, training_columns

LANES = tuple(map(Lane.parse, ("cpu/f32/t1", "cpu/f32/t2", "openvino:cpu/f32/t2", "openvino:cpu/bf16/t2")))
RATE = np.array([50e3, 90e3, 120e3, 260e3])
"""Invented FLOPs per µs by lane."""
DEVICE = Device(id="5ca1e0000000", name="invented", system="none", machine="none", cores=(0, 1), memory_bytes=2**34)
SAMPLES = 5
SPOILT = 100
"""Rows whose latency is below 0."""
SHARE = 2500
"""Kernels that are drawn from one seed."""
PREDICTIONS = 100_000


def parents(folder: Path) -> list[Kernel]:
    """Kernels of the zoo's models."""
    found: dict[str, Kernel] = {}
    for name in models.names():
        if name == "vgg16":
            continue  # half a gigabyte of weights for ten kernels
        onnx.save(models.build(name), str(folder / f"{name}.onnx"))
        found |= {use.kernel.signature: use.kernel for use in load(folder / f"{name}.onnx").kernels}
    return list(found.values())


def drawn(kernels: list[Kernel], seed: int) -> list[tuple[str, str, int, int, int]]:
    """A share of kernels: signature, JSON, FLOPs, bytes, last dimension."""
    return [
        (
            kernel.signature,
            stored.to_json(kernel),
            kernel.flops,
            kernel.bytes_read + kernel.bytes_written + kernel.weight_bytes,
            (kernel.outputs[0].shape or (1,))[1 if len(kernel.outputs[0].shape or ()) > 1 else 0],
        )
        for kernel in kernels_around(kernels, count=SHARE, seed=seed)
    ]


def make(path: Path, count: int) -> dict[str, Any]:
    """The Parquet file and its card."""
    with tempfile.TemporaryDirectory() as folder:
        kernels = parents(Path(folder))
    table: dict[str, tuple[Any, ...]] = {}
    seeds = iter(range(10 * count // SHARE + 10))
    workers = os.cpu_count() or 1
    with ProcessPoolExecutor(workers) as pool:
        while len(table) < count:
            waiting = [pool.submit(drawn, kernels, next(seeds)) for _ in range(2 * workers)]
            for future in waiting:
                table |= {signature: tuple(rest) for signature, *rest in future.result()}
    signatures = sorted(table)[:count]
    texts = [table[signature][0] for signature in signatures]
    flops, moved, width = np.array([table[signature][1:] for signature in signatures], dtype=float).T
    rng = np.random.default_rng(0)
    tile = width / (np.ceil(width / 16) * 16)
    latency_us = 2.0 + flops[:, None] / (RATE * tile[:, None]) + moved[:, None] / 20e3
    noise = rng.normal(0.0, 0.02, (count, len(LANES), 1)) + rng.normal(0.0, 0.01, (count, len(LANES), SAMPLES))
    samples = latency_us[:, :, None] * np.exp(noise)
    total = count * len(LANES)
    spoilt = rng.choice(total, SPOILT, replace=False)
    flat = samples.reshape(total, SAMPLES)
    flat[spoilt, 0] *= -1
    identities = [
        Identity(device=DEVICE.id, provider=lane.processor, runtime="invented", protocol=Protocol.MARGINAL)
        for lane in LANES
    ]
    kernel_code, lane_code = np.repeat(np.arange(count), len(LANES)), np.tile(np.arange(len(LANES)), count)
    notes = stored.to_json(Notes(time="2026-01-01T00:00:00Z", code_version="0"))
    columns = {
        "signature": _coded(kernel_code, signatures),
        "kernel": _coded(kernel_code, texts),
        "lane": _coded(lane_code, [stored.lane_json(lane) for lane in LANES]),
        "identity": _coded(lane_code, [stored.identity_json(identity) for identity in identities]),
        "notes": _coded(np.zeros(total), [notes]),
        "samples_us": pa.ListArray.from_arrays(np.arange(0, flat.size + 1, SAMPLES, dtype=np.int32), flat.ravel()),
        "load_s": pa.array(np.zeros(total)),
        "peak_bytes": pa.array(np.zeros(total, dtype=np.int64)),
        "failure_kind": _coded(np.zeros(total), [""]),
        "failure_message": _coded(np.zeros(total), [""]),
    }
    pq.write_table(pa.table({name: columns[name] for name in COLUMNS}), path, compression="zstd")
    card = {"schema_version": PARQUET_SCHEMA_VERSION, "what": "invented latencies of synthetic kernels", "units": UNITS}
    card_path(path).write_text(json.dumps(card))
    return {"rows": total, "kernels": count, "lanes": len(LANES), "spoilt_rows": SPOILT, "file_mb": _mb(path)}


def _coded(codes: np.ndarray, texts: list[str]) -> pa.Array:
    return pa.DictionaryArray.from_arrays(pa.array(codes, pa.int32()), pa.array(texts))


def _mb(path: Path) -> int:
    return round(path.stat().st_size / 1e6)


def bring_in(path: Path, home: Path) -> dict[str, Any]:
    """The import, every row checked."""
    with Store(f"sqlite:///{home / 'profiles.db'}") as store:
        report = import_parquet(store, path)
    first = report.refused[0]
    return {
        "added": report.added,
        "refused": len(report.refused),
        "first_refused": f"row {first.row}: {first.reason}",
        "store_mb": _mb(home / "profiles.db"),
    }


def learn(home: Path) -> dict[str, Any]:
    """Read by column, fit the default predictor, predict."""
    steps: dict[str, Any] = {}
    with Store(f"sqlite:///{home / 'profiles.db'}") as store:
        columns = _timed(steps, "load", lambda: store.columns(device=DEVICE.id))
    data = _timed(steps, "sort", lambda: training_columns(columns, DEVICE))
    predictor = _timed(steps, "train", lambda: KernelPredictor(device=DEVICE).fit(data))
    part = data.lanes[0]
    kernels = part.kernels[:PREDICTIONS]
    _timed(steps, "predict_first_time", lambda: predictor.predict_us(kernels, part.lane))
    predicted = _timed(steps, "predict_again", lambda: predictor.predict_us(kernels, part.lane))
    error = float(np.median(np.abs(predicted / part.latency_us[: len(kernels)] - 1)))
    return {"records": data.count, "predicted": len(kernels), "median_error_on_fitted": error} | steps


def _timed(steps: dict[str, Any], name: str, call: Callable[[], Any]) -> Any:
    begin = time.perf_counter()
    result = call()
    steps[f"{name}_s"] = round(time.perf_counter() - begin, 3)
    steps[f"{name}_peak_gb"] = _peak_gb()
    return result


def _peak_gb() -> float:
    """Peak resident memory of this process so far."""
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6, 2)


def _apart(step: str, path: Path, home: Path, kernels: int) -> dict[str, Any]:
    """A step in a process of its own: its result, seconds from start to end, peak memory."""
    begin = time.perf_counter()
    command = [sys.executable, __file__, "--step", step, "--rows", str(path), "--home", str(home)]
    done = subprocess.run([*command, "--kernels", str(kernels)], check=True, capture_output=True, text=True)
    seconds = round(time.perf_counter() - begin, 1)
    result: dict[str, Any] = {"step": step, "seconds": seconds}
    result |= json.loads(done.stdout.splitlines()[-1])
    print(json.dumps(result, indent=1), flush=True)
    return result


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--kernels", type=int, default=250_000)
    parser.add_argument("--rows", default="", help="keep the Parquet file here, or take the one that is there")
    parser.add_argument("--step", default="", help=argparse.SUPPRESS)
    parser.add_argument("--home", default="", help=argparse.SUPPRESS)
    flags = parser.parse_args()
    if flags.step:
        path, home = Path(flags.rows), Path(flags.home)
        steps = {"make": lambda: make(path, flags.kernels), "import": lambda: bring_in(path, home)}
        result = (steps | {"learn": lambda: learn(home)})[flags.step]()
        print(json.dumps(result | {"peak_gb": _peak_gb()}))
        return
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        path = Path(flags.rows or home / "rows.parquet")
        results = [] if path.exists() else [_apart("make", path, home, flags.kernels)]
        results += [_apart(step, path, home, flags.kernels) for step in ("import", "learn")]
    used = [row for row in results if row["step"] != "make"]
    total_s, peak_gb = sum(row["seconds"] for row in used), max(row["peak_gb"] for row in used)
    summary = {"records": used[-1]["records"], "import_load_train_s": round(total_s, 1), "peak_gb": peak_gb}
    written = write("scale", results, **summary)
    print(f"{summary['records']:,} records in {total_s:.0f} s, at most {peak_gb:.1f} GB; {written}")


if __name__ == "__main__":
    main()
