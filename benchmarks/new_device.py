"""A new device: how well few records of it predict models left out, with and without the records of other devices.

    python benchmarks/new_device.py --home FOLDER --source FOLDER    (of own_device.py: the new device, a known one)
    python benchmarks/new_device.py --home FOLDER --public NAME      (a table that `autotune datasets import` has read)

Of the new device so many seconds of profiling are known, kernels in the order in which they were measured, or reference
kernels first as `autotune profile --budget` begins; of a public table so many kernels, drawn. All goes through what is
shipped (`learning.learner_with`), and known devices forget the kernels of the model left out (`forgetting`).
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from common import write
from own_records import kernel_seconds

from autotune.core import Device, Lane, Measurement, ProfileRecord, Signatures
from autotune.datasets import Store
from autotune.datasets.public import records_of
from autotune.errors import PredictorError
from autotune.learning.devices import JUDGED_RECORDS, learner_with
from autotune.predictor import Groups, KernelPredictor, TrainingSet
from autotune.predictor.adapted import Adapted
from autotune.predictor.evaluation import Fold, Held, accuracy, folds_by_model, held_out
from autotune.predictor.reference import reference_kernels
from autotune.predictor.training import MIN_RECORDS, training_set

SECONDS = (30, 60, 120, 300)
KERNELS = (10, 20, 50, 100)
"""Of a lane of a public device."""
ALONE, HELPED, SOURCE = "alone", "helped by known devices", "a known device as it is"
Order = Callable[[Sequence[ProfileRecord]], list[ProfileRecord]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A new device.

    Args:
        device: which one.
        records: of its kernels, in the order in which they were measured.
        others: of known devices.
        groups: as `Store.groups` gives them, of all devices.
        counts: how many records of a lane are known, by what it is called in the results.
        orders: in which order, by name.
    """

    device: Device
    records: list[ProfileRecord]
    others: list[ProfileRecord]
    groups: Groups
    counts: Mapping[str, int]
    orders: Mapping[str, Order]


def as_measured(records: Sequence[ProfileRecord]) -> list[ProfileRecord]:
    return list(records)


def references_first(records: Sequence[ProfileRecord]) -> list[ProfileRecord]:
    """As many reference kernels as a lane begins with (`learning/queue.py`), then the others as measured."""
    signatures = Signatures()
    chosen = reference_kernels([record.kernel for record in records], MIN_RECORDS)
    rank = {signatures.of(kernel): at for at, kernel in enumerate(chosen)}
    return sorted(records, key=lambda record: rank.get(signatures.of(record.kernel), len(rank)))


def drawn(records: Sequence[ProfileRecord]) -> list[ProfileRecord]:
    return random.Random(0).sample(records, len(records))


def own_case(home: Path, source: Path) -> Case:
    """One home's device is new, that of another home is known; on the same machine two days count as two devices."""
    own, groups = _content(home)
    others, of_others = _content(source)
    device = own[0].identity.device
    lanes = {record.lane for record in own}
    second = kernel_seconds(home) / len(own)
    return Case(
        device=_device(device),
        records=own,
        others=[replace(record, identity=replace(record.identity, device="known")) for record in others],
        groups={name: {*groups.get(name, ()), *of_others.get(name, ())} for name in {**groups, **of_others}},
        counts={f"{seconds} s": round(seconds / second / len(lanes)) for seconds in SECONDS},
        orders={"as measured": as_measured, "references first": references_first},
    )


def _content(home: Path) -> tuple[list[ProfileRecord], Groups]:
    """Measured kernels of the device with the most records, and the models."""
    with Store(f"sqlite:///{home / 'profiles.db'}") as store:
        devices = store.devices()
        if not devices:
            raise SystemExit(f"{home} holds no records: python benchmarks/own_device.py --home {home} --part measure")
        found = store.kernels(device=max(devices, key=lambda name: devices[name]))
        return [record for record in found if isinstance(record.result, Measurement)], store.groups()


def public_cases(home: Path, name: str) -> Iterator[Case]:
    """Every device of an imported table is new in turn, the others are known (of each as many as judging takes)."""
    with records_of(home, name) as store:
        groups = store.groups()
        by_device = {device: store.kernels(device=device) for device in store.devices()}
    some = {
        device: random.Random(0).sample(own, min(len(own), JUDGED_RECORDS)) for device, own in sorted(by_device.items())
    }
    for device, own in sorted(by_device.items()):
        yield Case(
            device=_device(device),
            records=own,
            others=[record for other, known in some.items() if other != device for record in known],
            groups=groups,
            counts={f"{count} kernels": count for count in KERNELS},
            orders={"drawn": drawn},
        )


