"""Records by column teach the same as records one by one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from autotune.core import Failure, Kernel, ProfileRecord
from autotune.datasets import Store
from autotune.errors import PredictorError, StoreError
from autotune.predictor import KernelPredictor, training_columns
from autotune.predictor.training import LaneRecords, training_set


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(f"sqlite:///{tmp_path / 'profiles.db'}") as opened:
        yield opened


@pytest.fixture
def records(invented: ModuleType) -> list[ProfileRecord]:
    """Repeats at other speeds of the machine, a failure, an older version of a provider, three lanes of unlike size."""
    kernels, lanes = invented.draw_kernels(30, 1), invented.LANES
    again = [
        replace(one, notes=replace(one.notes, sentinel_us=80.0 + 2 * at))
        for at in (0, 1, 2)
        for one in (invented.record(kernel, lanes[0], launch=at + 1) for kernel in kernels[:7])
    ]
    older = [invented.record(kernel, lanes[1], version="0.9") for kernel in kernels[:5]]
    return [*older, *invented.profile(kernels[::-1], lanes[:2]), *again, invented.failed(kernels[0], lanes[2]),
            *invented.profile(kernels[:4], lanes[2:3])]  # fmt: skip


def test_give_the_same_training_set(records: list[ProfileRecord], store: Store, invented: ModuleType) -> None:
    store.add(records)
    one_by_one = training_set(store.kernels(latest=False), invented.DEVICE)
    by_column = training_columns(store.columns(device=invented.DEVICE.id), invented.DEVICE)
    assert by_column.hash == one_by_one.hash
    assert (by_column.failures, by_column.stale) == (one_by_one.failures, one_by_one.stale) == (1, 5)
    for found, wanted in zip(by_column.lanes, one_by_one.lanes, strict=True):
        assert (found.lane, found.identity, found.kernels) == (wanted.lane, wanted.identity, wanted.kernels)
        assert found.latency_us.tolist() == wanted.latency_us.tolist()
        assert found.sentinel_us == wanted.sentinel_us
        assert found.repeated.tolist() == wanted.repeated.tolist()
        assert found.repeats_us.tolist() == wanted.repeats_us.tolist()
    assert {part.sentinel_us for part in by_column.lanes} == {82.0, 0.0}


def of_family(invented: ModuleType, family: str, count: int) -> list[Kernel]:
    return [kernel for kernel in invented.draw_kernels(400, 1) if kernel.family == family][:count]


def learnt(store: Store, invented: ModuleType, calm: list[Kernel], disturbed: list[Kernel]) -> LaneRecords:
    """What is learnt from, one by one and by column alike; the second measurement of what is in both is disturbed."""
    lane = invented.LANES[0]
    records = [invented.record(kernel, lane) for kernel in [*calm, *disturbed]]
    records = [replace(one, notes=replace(one.notes, sentinel_us=80.0)) for one in records]
    busy = [replace(one, notes=replace(one.notes, sentinel_ratio=1.4)) for one in records[len(calm) :]]
    store.add([*records[: len(calm)], *busy])
    one_by_one = training_set(store.kernels(latest=False))
    by_column = training_columns(store.columns(device=invented.DEVICE.id))
    assert by_column.hash == one_by_one.hash
    (part,) = by_column.lanes
    assert isinstance(part, LaneRecords)
    return part


@pytest.mark.parametrize(("calm", "known"), [(110, 110), (60, 130)])
def test_what_was_measured_on_a_disturbed_machine_teaches_where_little_else_does(
    store: Store, invented: ModuleType, calm: int, known: int
) -> None:
    kernels = of_family(invented, "convolution", 130)
    part = learnt(store, invented, kernels[:calm], [*kernels[calm:], *kernels[:10]])
    assert len(part.kernels) == known
    assert not len(part.repeated)  # of the first ten only the calm measurement counts


@pytest.mark.parametrize(("calm", "known"), [(15, 25), (20, 20)])
def test_a_family_of_which_little_is_known_is_learnt_on_a_disturbed_machine_too(
    store: Store, invented: ModuleType, calm: int, known: int
) -> None:
    common, rare = of_family(invented, "convolution", 130), of_family(invented, "depthwise", calm + 10)
    part = learnt(store, invented, [*common[:110], *rare[:calm]], [*common[110:], *rare[calm:]])
    assert sum(kernel.family == "convolution" for kernel in part.kernels) == 110
    assert sum(kernel.family == "depthwise" for kernel in part.kernels) == known


def test_older_records_that_are_imported_later_stay_older(store: Store, invented: ModuleType) -> None:
    kernels, lane = invented.draw_kernels(30, 1), invented.LANES[0]
    measured = [invented.record(kernel, lane, version="2.0") for kernel in kernels[:20]]
    store.add([replace(one, notes=replace(one.notes, time="2026-06-01T00:00:00+00:00")) for one in measured])
    store.add([invented.record(kernel, lane, version="1.0") for kernel in kernels])
    columns, records = store.columns(device=invented.DEVICE.id), store.kernels(latest=False)
    for data in (training_columns(columns), training_set(records)):
        (part,) = data.lanes
        assert (part.identity, len(part.kernels), data.stale) == (measured[0].identity, 20, 30)


def test_measured_again_comes_as_pairs_in_the_order_of_measuring(
    records: list[ProfileRecord], store: Store, invented: ModuleType
) -> None:
    store.add(records)
    part = training_columns(store.columns(device=invented.DEVICE.id)).lanes[0]
    pairs = list(zip(part.repeated.tolist(), part.repeats_us.tolist(), strict=True))
    assert len(pairs) == 7 * 3  # four measurements of each of seven kernels
    at = pairs[0][0]
    own = [us for where, us in pairs if where == at]
    assert [second for _, second in own[:-1]] == [first for first, _ in own[1:]]


@pytest.mark.parametrize("count", [0, 3, 30, 65, 10_000])
def test_the_first_records_are_those_that_a_predictor_once_had(
    records: list[ProfileRecord], store: Store, invented: ModuleType, count: int
) -> None:
    store.add(records)
    first = store.columns(device=invented.DEVICE.id).first(count)
    had = records[:count]
    assert first.count == len(had)
    assert first.failures == sum(isinstance(record.result, Failure) for record in had)
    if had:
        assert training_columns(first).hash == training_set(had).hash


def test_without_kernels_is_what_the_others_teach(records: list[ProfileRecord], invented: ModuleType) -> None:
    data = training_set(records)
    gone = set(data.signatures[::2]) | {kernel.signature for kernel in invented.draw_kernels(30, 1)[:4]}
    found = data.without(gone)
    wanted = training_set([record for record in records if record.kernel.signature not in gone])
    assert found.hash == wanted.hash
    assert [part.repeats_us.tolist() for part in found.lanes] == [part.repeats_us.tolist() for part in wanted.lanes]
    assert [part.repeated.tolist() for part in found.lanes] == [part.repeated.tolist() for part in wanted.lanes]
    assert len(data.lanes) == 3
    assert len(found.lanes) == 2  # all kernels of the third were left out
    assert not data.without(data.signatures).lanes


def test_kernels_by_lane_count_each_once(records: list[ProfileRecord], store: Store, invented: ModuleType) -> None:
    store.add(records)
    found = store.columns(device=invented.DEVICE.id).kernels_by_lane()
    assert [found[lane] for lane in invented.LANES[:3]] == [30, 30, 4]


def test_give_the_same_predictor(records: list[ProfileRecord], store: Store, invented: ModuleType) -> None:
    store.add(records)
    data = training_columns(store.columns(device=invented.DEVICE.id), invented.DEVICE)
    by_column, one_by_one = (KernelPredictor(device=invented.DEVICE).fit(source) for source in (data, records))
    kernels = invented.draw_kernels(20, 9)
    for lane in invented.LANES[:3]:
        assert by_column.predict(kernels, lane) == one_by_one.predict(kernels, lane)


def test_hold_one_device_and_refuse_to_teach_another(store: Store, invented: ModuleType) -> None:
    kernels, lane = invented.draw_kernels(3, 1), invented.LANES[0]
    store.add([invented.record(kernels[0], lane), invented.record(kernels[1], lane, device="feedfeedfeed")])
    columns = store.columns(device="feedfeedfeed")
    assert [kernel.signature for kernel in columns.kernels] == [kernels[1].signature]
    with pytest.raises(PredictorError, match=r"feedfeedfeed can't be mixed: pass those of 0123456789ab only"):
        training_columns(columns, invented.DEVICE)


def test_without_a_measurement_say_what_is_missing(store: Store, invented: ModuleType) -> None:
    store.add([invented.failed(invented.draw_kernels(1, 1)[0], invented.LANES[0])])
    with pytest.raises(PredictorError, match=r"no measured kernels in 1 records: at least \d+ of one lane"):
        training_columns(store.columns(device=invented.DEVICE.id), invented.DEVICE)
    assert len(store.columns(device="absent").kernel) == 0


@pytest.mark.parametrize("samples", [b"1234567", b"", np.array([1.0, -2.0]).tobytes(), np.array([np.nan]).tobytes()])
def test_damaged_samples_are_named(store: Store, invented: ModuleType, samples: bytes, tmp_path: Path) -> None:
    import sqlite3

    store.add([invented.record(invented.draw_kernels(1, 1)[0], invented.LANES[0])])
    with sqlite3.connect(tmp_path / "profiles.db") as connection:
        connection.execute("UPDATE profiles SET samples_us = ?", (samples,))
    connection.close()
    with pytest.raises(StoreError, match=r"profiles\.db: samples that are .* the file is damaged"):
        store.columns(device=invented.DEVICE.id)


def test_intervals_of_a_large_lane_hold_by_one_fold(invented: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    from autotune.predictor import lane_model

    kernels, lane = invented.draw_kernels(200, 1), invented.LANES[0]
    monkeypatch.setattr(lane_model, "MANY", 100)
    predictor = KernelPredictor(device=invented.DEVICE).fit(invented.profile(kernels, [lane]))
    new = invented.draw_kernels(200, 5)
    measured = [invented.record(kernel, lane).result.median_us for kernel in new]
    inside = [p.low_us <= us <= p.high_us for us, p in zip(measured, predictor.predict(new, lane), strict=True)]
    assert 0.8 <= np.mean(inside) <= 0.98
