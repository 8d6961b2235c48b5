"""Retraining on a device of a public table, with a learner that is named, and its settings tuned."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from autotune.api import retrain, retraining
from autotune.api.predictor_versions import predictor_versions
from autotune.core import SilentObserver
from autotune.datasets import Store
from autotune.datasets.public import device_id, import_public
from autotune.errors import DeviceBusyError, InputError, PredictorError, UnknownNameError, UsageError
from autotune.predictor import LEARNERS, champion_version, load_champion, promote, tuning
from autotune.profiler import device_lock
from autotune.terminal.commands import predictors
from autotune.terminal.predictors import print_retrain
from tests.api.test_helped import OWN, own_us
from tests.predictor.test_tuning import TRUE_US, Memorising, by_model

NAME = "usc_mobile_gpu_ops"


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retraining, "BASELINES", ())
    monkeypatch.setattr(tuning, "FOLDS", 2)


class Told:
    """In MLflow's place: what it would have been told."""

    events: list[tuple[str, Mapping[str, Any]]]

    def __init__(self, home: Path) -> None:
        self.home = home

    def progress(self, phase: str, done: int, total: int, *, text: str = "") -> None:
        """Nothing."""

    def event(self, name: str, fields: Mapping[str, Any]) -> None:
        self.events.append((name, fields))

    def close(self) -> None:
        """Nothing."""


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Mapping[str, Any]]]:
    """The events that MLflow was told."""
    Told.events = []
    monkeypatch.setattr("autotune.tracking.MlflowObserver", Told)
    return Told.events


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Convolutions of three models on one phone, and too few on another."""
    return imported(tmp_path_factory.mktemp("home"))


def imported(folder: Path) -> Path:
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


def test_going_back_and_mirroring_name_the_published_device(
    tmp_path: Path, told: list[tuple[str, Mapping[str, Any]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AUTOTUNE_HOME", str(tmp_path))
    imported(tmp_path)
    with Store(f"sqlite:///{tmp_path / 'profiles.db'}") as store:
        store.add([own_us(kernel, TRUE_US) for own in by_model().values() for kernel in own])
    red = device_id(NAME, "red")
    for published in ((NAME, "red"), None):
        for _ in range(2):
            found = retrain(tmp_path, learner="flops_linear", published=published)
        promote(found.version, tmp_path)
    assert [(name, fields["version"], fields["device"]) for name, fields in told] == [
        ("predictor", "v0001", red),
        ("predictor", "v0003", OWN),
    ]
    assert (champion_version(tmp_path, red), champion_version(tmp_path, OWN)) == ("v0002", "v0004")
    predictors.retrain(rollback=True, dataset=NAME, device="red")
    assert (champion_version(tmp_path, red), champion_version(tmp_path, OWN)) == ("v0001", "v0004")
    predictors.retrain(version="v0002", dataset=NAME, device="red")
    predictors.retrain(rollback=True)
    assert (champion_version(tmp_path, red), champion_version(tmp_path, OWN)) == ("v0002", "v0003")
    assert [fields["device"] for _, fields in told[2:]] == [red, red, OWN]
    with pytest.raises(PredictorError, match="no version 'v0001' of the predictor of this device"):
        predictors.retrain(version="v0001")


def test_a_predictor_whose_records_are_gone_is_judged_as_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kernels = [kernel for own in by_model().values() for kernel in own]
    database = tmp_path / "profiles.db"

    def measure(factor: float) -> None:
        database.rename(tmp_path / "damaged.db") if database.exists() else None
        with Store(f"sqlite:///{database}") as store:
            store.add([own_us(kernel, factor * TRUE_US) for kernel in kernels])

    measure(1.0)
    first = retrain(tmp_path, learner="flops_linear", track=False)
    measure(3.0)  # the machine has become slower
    again = retrain(tmp_path, track=False)
    assert (first.as_stored, again.as_stored, again.promoted) == (False, True, True)
    assert again.duel is not None
    assert again.duel.champion == pytest.approx(math.log(3.0), rel=0.1)
    print_retrain(again)
    assert f"{first.version} was judged as it is stored" in capsys.readouterr().out
    same = retrain(tmp_path, track=False)
    assert (same.as_stored, same.promoted) == (False, False)
    measure(3.0)
    assert not retrain(tmp_path, track=False).as_stored  # the same measurements again


def test_retraining_waits_for_a_measurement(home: Path) -> None:
    seen: list[str] = []

    class Watching(SilentObserver):
        def progress(self, phase: str, done: int, total: int, *, text: str = "") -> None:
            seen.append(phase)

    with device_lock(home, wait_s=0), pytest.raises(DeviceBusyError, match="still measures on this device"):
        retrain(home, published=(NAME, "red"), wait_s=0.0, observer=Watching(), track=False)
    assert seen == ["wait"]


def test_the_one_in_use_is_met_and_replaced_under_one_lock(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    held: list[bool] = []

    def noting(name: str) -> None:
        inner = getattr(retraining, name)

        def call(*arguments: Any, **named: Any) -> Any:
            with suppress(DeviceBusyError), device_lock(home, wait_s=0):
                return held.append(False)
            held.append(True)
            return inner(*arguments, **named)

        monkeypatch.setattr(retraining, name, call)

    for name in ("load_champion", "duel", "register"):
        noting(name)
    for _ in range(2):
        retrain(home, learner="flops_linear", published=(NAME, "red"), track=False)
    assert held
    assert all(held)


@pytest.mark.parametrize("flags", [{"learner": "boosted"}, {"tune": True}, {"dataset": NAME}])
def test_going_back_takes_no_flags_that_it_would_ignore(flags: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=r"leave out --learner and --tune|--dataset and --device belong together"):
        predictors.retrain(rollback=True, **flags)


def test_settings_that_know_the_models_by_heart_do_not_take_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(LEARNERS, "memorising", Memorising)
    with Store(f"sqlite:///{tmp_path / 'profiles.db'}") as store:
        for at, (name, own) in enumerate(by_model().items()):
            store.add([own_us(kernel, TRUE_US) for kernel in own])
            store.add_model(f"{at:064x}", name, [kernel.signature for kernel in own])
    first = retrain(tmp_path, learner="memorising", track=False)
    found = retrain(tmp_path, learner="memorising", tune=17, track=False)
    assert found.tuning is not None
    assert found.tuning.settings == {"known": 0b1111}
    assert found.tuning.worth.challenger > found.tuning.worth.champion
    assert not found.promoted
    assert champion_version(tmp_path, OWN) == first.version
    assert found.after.get("memorising").within_10 == 0.0
    accuracy = json.loads((found.folder / "card.json").read_text())["accuracy"]
    assert accuracy["tuning"]["worth"]["challenger"] == found.tuning.worth.challenger
    print_retrain(found)
    assert "Settings chosen in 17 trials are not taken" in capsys.readouterr().out


def test_settings_that_help_on_models_left_out_are_taken_and_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(LEARNERS, "memorising", Memorising)
    with Store(f"sqlite:///{tmp_path / 'profiles.db'}") as store:
        for at, own in enumerate((by_model()["m0"][::2], by_model()["m0"][1::2])):  # two of one kind, others unknown
            store.add_model(f"{at:064x}", f"part{at}", [kernel.signature for kernel in own])
        store.add([own_us(kernel, TRUE_US) for own in by_model().values() for kernel in own])
    first = retrain(tmp_path, learner="memorising", track=False)
    found = retrain(tmp_path, tune=17, track=False)
    assert found.tuning is not None
    assert found.tuning.worth.challenger_wins
    assert found.promoted
    assert found.after.get("memorising").within_10 == 1.0
    print_retrain(found)
    assert "Settings chosen in 17 trials are taken" in capsys.readouterr().out
    champion = load_champion(tmp_path, OWN)
    assert champion is not None
    assert champion.version == found.version != first.version
    assert champion.predictor.learner == Memorising(known=0b1111)
    assert not retrain(tmp_path, track=False).promoted  # with the same settings and records
