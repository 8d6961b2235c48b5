"""What synthetic kernels earn on models left out, at equal numbers of records, from a store that is there.

    python benchmarks/synthetic.py --home FOLDER [--seeds 5] [--records N]

The store must hold kernels of several models and synthetic ones (`autotune profile --model … --synthetic 400`). Each
model is left out in turn. What predicts it learns from as many records of each lane: of the other models alone, or with
a share of them replaced by synthetic ones; then from everything there is. Synthetic ones are of `networks`, or `around`
the models in hand; those of the model's own architecture are left out with it. Error: mean |log(predicted / measured)|,
models weighing the same.
"""

from __future__ import annotations

import argparse
import random
import statistics
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from common import write

from autotune.core import Lane, Measurement, ProfileRecord
from autotune.datasets import DRAWN, Store
from autotune.predictor import KernelPredictor
from autotune.predictor.training import models_of, unseen_without

SHARES = (0.25, 0.5, 0.75, 1.0)
"""Of synthetic kernels among those that are learnt from."""
ByLane = Mapping[Lane, list[ProfileRecord]]


def by_lane(records: Sequence[tuple[str, ProfileRecord]], signatures: Collection[str]) -> ByLane:
    """Those of some kernels."""
    found: dict[Lane, list[ProfileRecord]] = defaultdict(list)
    for signature, record in records:
        if signature in signatures:
            found[record.lane].append(record)
    return found


def mixed(models: ByLane, synthetic: ByLane, share: float, count: int, rng: random.Random) -> list[ProfileRecord]:
    """So many records of each lane, a share of them synthetic."""
    chosen: list[ProfileRecord] = []
    for lane in sorted(models, key=str):
        number = min(len(models[lane]), len(synthetic.get(lane, ())), count)
        drawn = round(share * number)
        chosen += rng.sample(synthetic.get(lane, []), drawn) + rng.sample(models[lane], number - drawn)
    return chosen


def together(*parts: ByLane) -> list[ProfileRecord]:
    return [record for part in parts for records in part.values() for record in records]


def error(learnt: Sequence[ProfileRecord], held: ByLane, seed: int) -> tuple[float, float]:
    """Mean absolute log error on the records left out, and the share of them within 10 %."""
    predictor = KernelPredictor(seed=seed).fit(list(learnt), calibrate=False)
    off: list[float] = []
    for lane, records in held.items():
        truth = np.array([r.result.median_us for r in records if isinstance(r.result, Measurement)])
        off += np.log(predictor.predict_us([r.kernel for r in records], lane) / truth).tolist()
    return float(np.mean(np.abs(off))), float(np.mean(np.abs(np.expm1(off)) <= 0.10))


def load(home: Path, lanes: list[Lane]) -> tuple[list[tuple[str, ProfileRecord]], dict[str, set[str]]]:
    """Records by signature, and the measured signatures of each group."""
    with Store(f"sqlite:///{home / 'profiles.db'}") as store:
        found, groups = store.kernels(lanes=lanes or None), {name: set(own) for name, own in store.groups().items()}
    records = [(record.kernel.signature, record) for record in found if isinstance(record.result, Measurement)]
    known = {signature for signature, _ in records}
    return records, {name: own & known for name, own in groups.items() if own & known}


def sources_without(
    name: str, records: Sequence[tuple[str, ProfileRecord]], groups: Mapping[str, set[str]]
) -> dict[str, ByLane]:
    """What can be learnt from where a model is left out: `models`, and the kinds of synthetic kernels there are."""
    models = models_of(groups)
    zoo = set().union(*models.values())
    around = set().union(*(groups.get(DRAWN + other, ()) for other in models)) - zoo
    rest = {signature for signature, _ in records} - unseen_without(groups, [name])
    found = {"models": zoo & rest, "networks": rest - zoo - around, "around": around & rest}
    return {source: by_lane(records, own) for source, own in found.items() if own}


def sets_of(sources: Mapping[str, ByLane], most: int, seed: int) -> dict[str, list[ProfileRecord]]:
    """What is learnt from, by how it is named; everything that there is only once."""
    models = sources["models"]
    sets = {"every model": together(models), "everything": together(*sources.values())} if seed == 0 else {}
    for source, synthetic in sources.items():
        if source != "models":
            sets[f"models, beside {source}"] = mixed(models, synthetic, 0.0, most, random.Random(seed))
            for share in SHARES:
                sets[f"{share:.0%} {source}"] = mixed(models, synthetic, share, most, random.Random(seed))
    return sets


def summed(rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Means over models of the means over seeds."""
    summary: dict[str, float] = {}
    names = dict.fromkeys(row["left_out"] for row in rows)
    for kind in dict.fromkeys(row["learnt"] for row in rows):
        for metric in ("log_error", "within_10", "records"):
            own = [[row[metric] for row in rows if (row["learnt"], row["left_out"]) == (kind, name)] for name in names]
            summary[f"{kind}: {metric}"] = statistics.fmean(statistics.fmean(of) for of in own if of)
        error_, within = summary[f"{kind}: log_error"], summary[f"{kind}: within_10"]
        print(f"{kind:24} {summary[f'{kind}: records']:6.0f} records  log error {error_:.3f}  ±10 % {within:.1%}")
    return summary


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--home", required=True, help="it is only read")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--records", type=int, default=10**6, help="of a lane at most; default: what both sources have")
    parser.add_argument("--lanes", default="", help="separated by commas; default: all of the store")
    flags = parser.parse_args()
    records, groups = load(Path(flags.home), [Lane.parse(t) for t in flags.lanes.split(",") if t])
    rows: list[dict[str, Any]] = []
    for seed in range(flags.seeds):
        for name in models_of(groups):
            held, sources = by_lane(records, groups[name]), sources_without(name, records, groups)
            for kind, learnt in sets_of(sources, flags.records, seed).items():
                mean, within = error(learnt, held, seed)
                row = {"left_out": name, "seed": seed, "learnt": kind, "records": len(learnt)}
                rows.append(row | {"log_error": mean, "within_10": within})
        print(write("synthetic", rows, seeds=seed + 1, lanes=len(held), **summed(rows)), flush=True)


if __name__ == "__main__":
    main()
