"""Settings of learners, chosen on models that do not judge them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
import optuna
import pytest

from autotune.core import Kernel, Lane, ProfileRecord
from autotune.errors import UnknownNameError, UsageError
from autotune.predictor import LEARNERS, KernelPredictor, duel, evaluate, learner, tuning
from autotune.predictor.adapted import Adapted
from autotune.predictor.features import COLUMN
from autotune.predictor.training import TrainingSet, training_set
from autotune.predictor.tuning import Tuned, settled, tune
from tests.predictor.conftest import convolution

TRUE_US, GUESS_US = 300.0, 100.0
"""What every kernel of `by_model` takes, and what is said of one that is not known by heart."""


def by_model() -> dict[str, list[Kernel]]:
    """Four models, told apart by their input channels."""
    return {f"m{at}": [convolution(8 * (at + 1), 8 + 4 * width, 14) for width in range(8)] for at in range(4)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Memorising:
    """Its setting says which models it knows by heart, a bit for each; every one of them makes the others worse."""

    known: int = 0

    @property
    def name(self) -> str:
        return "memorising"

    @classmethod
    def suggested(cls, trial: optuna.Trial) -> Memorising:
        return cls(known=trial.number)

    def fit(self, rows: np.ndarray, latency_us: np.ndarray, lane: Lane, cores: int, *, seed: int) -> Memory:
        return Memory(known=self.known)

    def restore(self, state: Mapping[str, Any], files: Mapping[str, bytes], cores: int) -> Memory:
        return Memory(known=int(state["known"]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """Predicts models whose bit is set, and no others."""

    known: int

    def log_us(self, rows: np.ndarray, lane: Lane, cores: int) -> np.ndarray:
        models = (rows[:, COLUMN["c_in"]] / 8 - 1).astype(np.intp)
        by_heart = self.known >> models & 1
        result: np.ndarray = np.log(np.where(by_heart, TRUE_US, GUESS_US) * 0.99 ** self.known.bit_count())
        return result

    def dump(self) -> tuple[dict[str, Any], dict[str, bytes]]:
        return {"known": self.known}, {}


@pytest.fixture(autouse=True)
def _few_folds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tuning, "FOLDS", 2)


@pytest.fixture
def data(invented: ModuleType) -> TrainingSet:
    return training_set(invented.profile(invented.draw_kernels(40, 1), invented.LANES[:1]))


@pytest.fixture
def groups(data: TrainingSet) -> dict[str, tuple[str, ...]]:
    return {f"model{at}": data.lanes[0].signatures[at::6] for at in range(6)}


def tuned(data: TrainingSet, groups: dict[str, tuple[str, ...]], name: str, trials: int = 2) -> Tuned:
    return tune(data, groups, name, cores=2, trials=trials, seed=1)


def test_choice_is_deterministic_and_fits(
    data: TrainingSet, groups: dict[str, tuple[str, ...]], invented: ModuleType
) -> None:
    found = tuned(data, groups, "boosted")
    assert found.chosen == tuned(data, groups, "boosted").chosen
    predictor = KernelPredictor(learner=found).fit(data)
    assert (predictor.predict_us(invented.draw_kernels(5, 2), predictor.lanes[0]) > 0).all()


def test_defaults_stay_where_nothing_else_was_tried(data: TrainingSet, groups: dict[str, tuple[str, ...]]) -> None:
    assert tuned(data, groups, "boosted", trials=1).chosen == learner("boosted")


def test_settings_that_know_the_models_by_heart_do_not_know_those_left_out(
    invented: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(LEARNERS, "memorising", Memorising)
    lane, models = invented.LANES[0], by_model()
    results = {kernel: invented.measured(kernel, lane, TRUE_US) for own in models.values() for kernel in own}
    data = training_set(list(results.values()))
    groups = {name: tuple(kernel.signature for kernel in own) for name, own in models.items()}
    found = tune(data, groups, "memorising", cores=2, trials=17)
    assert found.chosen == settled(found) == Memorising(known=0b1111)
    assert found.forgetting(groups["m1"]) == Memorising(known=0b1101)

    def within_10(one: Tuned | Memorising) -> float:
        return evaluate(data, groups, invented.DEVICE, learners=[one]).get("memorising").within_10

    assert (within_10(Memorising(known=0b1111)), within_10(found)) == (1.0, 0.0)
    assert not duel(data, data, groups, invented.DEVICE, learners=(Memorising(), found)).challenger_wins


def test_too_few_that_remain_choose_nothing(data: TrainingSet, groups: dict[str, tuple[str, ...]]) -> None:
    found = tuned(data, groups, "boosted")
    assert found.forgetting(data.signatures[:25]) == learner("boosted")
    assert found.forgetting(data.signatures) == learner("boosted")


def test_what_is_helped_by_other_devices_forgets_and_settles_too(
    data: TrainingSet, groups: dict[str, tuple[str, ...]]
) -> None:
    helped = Adapted(inner=tuned(data, groups, "boosted", trials=3))
    unseen = groups["model0"]
    assert isinstance(helped.inner, Tuned)
    assert helped.forgetting(unseen).inner == helped.inner.forgetting(unseen)
    assert settled(helped) == Adapted(inner=helped.inner.chosen)


def test_the_models_that_judge_are_never_chosen_or_learnt_from(
    data: TrainingSet, groups: dict[str, tuple[str, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """No row of the model that is left out is learnt from or asked about, and no fit is asked about its own rows."""
    from autotune.predictor.boosted import BoostedLane, BoostedTrees
    from autotune.predictor.features import kernel_rows

    found = tuned(data, groups, "boosted")
    part = data.lanes[0]
    left_out = {
        kernel_rows([kernel])[0].tobytes()
        for kernel, signature in zip(part.kernels, part.signatures, strict=True)
        if signature in groups["model0"]
    }
    known: list[set[bytes]] = []
    fit, ask = BoostedTrees.fit, BoostedLane.log_us

    def spy_fit(self: BoostedTrees, rows: np.ndarray, *args: object, **options: object) -> BoostedLane:
        known.append({row.tobytes() for row in rows})
        assert not known[-1] & left_out
        return fit(self, rows, *args, **options)  # type: ignore[arg-type]

    def spy_ask(self: BoostedLane, rows: np.ndarray, *args: object) -> np.ndarray:
        assert not (known[-1] | left_out) & {row.tobytes() for row in rows}
        return ask(self, rows, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(BoostedTrees, "fit", spy_fit)
    monkeypatch.setattr(BoostedLane, "log_us", spy_ask)
    assert len(left_out) == 7
    again = [found.forgetting(groups["model0"]) for _ in range(2)]
    assert again[0] is again[1]
    assert len(known) == 2 * 2  # trials and folds, once


def test_a_learner_without_settings_or_name_is_refused(data: TrainingSet, groups: dict[str, tuple[str, ...]]) -> None:
    with pytest.raises(UsageError, match="flops_linear has no settings to tune; those that have: boosted"):
        tuned(data, groups, "flops_linear")
    with pytest.raises(UnknownNameError, match="oracle"):
        tuned(data, groups, "oracle")


@pytest.mark.parametrize("name", ["forest_per_family", "hist_boosted"])
def test_records_of_one_model_are_split_by_kernel(name: str, data: TrainingSet) -> None:
    assert tune(data, None, name, cores=2, trials=2).name == name


def test_lanes_with_few_records_do_not_stop_it(invented: ModuleType) -> None:
    kernels, (many, few) = invented.draw_kernels(40, 1), invented.LANES[:2]
    records: list[ProfileRecord] = invented.profile(kernels, [many]) + invented.profile(kernels[:1], [few])
    assert tune(training_set(records), None, "boosted", cores=2, trials=2).name == "boosted"
