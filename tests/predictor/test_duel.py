"""A challenger takes over only when it is better beyond noise on models that neither has seen."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from autotune.api.predictor_versions import predictor_versions, roll_back
from autotune.errors import PredictorError
from autotune.predictor import KernelPredictor, champion_version, duel, register
from autotune.predictor.duel import Duel, judge

from .test_evaluation import groups_of


def test_more_records_win(invented: ModuleType) -> None:
    kernels = invented.draw_kernels(150, 1)
    records = invented.profile(kernels, invented.LANES[:1])
    groups = groups_of(records, 25, 25, 25)
    few = [record for record in records if record.kernel.signature in {k.signature for k in kernels[:50]}]
    found = duel(records, few, groups, invented.DEVICE)
    assert (found.kernels, found.models) == (75, 3)
    assert found.challenger < found.champion
    assert found.low <= found.champion - found.challenger <= found.high


def test_the_same_records_do_not_win(invented: ModuleType) -> None:
    records = invented.profile(invented.draw_kernels(90, 1), invented.LANES[:1])
    found = duel(records, records, groups_of(records, 30, 30), invented.DEVICE)
    assert found.champion == found.challenger
    assert not found.challenger_wins


def test_a_lane_that_is_new_is_a_reason(invented: ModuleType) -> None:
    kernels = invented.draw_kernels(90, 1)
    old, new = (invented.profile(kernels, [lane]) for lane in invented.LANES[:2])
    found = duel([*old, *new], old, groups_of(old, 30, 30), invented.DEVICE)
    assert found.new_lanes == (str(invented.LANES[1]),)
    assert found.challenger_wins


def drawn(rng: np.random.Generator, models: int, gain: float) -> Duel:
    """Two noisy predictors on so many models; each errs alike on the kernels of a model, the second by less."""
    errors = []
    for count in rng.integers(8, 120, models).tolist():
        alike = np.abs(0.08 + rng.normal(0, 0.02, (2, 1)))
        champion, challenger = (np.abs(rng.normal(0, 0.1, (2, count))) + alike).sum(axis=1).tolist()
        errors.append((champion, (1 - gain) * challenger, count))
    return judge(errors)


@pytest.mark.parametrize("models", [2, 3, 5, 8])
def test_of_two_that_are_equally_good_one_in_twenty_challengers_wins(models: int) -> None:
    rng = np.random.default_rng(models)
    won = [drawn(rng, models, 0.0).challenger_wins for _ in range(1000)]
    assert 0.02 <= np.mean(won) <= 0.08


def test_a_clearly_better_one_wins_with_three_models() -> None:
    rng = np.random.default_rng(0)
    assert np.mean([drawn(rng, 3, 0.5).challenger_wins for _ in range(200)]) > 0.9


def test_from_one_model_nothing_follows() -> None:
    assert not judge([(9.0, 1.0, 30)]).challenger_wins


def test_a_new_lane_is_no_reason_to_be_worse_on_the_others() -> None:
    worse = [(5.0, 6.0, 30), (5.0, 6.5, 30)]
    assert judge(worse).high > 0  # nothing is beyond the noise of two models
    assert not judge(worse, ("cpu/f32/t1",)).challenger_wins
    assert judge([(5.0, 5.1, 30), (5.0, 5.0, 30)], ("cpu/f32/t1",)).challenger_wins


def test_a_champion_whose_records_are_gone_is_judged_as_it_is(invented: ModuleType) -> None:
    kernels = invented.draw_kernels(120, 1)
    lost, now = (invented.profile(own, invented.LANES[:1]) for own in (kernels[:90], kernels[90:]))
    champion = KernelPredictor(device=invented.DEVICE).fit(lost, calibrate=False)
    found = duel(now, champion, groups_of(now, 10, 10, 10), invented.DEVICE)
    assert (found.kernels, found.models) == (30, 3)
    assert found.champion < found.challenger
    assert not found.challenger_wins


@pytest.fixture
def fitted(invented: ModuleType) -> KernelPredictor:
    records = invented.profile(invented.draw_kernels(40, 1), invented.LANES[:1])
    return KernelPredictor(device=invented.DEVICE).fit(records, calibrate=False)


def test_versions_are_listed_and_an_earlier_one_comes_back(fitted: KernelPredictor, tmp_path: Path) -> None:
    first, second = register(fitted, tmp_path), register(fitted, tmp_path)
    third = register(fitted, tmp_path, champion=False)
    listed = [(one.version, one.in_use) for one in predictor_versions(tmp_path)]
    assert listed == [(first, False), (second, True), (third, False)]
    assert roll_back(tmp_path, fitted.device_id, track=False) == first
    assert predictor_versions(tmp_path)[0].in_use
    with pytest.raises(PredictorError, match="no earlier version"):
        roll_back(tmp_path, fitted.device_id, track=False)
    assert roll_back(tmp_path, fitted.device_id, third, track=False) == third
    with pytest.raises(PredictorError, match="v0009"):
        roll_back(tmp_path, fitted.device_id, "v0009", track=False)
    (tmp_path / "predictors" / first / "card.json").write_text("{")
    assert predictor_versions(tmp_path)[0].problem


def register_each(predictor: KernelPredictor, home: Path, *won: bool) -> None:
    for champion in won:
        register(predictor, home, champion=champion)


def test_going_back_never_uses_a_version_that_was_rejected(fitted: KernelPredictor, tmp_path: Path) -> None:
    register_each(fitted, tmp_path, True, False, True, False, True)
    device = fitted.device_id
    assert [roll_back(tmp_path, device, track=False) for _ in range(2)] == ["v0003", "v0001"]
    with pytest.raises(PredictorError, match=r"none was in use before: .*--to VERSION"):
        roll_back(tmp_path, device, track=False)


def test_what_was_left_by_going_back_is_not_gone_back_to(fitted: KernelPredictor, tmp_path: Path) -> None:
    register_each(fitted, tmp_path, True, True, True)
    device = fitted.device_id
    assert roll_back(tmp_path, device, track=False) == "v0002"
    register_each(fitted, tmp_path, True)
    assert [roll_back(tmp_path, device, track=False) for _ in range(2)] == ["v0002", "v0001"]
    assert roll_back(tmp_path, device, "v0003", track=False) == "v0003"
    assert roll_back(tmp_path, device, track=False) == "v0001"


def test_going_back_passes_over_what_no_longer_loads(fitted: KernelPredictor, tmp_path: Path) -> None:
    register_each(fitted, tmp_path, True, True, True, True)
    (tmp_path / "predictors" / "v0003" / "lane_000.ubj").unlink()
    shutil.rmtree(tmp_path / "predictors" / "v0002")
    assert roll_back(tmp_path, fitted.device_id, track=False) == "v0001"


def test_a_version_that_does_not_load_is_not_put_in_use(fitted: KernelPredictor, tmp_path: Path) -> None:
    register_each(fitted, tmp_path, True, True)
    (tmp_path / "predictors" / "v0001" / "lane_000.ubj").unlink()
    with pytest.raises(PredictorError, match=r"v0001 holds no predictor that can be read .*lane_000\.ubj"):
        roll_back(tmp_path, fitted.device_id, "v0001", track=False)
    assert champion_version(tmp_path, fitted.device_id) == "v0002"


def test_a_home_without_a_history_goes_back_by_what_was_registered(fitted: KernelPredictor, tmp_path: Path) -> None:
    register_each(fitted, tmp_path, True, True, False)
    device = fitted.device_id
    history = tmp_path / "predictors" / f"history-{device}"
    history.unlink()
    assert roll_back(tmp_path, device, track=False) == "v0001"
    history.unlink()
    register_each(fitted, tmp_path, True, False, True)
    assert [roll_back(tmp_path, device, track=False) for _ in range(2)] == ["v0004", "v0001"]


@pytest.mark.parametrize("field", ["learner", "records", "data_hash", "lanes", "state", "accuracy"])
def test_a_card_that_lacks_a_field_is_a_version_with_a_problem(
    fitted: KernelPredictor, tmp_path: Path, field: str
) -> None:
    first, second, _ = (register(fitted, tmp_path) for _ in range(3))
    path = tmp_path / "predictors" / second / "card.json"
    card = json.loads(path.read_text())
    if field == "accuracy":
        card["accuracy"] = ["not", "rows"]
    else:
        del (card["lanes"][0] if field == "state" else card)[field]
    path.write_text(json.dumps(card))
    sound, broken, _ = predictor_versions(tmp_path)
    assert not sound.problem
    assert broken.version == second
    assert "delete the folder and run `autotune retrain`" in broken.problem
    assert roll_back(tmp_path, fitted.device_id, track=False) == first
