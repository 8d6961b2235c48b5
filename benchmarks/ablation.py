"""What each part of the predictor and each group of features earns on models left out, from a store that is there.

    python benchmarks/ablation.py --home FOLDER

Each model is left out in turn, as in `autotune retrain`. `delivered` is physics by family and trees; a group is hidden
from the trees.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from common import write

from autotune.core import Device, ProfileRecord
from autotune.datasets import Store
from autotune.predictor import Groups, evaluate
from autotune.predictor.boosted import BoostedTrees
from autotune.predictor.feature_table import groups
from autotune.processors import this_device


def accuracy(
    records: list[ProfileRecord], models: Groups, device: Device, learner: BoostedTrees, seeds: int
) -> dict[str, Any]:
    """Mean over seeds; trees draw rows and columns. Coverage only of what is delivered: it takes four times as long."""
    coverage = learner == BoostedTrees()
    rows = [
        evaluate(records, models, device, learners=(learner,), coverage=coverage, seed=seed).get()
        for seed in range(seeds)
    ]
    return {
        "kernels": rows[0].count,
        "within_10": sum(row.within_10 for row in rows) / seeds,
        "within_5": sum(row.within_5 for row in rows) / seeds,
        "mape": sum(row.mape for row in rows) / seeds,
        "spearman": sum(row.spearman for row in rows) / seeds,
        "coverage_of_90": sum(row.coverage or 0.0 for row in rows) / seeds if coverage else None,
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--home", required=True, help="with records of this device; it is only read")
    parser.add_argument("--device", default="", help="identifier of the records' device; default: this one")
    parser.add_argument("--seeds", type=int, default=3)
    flags = parser.parse_args()
    device = this_device()
    own = flags.device or device.id
    with Store(f"sqlite:///{Path(flags.home) / 'profiles.db'}") as store:
        records, models = store.kernels(device=own, latest=False), store.groups()
    if own != device.id:
        device = Device(id=own, name=own, system="", machine="", cores=device.cores, memory_bytes=0)
    everything = tuple(feature.name for listed in groups().values() for feature in listed)
    parts = {
        "delivered": BoostedTrees(),
        "physics alone": BoostedTrees(hidden=everything, near=0),
        "physics and like kernels, no trees": BoostedTrees(hidden=everything),
        "without like kernels": BoostedTrees(penalty=1.0, near=0),
    }
    for name, listed in groups().items():
        hidden = tuple(feature.name for feature in listed)
        parts[f"without {name}"] = BoostedTrees(hidden=hidden)
    results = []
    for name, learner in parts.items():
        own_row = accuracy(records, models, device, learner, flags.seeds)
        row = {"predictor": name, "hidden": len(learner.hidden)} | own_row
        results.append(row)
        print(f"{name:44} ±10 % {row['within_10']:.1%}  ±5 % {row['within_5']:.1%}  MAPE {row['mape']:.1%}", flush=True)
    print(f"90 % intervals held for {results[0]['coverage_of_90']:.1%} of the kernels of models left out")
    print(write("ablation", results, records=len(records), models=len(models), seeds=flags.seeds))


if __name__ == "__main__":
    main()
