"""What a model would cost on a lane: an interval of the whole, with the help that a search would have."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from autotune.api import SearchSettings
from autotune.api.explaining import explain, explain_plan
from autotune.core import Kernel, Measurement, ProfileRecord, StageRecord, Timing
from autotune.datasets import Store, synthetic_kernels
from autotune.errors import PredictorError
from autotune.runtime import write_plan
from autotune.terminal.predictors import print_explanation, print_plan_explanation
from tests.api.conftest import write_model
from tests.api.test_helped import LANE, SLOWER, others, own
from tests.runtime.conftest import make_plan, stage_files

KERNELS = [one.kernel for one in synthetic_kernels({}, count=100, seed=0) if one.kernel.family in SLOWER]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A model, beside a data base with a dozen records of this device."""
    with Store(f"sqlite:///{tmp_path / 'profiles.db'}") as store:
        store.add(own(KERNELS[:12]))
    return write_model(tmp_path / "small.onnx")


def test_few_records_are_helped_by_those_of_other_devices(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = SearchSettings(home=model.parent)
    with pytest.raises(PredictorError, match="20 are needed"):
        explain(model, str(LANE), settings)
    with Store(f"sqlite:///{model.parent / 'profiles.db'}") as store:
        store.add(others(KERNELS))
    found = explain(model, str(LANE), settings, top=1)
    assert found.predictor == "new"
    assert found.kernels_us < found.stage_us
    assert 0 < found.stage_low_us < found.stage_us < found.stage_high_us
    assert "runtime r 1 (now onnxruntime" in found.warnings[0]
    print_explanation(found)
    printed = capsys.readouterr().out
    assert "(90 %: " in printed
    assert f"note: {found.warnings[0]}" in printed


def test_records_of_others_alone_explain_nothing(tmp_path: Path) -> None:
    with Store(f"sqlite:///{tmp_path / 'profiles.db'}") as store:
        store.add(others(KERNELS))
    with pytest.raises(PredictorError, match=f"nothing was measured on this device yet: .* --lane {LANE}"):
        explain(write_model(tmp_path / "small.onnx"), str(LANE), SearchSettings(home=tmp_path))


def calm(kernels: Sequence[Kernel]) -> list[ProfileRecord]:
    """Records of an hour in which the lane's sentinel took 100 µs."""
    return [replace(one, notes=replace(one.notes, sentinel_us=100.0)) for one in own(kernels)]


def stages(records: Sequence[ProfileRecord], *, slower: float) -> list[StageRecord]:
    """Stages of four kernels that cost 3 ms each beside them, in an hour in which all takes so many times as long."""
    found = []
    for at in range(0, len(records), 4):
        part = records[at : at + 4]
        total_us = 3000.0 + sum(one.result.median_us for one in part if isinstance(one.result, Measurement))
        found.append(
            StageRecord(
                model_sha256=f"{at // 4 % 5:064d}",  # five models: costs of stages are learnt from three on
                start=at,
                stop=at + 4,
                kernels=tuple(one.kernel.signature for one in part),
                bytes_in=1000,
                bytes_out=1000,
                lane=LANE,
                result=Measurement(samples_us=(slower * total_us,)),
                identity=part[0].identity,
                notes=replace(part[0].notes, sentinel_us=100.0 * slower),
            )
        )
    return found


def test_stages_of_a_slow_hour_say_the_same_as_those_of_a_calm_one(tmp_path: Path) -> None:
    overheads_us = []
    for slower in (1.0, 2.0):
        home = tmp_path / str(slower)
        home.mkdir()
        records = calm(sorted(KERNELS, key=lambda kernel: kernel.weight_bytes + kernel.bytes_read)[:40])
        with Store(f"sqlite:///{home / 'profiles.db'}") as store:
            store.add(records)
            store.add_stages(stages(records, slower=slower))
        found = explain(write_model(tmp_path / "small.onnx"), str(LANE), SearchSettings(home=home), top=0)
        overheads_us.append(found.stage_us - found.kernels_us)
    assert overheads_us[0] > 50.0
    assert overheads_us[1] == pytest.approx(overheads_us[0])


def test_kernels_are_explained_at_the_speed_of_the_machine_at_its_fastest(tmp_path: Path) -> None:
    """Half of the records are of an hour that was twice as slow: neighbours are shown as if they were not."""
    records = calm(KERNELS[:40])
    slow = [
        replace(
            one,
            result=replace(one.result, samples_us=tuple(2 * us for us in one.result.samples_us)),
            notes=replace(one.notes, sentinel_us=200.0),
        )
        for one in records[::2]
        if isinstance(one.result, Measurement)
    ]
    with Store(f"sqlite:///{tmp_path / 'profiles.db'}") as store:
        store.add([*records[1::2], *slow])
    found = explain(write_model(tmp_path / "small.onnx"), str(LANE), SearchSettings(home=tmp_path), top=1)
    (reasons,) = [one.explanation for one in found.kernels if one.explanation is not None]
    true_us = {one.result.median_us for one in records if isinstance(one.result, Measurement)}
    assert all(min(abs(near.latency_us - us) for us in true_us) < 1e-6 for near in reasons.neighbours)


def test_every_stage_of_a_plan_is_explained_on_its_lane(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Store(f"sqlite:///{tmp_path / 'profiles.db'}") as store:
        store.add(own(KERNELS[:40]))
    timing = Timing(p50_us=2000.0, p90_us=2000.0, p99_us=2000.0, throughput_per_s=500.0)
    plan = replace(make_plan(lane=LANE), measured=timing)
    write_plan(plan, tmp_path / "plan", files=stage_files(tmp_path / "files"), whole="whole.onnx")
    found = explain_plan(tmp_path / "plan", SearchSettings(home=tmp_path), top=1)
    assert [(stage.model, stage.lane) for stage in found.stages] == [("stage0.onnx", LANE), ("stage1.onnx", LANE)]
    for stage in found.stages:
        assert 0 < stage.stage_low_us < stage.stage_us < stage.stage_high_us
        assert len([one for one in stage.kernels if one.explanation is not None]) == 1
    assert (found.predicted, found.measured) == (None, timing)
    print_plan_explanation(found)
    shown = capsys.readouterr().out
    assert "measured 2" in shown
    assert "stage1.onnx on cpu/f32/t1" in shown