def _device(name: str) -> Device:
    return Device(id=name, name=name, system="", machine="", cores=(0, 1), memory_bytes=0)


def few_shot(case: Case) -> list[dict[str, Any]]:
    """Accuracy on models left out, by order, number of records, and who helps."""
    data, signatures = training_set(case.records), Signatures()
    helper = learner_with(case.others)
    if helper is None:
        raise SystemExit("the known devices have too few records to learn from")
    held: dict[tuple[str, str, str], list[Held]] = {}
    for fold in folds_by_model(data.signatures, case.groups).values():
        helped = helper.forgetting(fold.unseen)
        held.setdefault(("", "0", SOURCE), []).extend(_by_source(helped, data, fold))
        rest = [record for record in case.records if signatures.of(record.kernel) not in fold.unseen]
        for order, put in case.orders.items():
            ordered = put(rest)
            for text, count in case.counts.items():
                known = first(ordered, count)
                for how, learner in ((ALONE, None), (HELPED, helped)):
                    predictor = KernelPredictor(device=case.device, learner=learner)
                    try:
                        predictor.fit(known, calibrate=False)
                    except PredictorError:  # too few to learn anything from
                        continue
                    held.setdefault((order, text, how), []).extend(judged(predictor, data, fold, how))
    return [
        {"device": case.device.id, "order": order, "known": text, "how": how, "lane": lane} | _shares(own)
        for (order, text, how), pairs in held.items()
        for lane in ("all", *sorted({pair.lane for pair in pairs}))
        if (own := [pair for pair in pairs if lane in ("all", pair.lane)])
    ]


def first(records: Sequence[ProfileRecord], count: int) -> list[ProfileRecord]:
    """The first ones of each lane."""
    found: dict[Lane, list[ProfileRecord]] = {}
    for record in records:
        found.setdefault(record.lane, []).append(record)
    return [record for own in found.values() for record in own[:count]]


def judged(predictor: KernelPredictor, data: TrainingSet, fold: Fold, how: str) -> list[Held]:
    """The kernels left out, on every lane that the predictor knows."""
    lanes = [part for part in data.lanes if predictor.knows(part.lane)]
    return [one for part in lanes for one in held_out(predictor, part, fold.held, learner=how)]


def _by_source(helped: Adapted, data: TrainingSet, fold: Fold) -> list[Held]:
    """What the first known device takes, learnt without the model, at the speed of this one's sentinel."""
    found: list[Held] = []
    for part in data.lanes:
        sources = helped.teach(helped.forgotten, part.lane) if helped.teach else ()
        if sources and sources[0].knows(part.lane):
            found += held_out(sources[0], part, fold.held, learner=SOURCE)
    return found


def _shares(pairs: Sequence[Held]) -> dict[str, Any]:
    got = accuracy(pairs, lane="")
    return {"kernels": got.count, "within_10": got.within_10, "mape": got.mape, "spearman": got.spearman}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--home", required=True, help="records of the new device, or home of the imported table")
    parser.add_argument("--source", default="", help="home with records of a known device")
    parser.add_argument("--public", default="", help="name of an imported table: each of its devices is new in turn")
    flags = parser.parse_args()
    if bool(flags.source) == bool(flags.public):
        parser.error("give either --source or --public")
    home = Path(flags.home)
    cases = public_cases(home, flags.public) if flags.public else [own_case(home, Path(flags.source))]
    rows: list[dict[str, Any]] = []
    for case in cases:
        rows += few_shot(case)
        for row in rows:
            if row["device"] == case.device.id and row["lane"] == "all":
                print(
                    f"{row['device']} {row['order']:17} {row['known']:>12} {row['how']:24} "
                    f"±10 % {row['within_10']:.1%}  mean error {row['mape']:.1%}  Spearman {row['spearman']:.3f}  "
                    f"({row['kernels']} kernels)",
                    flush=True,
                )
    print(write("new_device_public" if flags.public else "new_device", rows))


if __name__ == "__main__":
    main()
