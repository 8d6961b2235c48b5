"""Retraining on a device of a public table, with a learner that is named, and its settings tuned."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from autotune.api import retrain, retraining
from autotune.api.predictor_versions import predictor_versions
from autotune.datasets.public import device_id, import_public
from autotune.errors import InputError, PredictorError, UnknownNameError
from autotune.predictor import champion_version, load_champion, tuning

NAME = "usc_mobile_gpu_ops"


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retraining, "BASELINES", ())
    monkeypatch.setattr(tuning, "OUTER", 2)
    monkeypatch.setattr(tuning, "INNER", 2)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Convolutions of four models on one phone, and too few on another."""
    folder = tmp_path_factory.mktemp("home")
    rng = np.random.default_rng(0)
    c_in, c_out = rng.integers(4, 200, (2, 60))
    pd.DataFrame(
        {
            "framework": "tflite", "model": [f"m{at % 3}" for at in range(60)], "op_index": range(60), "op": "conv_2d",
            "in_hw": 14, "in_c": c_in, "out_hw": 14, "out_c": c_out, "kernel": 3, "stride": 1, "groups": 1,
            "lat_us_red": c_in * c_out / 50 + 5, "lat_us_blue": [7.0] * 5 + [np.nan] * 55,
        }
    ).to_parquet(folder / f"{NAME}.parquet")  # fmt: skip
    import_public(folder / f"{NAME}.parquet", folder)
    return folder


def test_a_published_device_has_a_predictor_of_its_own(home: Path) -> None:
    result = retrain(home, learner="flops_linear", published=(NAME, "red"), track=False)
    assert (result.learner, result.promoted, result.tuning) == ("flops_linear", True, None)
    assert result.after.folds == ("m0", "m1", "m2")
    assert result.after.get("flops_linear").within_10 > 0.9
    assert champion_version(home, device_id(NAME, "red")) == result.version
    (listed,) = predictor_versions(home)
    assert listed.within_10 == result.after.get("flops_linear").within_10


def test_the_learner_in_use_stays_and_another_must_win(home: Path) -> None:
    first = retrain(home, learner="flops_linear", published=(NAME, "red"), track=False)
    again = retrain(home, published=(NAME, "red"), track=False)
    assert again.learner == "flops_linear"
    assert not again.promoted
    tuned = retrain(home, learner="forest_per_family", tune=2, published=(NAME, "red"), track=False)
    assert tuned.tuning is not None
    assert not tuned.promoted  # the truth is linear
    assert tuned.duel is not None
    assert tuned.duel.challenger > tuned.duel.champion
    champion = load_champion(home, device_id(NAME, "red"))
    assert champion is not None
    assert champion.predictor.learner.name == "flops_linear"
    assert first.records == 60


def test_names_and_counts_that_do_not_do(home: Path) -> None:
    with pytest.raises(UnknownNameError, match=r"green.*known: blue, red"):
        retrain(home, published=(NAME, "green"), track=False)
    with pytest.raises(InputError, match="hope_ops was not imported"):
        retrain(home, published=("hope_ops", "redmi"), track=False)
    with pytest.raises(PredictorError, match=r"5 measured kernels on tflite:gpu/f32 .* 20 are needed: .* s per lane"):
        retrain(home, published=(NAME, "blue"), track=False)
