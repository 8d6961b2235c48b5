"""Kernel predictor on this machine: zoo profiled twice, models left out one by one; predictions per second.

python benchmarks/predictor.py [--budget 10min] [--home FOLDER]
"""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from pathlib import Path

from common import write

from autotune import models
from autotune.api import SearchSettings, parse_duration, profile
from autotune.core import Device, Kernel, Lane, Measurement, ProfileRecord
from autotune.core.codec import encode
from autotune.datasets import Store
from autotune.predictor import KernelPredictor, evaluate
from autotune.processors import this_device
from autotune.profiler import profile_kernels

RETEST_S = 150.0
RETEST = 60
"""Kernels of each lane that are measured a second time, in a process of their own: the noise ceiling."""


def measure_again(home: Path, device: Device, *, seconds: float) -> None:
    """Measures some kernels of every lane once more."""
    with Store(f"sqlite:///{home / 'profiles.db'}") as store:
        known: dict[Lane, list[ProfileRecord]] = {}
        for record in store.kernels(device=device.id):
            if isinstance(record.result, Measurement):
                known.setdefault(record.lane, []).append(record)
        for lane, records in known.items():
            chosen = random.Random(0).sample(records, min(RETEST, len(records)))
            profile_kernels(
                [record.kernel for record in chosen],
                lane,
                identity=records[-1].identity,
                seed=1,
                deadline_s=seconds / len(known),
                on_record=lambda record: store.add([record]),
            )


def throughput(predictor: KernelPredictor, kernels: list[Kernel], lane: Lane) -> float:
    batch = (kernels * (600_000 // len(kernels) + 1))[:600_000]
    begin = time.perf_counter()
    predictor.predict_us(batch, lane)
    return len(batch) / (time.perf_counter() - begin)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--budget", default="8min")
    parser.add_argument("--home", default="")
    parser.add_argument("--synthetic", type=int, default=200)
    flags = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        home = Path(flags.home or folder)
        names = models.names()
        settings = SearchSettings(home=home, budget_s=parse_duration(flags.budget))
        begin = time.monotonic()
        found = profile(names, settings, synthetic=flags.synthetic)
        profile_s = time.monotonic() - begin
        measure_again(home, this_device(), seconds=RETEST_S)
        device = this_device()
        with Store(f"sqlite:///{home / 'profiles.db'}") as store:
            records = store.kernels(device=device.id, latest=False)
            groups = store.groups()
        evaluation = evaluate(records, groups, device)
        begin = time.monotonic()
        predictor = KernelPredictor(device=device).fit(records, groups)
        train_s = time.monotonic() - begin
        kernels = list({record.kernel.signature: record.kernel for record in records}.values())
        rate = throughput(predictor, kernels, predictor.lanes[0])
    rows = [encode(row) for row in evaluation.rows]
    for row in rows:
        shares = f"±10 % {row['within_10']:.0%}  ±5 % {row['within_5']:.0%}  MAPE {row['mape']:.1%}"
        print(f"{row['lane']:24} {row['learner']:12} {shares}  n {row['count']}")
    path = write(
        "predictor",
        rows,
        profile_s=profile_s,
        train_s=train_s,
        records=len(records),
        kernels=found.kernels,
        predictions_per_s=rate,
    )
    print(f"{rate:,.0f} predictions/s; {path}")


if __name__ == "__main__":
    main()
