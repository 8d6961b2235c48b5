"""What a model would cost on a lane: an interval of the whole, with the help that a search would have."""

from __future__ import annotations

from pathlib import Path

import pytest

from autotune.api import SearchSettings
from autotune.api.explaining import explain
from autotune.datasets import Store, synthetic_kernels
from autotune.errors import PredictorError
from autotune.terminal.predictors import print_explanation
from tests.api.conftest import write_model
from tests.api.test_helped import LANE, SLOWER, others, own

KERNELS = [kernel for kernel in synthetic_kernels([], count=100, seed=0) if kernel.family in SLOWER]


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
