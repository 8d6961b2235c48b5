"""What each part of the predictor and each group of features earns on models left out, from a store that is there.

    python benchmarks/ablation.py --home FOLDER

Each model is left out in turn, as in `autotune retrain`. `delivered` is physics by family, like kernels and trees. A
group that is left out is hidden from all three; a group that is shown alone stands beside families, work and bytes,
without which there is no physics.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from common import write

from autotune.core import Device, ProfileRecord
from autotune.datasets import Store
from autotune.predictor import Groups, evaluate
from autotune.predictor.boosted import BoostedTrees
from autotune.predictor.feature_table import groups
from autotune.predictor.training import models_of
from autotune.processors import this_device

BESIDE = ("operator and fusion", "work and bytes")
"""What a group that is shown alone stands beside: families and what physics is made of."""


def accuracy(
    records: list[ProfileRecord], models: Groups, device: Device, learner: BoostedTrees, seeds: int
) -> dict[str, Any]:
    """Mean over seeds: trees draw rows and columns. Coverage of what is delivered only: it takes four times as long."""
    coverage = learner == BoostedTrees()
    rows = [
        evaluate(records, models, device, learners=(learner,), coverage=coverage, seed=seed).get()
        for seed in range(seeds if learner.rounds else 1)
    ]
    within = [row.within_10 for row in rows]
    return {
        "kernels": rows[0].count,
        "within_10": sum(within) / len(rows),
        "within_10_by_seed": within,
        "within_5": sum(row.within_5 for row in rows) / len(rows),
        "mape": sum(row.mape for row in rows) / len(rows),
        "spearman": sum(row.spearman for row in rows) / len(rows),
        "coverage_of_90": sum(row.coverage or 0.0 for row in rows) / len(rows) if coverage else None,
    }


def predictors() -> dict[str, BoostedTrees]:
    """What is compared, by name."""
    names = {name: tuple(feature.name for feature in own) for name, own in groups().items()}
    found = {
        "delivered": BoostedTrees(),
        "physics alone": BoostedTrees(rounds=0, near=0),
        "physics and like kernels, no trees": BoostedTrees(rounds=0),
        "without like kernels": BoostedTrees(penalty=1.0, near=0),
    }
    for name, own in names.items():
        found[f"without {name}"] = BoostedTrees(hidden=own)
    for name in names:
        rest = tuple(hidden for other, own in names.items() if other not in (name, *BESIDE) for hidden in own)
        found[f"{name} alone"] = BoostedTrees(hidden=rest)
    return found


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """What each group earns, as Markdown."""
    found = {row["predictor"]: row for row in rows}

    def cell(name: str) -> str:
        by_seed = [100 * share for share in found[name]["within_10_by_seed"]]
        return f"{100 * found[name]['within_10']:.1f} ({min(by_seed):.1f}–{max(by_seed):.1f})"

    lines = ["| group | without it | alone | mean error without it |", "|---|---|---|---|"]
    lines += [
        f"| {name} | {cell(f'without {name}')} | {cell(f'{name} alone')} | {found[f'without {name}']['mape']:.1%} |"
        for name in groups()
    ]
    lines.append(f"| none hidden | {cell('delivered')} | – | {found['delivered']['mape']:.1%} |")
    return "\n".join(lines)


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
    results = []
    for name, learner in predictors().items():
        own_row = accuracy(records, models, device, learner, flags.seeds)
        row = {"predictor": name, "hidden": len(learner.hidden)} | own_row
        results.append(row)
        print(f"{name:44} ±10 % {row['within_10']:.1%}  ±5 % {row['within_5']:.1%}  MAPE {row['mape']:.1%}", flush=True)
    print(f"90 % intervals held for {results[0]['coverage_of_90']:.1%} of the kernels of models left out")
    print(table(results))
    print(write("ablation", results, records=len(records), models=len(models_of(models)), seeds=flags.seeds))


if __name__ == "__main__":
    main()
