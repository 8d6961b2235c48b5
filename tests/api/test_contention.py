"""Contention of a small model: measured once, kept, learnt from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from autotune.api import (
    ContentionResult,
    Participant,
    ProfileResult,
    SearchSettings,
    contention,
    profile,
    profile_contention,
    profiling,
)
from autotune.api.contention import lane_pairs, pairs_of, slowdown_predictor
from autotune.api.workplace import open_workplace
from autotune.core import CoRunMeasurement, CoRunRecord, Lane, Processor
from autotune.datasets import Store
from autotune.errors import UsageError
from autotune.processors import allowed_cores
from autotune.profiler import CoRunPair
from tests.api.conftest import write_model

two_cores = pytest.mark.skipif(len(allowed_cores()) < 2, reason="two lanes need two cores")
CPU, OPENVINO, GPU = (
    Processor(name=name, provider="P", device=name.rpartition(":")[2], version="1")
    for name in ("cpu", "openvino:cpu", "webgpu:gpu")
)


def place(processors: Sequence[Processor], cores: int) -> Any:
    return SimpleNamespace(processors=processors, device=SimpleNamespace(cores=tuple(range(cores))))


def names(found: Sequence[tuple[Lane, Lane]]) -> list[str]:
    return [f"{one} | {two}" for one, two in found]


def test_every_pair_of_processors_gets_half_of_the_cores_each() -> None:
    assert names(lane_pairs(place([CPU, OPENVINO, GPU], 5))) == [
        "cpu/f32/t2/c0+1 | cpu/f32/t2/c2+3",
        "cpu/f32/t2/c0+1 | openvino:cpu/f32/t2/c2+3",
        "cpu/f32/t2/c0+1 | webgpu:gpu/f32",
        "openvino:cpu/f32/t2/c0+1 | openvino:cpu/f32/t2/c2+3",
        "openvino:cpu/f32/t2/c0+1 | webgpu:gpu/f32",
        "cpu/f32/t2/s2/c0+1+2+3 | cpu/f32/t2/s2/c0+1+2+3",
        "openvino:cpu/f32/t4/s2/c0+1+2+3 | openvino:cpu/f32/t4/s2/c0+1+2+3",
    ]


def test_one_core_has_nothing_to_run_together() -> None:
    with pytest.raises(UsageError, match="one core"):
        lane_pairs(place([CPU, OPENVINO], 1))


@two_cores
def test_lanes_are_paired_with_each_other_and_streams_with_themselves() -> None:
    first, second = allowed_cores()[:2]
    one, two, streams = map(Lane.parse, (f"cpu/f32/t1/c{first}", f"cpu/f32/t1/c{second}", "cpu/f32/t1/s2"))
    assert pairs_of([one, two, one]) == [(one, two)]
    assert pairs_of([streams]) == [(streams, streams)]
    with pytest.raises(UsageError, match="nothing beside it"):
        pairs_of([one])


@two_cores
def test_lanes_that_cannot_run_together_are_named_before_anything_is_measured() -> None:
    first, second = allowed_cores()[:2]
    texts = (f"cpu/f32/t1/c{first}", f"cpu/f32/t2/c{first}+{second}", "cpu/f32/t1/c900")
    one, overlapping, elsewhere = map(Lane.parse, texts)
    with pytest.raises(UsageError, match="share cores"):
        pairs_of([one, overlapping])
    here = len(allowed_cores())
    for text in (f"/t{here}", ""):  # without a number of threads a provider takes all cores
        wide = [Lane.parse(f"{processor}/f32{text}") for processor in ("cpu", "openvino:cpu")]
        with pytest.raises(UsageError, match=f"need {2 * here} cores .*there are {here}"):
            pairs_of(wide)
    with pytest.raises(UsageError, match="core 900"):
        pairs_of([one, elsewhere])


@two_cores
def test_pairs_are_measured_once_and_learnt_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_model(tmp_path / "small.onnx")
    asked: list[int] = []

    def measure(pairs: Sequence[CoRunPair], *, on_result: Any, **_: object) -> None:
        asked.append(len(pairs))
        for at in range(len(pairs)):
            slow = CoRunMeasurement(alone_us=(10.0,) * 3, beside_us=(12.0,) * 3)
            on_result(at, (slow, replace(slow, beside_us=(15.0,) * 3)))

    monkeypatch.setattr(contention, "measure_coruns", measure)
    settings = SearchSettings(home=tmp_path / "home", budget_s=60, processors=("cpu",))
    one, two = (f"cpu/f32/t1/c{core}" for core in allowed_cores()[:2])
    first = profile_contention([tmp_path / "small.onnx"], settings, lanes=[one, two])
    assert [(pair.lane, pair.beside) for pair in first.pairs] == [(one, two), (two, one)]
    assert [pair.median for pair in first.pairs] == pytest.approx([1.2, 1.5])
    assert first.pairs[0].measured == asked[0] > 2
    again = profile_contention([tmp_path / "small.onnx"], settings, lanes=[one, two])
    assert len(asked) == 1
    assert (again.pairs[0].known, again.pairs[0].measured) == (first.pairs[0].measured, 0)
    assert again.records == first.records == 2 * asked[0]

    with open_workplace(settings.home) as here, Store(here.store_url) as store:
        saved = slowdown_predictor(here, store)
        record: CoRunRecord = store.coruns()[0]
        store.add_coruns([replace(record, victim=record.victim * 2)])
        assert slowdown_predictor(here, store).records == saved.records + 1
        (here.home / "predictors" / f"slowdown-{here.device.id}" / "card.json").write_text("{")
        assert slowdown_predictor(here, store).records == saved.records + 1


@two_cores
@pytest.mark.parametrize("ask", [profile, profile_contention])
def test_each_model_is_loaded_with_its_own_dimensions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ask: Callable[..., ContentionResult | ProfileResult]
) -> None:
    monkeypatch.setattr(contention, "measure_coruns", lambda *_, **__: None)
    monkeypatch.setattr(profiling, "profile_asked", lambda *_: [])
    free, fixed = write_model(tmp_path / "free.onnx", batch="n"), write_model(tmp_path / "fixed.onnx", batch=1)
    settings = SearchSettings(home=tmp_path / "home", budget_s=5, processors=("cpu",))
    lanes = [f"cpu/f32/t1/c{core}" for core in allowed_cores()[:2]]
    found = ask([fixed, Participant(model=str(free), dims={"n": 3})], settings, lanes=lanes)
    assert found.models == (str(fixed), str(free))
    with pytest.raises(UsageError, match="'m'"):
        ask([fixed, Participant(model=str(free), dims={"m": 3})], settings, lanes=lanes)


@two_cores
@pytest.mark.slow
def test_real_lanes_are_measured(tmp_path: Path) -> None:
    write_model(tmp_path / "small.onnx")
    settings = SearchSettings(home=tmp_path / "home", budget_s=30, processors=("cpu",))
    found = profile_contention([tmp_path / "small.onnx"], settings)
    assert all(pair.measured > 0 and pair.failed == 0 for pair in found.pairs)
    assert len(found.pairs) == 3  # two lanes in both directions, two streams of one
