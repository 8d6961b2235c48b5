"""Settings of learners, chosen on models that do not judge them."""

from __future__ import annotations

from types import ModuleType

import numpy as np
import pytest

from autotune.core import ProfileRecord
from autotune.errors import UnknownNameError, UsageError
from autotune.predictor import KernelPredictor, learner, tuning
from autotune.predictor.training import TrainingSet, training_set
from autotune.predictor.tuning import Tuning, tune


@pytest.fixture(autouse=True)
def _few_folds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tuning, "OUTER", 2)
    monkeypatch.setattr(tuning, "INNER", 2)


@pytest.fixture
def data(invented: ModuleType) -> TrainingSet:
    return training_set(invented.profile(invented.draw_kernels(40, 1), invented.LANES[:1]))


@pytest.fixture
def groups(data: TrainingSet) -> dict[str, tuple[str, ...]]:
    return {f"model{at}": data.lanes[0].signatures[at::6] for at in range(6)}


def tuned(data: TrainingSet, groups: dict[str, tuple[str, ...]], name: str, trials: int = 2) -> Tuning:
    return tune(data, groups, name, cores=2, trials=trials, seed=1)


def test_choice_is_deterministic_and_fits(
    data: TrainingSet, groups: dict[str, tuple[str, ...]], invented: ModuleType
) -> None:
    found = tuned(data, groups, "boosted")
    assert found == tuned(data, groups, "boosted")
    assert learner("boosted", found.settings) == found.learner
    assert 0 < found.error < 0.5
    predictor = KernelPredictor(learner=found.learner).fit(data)
    assert (predictor.predict_us(invented.draw_kernels(5, 2), predictor.lanes[0]) > 0).all()


def test_defaults_stay_where_nothing_else_was_tried(data: TrainingSet, groups: dict[str, tuple[str, ...]]) -> None:
    found = tuned(data, groups, "boosted", trials=1)
    assert found.learner == learner("boosted")
    assert found.error == found.default_error


def test_the_models_that_judge_are_never_chosen_or_learnt_from(
    data: TrainingSet, groups: dict[str, tuple[str, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A learner that remembers what it saw: no fit holds a row of the model that it is asked about."""
    from autotune.predictor.boosted import BoostedLane, BoostedTrees

    known: list[set[bytes]] = []
    owner = {signature: name for name, own in groups.items() for signature in own}
    fit, ask = BoostedTrees.fit, BoostedLane.log_us

    def spy_fit(self: BoostedTrees, rows: np.ndarray, *args: object, **options: object) -> BoostedLane:
        known.append({row.tobytes() for row in rows})
        return fit(self, rows, *args, **options)  # type: ignore[arg-type]

    def spy_ask(self: BoostedLane, rows: np.ndarray, *args: object) -> np.ndarray:
        assert not known[-1] & {row.tobytes() for row in rows}
        return ask(self, rows, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(BoostedTrees, "fit", spy_fit)
    monkeypatch.setattr(BoostedLane, "log_us", spy_ask)
    tuned(data, groups, "boosted")
    assert len(owner) == 40
    assert len(known) == 2 * (2 * 2 + 2) + 2 * 2  # outer folds: choosing and judging; then choosing on all


def test_a_learner_without_settings_or_name_is_refused(data: TrainingSet, groups: dict[str, tuple[str, ...]]) -> None:
    with pytest.raises(UsageError, match="flops_linear has no settings to tune; those that have: boosted"):
        tuned(data, groups, "flops_linear")
    with pytest.raises(UnknownNameError, match="oracle"):
        tuned(data, groups, "oracle")


@pytest.mark.parametrize("name", ["forest_per_family", "hist_boosted"])
def test_records_of_one_model_are_split_by_kernel(name: str, data: TrainingSet) -> None:
    found = tune(data, None, name, cores=2, trials=2)
    assert found.learner.name == name
    assert found.error > 0


def test_lanes_with_few_records_do_not_stop_it(invented: ModuleType) -> None:
    kernels, (many, few) = invented.draw_kernels(40, 1), invented.LANES[:2]
    records: list[ProfileRecord] = invented.profile(kernels, [many]) + invented.profile(kernels[:1], [few])
    assert tune(training_set(records), None, "boosted", cores=2, trials=1).error > 0
