"""Which predictor a search or an explanation takes for a lane once the runtime was upgraded."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from autotune.api import known_costs
from autotune.api.lane_predictors import Chosen, LanePredictors
from autotune.core import Kernel, ProfileRecord
from autotune.datasets import Store, synthetic_kernels
from autotune.errors import PredictorError
from autotune.predictor import KernelPredictor, register
from autotune.processors import this_device
from tests.api.test_helped import LANE, SLOWER, known_us, own, own_us

UPGRADE = 1.5
"""A kernel's time under the later runtime over that under the earlier one."""


@pytest.fixture(scope="module")
def kernels() -> list[Kernel]:
    found = [one.kernel for one in synthetic_kernels({}, count=240, seed=0) if one.kernel.family in SLOWER]
    return random.Random(0).sample(found, len(found))  # in no order: the first are like the rest


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(f"sqlite:///{tmp_path / 'profiles.db'}") as opened:
        yield opened


def place(home: Path, runtime: str) -> Any:
    """This device with another runtime; test_helped's records are of `r 1`."""
    return SimpleNamespace(
        home=home,
        device=this_device(),
        processor=lambda _: SimpleNamespace(provider="p", version="1"),
        discovery=SimpleNamespace(runtime=runtime),
    )


def later_us(kernel: Kernel) -> float:
    return UPGRADE * SLOWER[kernel.family] * known_us(kernel)


def later(kernels: Sequence[Kernel]) -> list[ProfileRecord]:
    """Measured under `r 2`."""
    return [
        replace(
            one,
            identity=replace(one.identity, runtime="r 2"),
            notes=replace(one.notes, time="2026-06-01T00:00:00+00:00"),
        )
        for one in (own_us(kernel, later_us(kernel)) for kernel in kernels)
    ]


def learn(home: Path, store: Store, kernels: Sequence[Kernel]) -> None:
    """A predictor in use that learnt under `r 1`."""
    store.add(own(kernels))
    register(KernelPredictor(device=this_device()).fit(own(kernels), calibrate=False), home)


def error(chosen: Chosen, kernels: Sequence[Kernel]) -> float:
    truth = np.array([later_us(kernel) for kernel in kernels])
    return float(np.abs(np.log(chosen.predictor.predict_us(kernels, LANE) / truth)).mean())


def test_the_one_in_use_serves_while_nothing_has_changed(tmp_path: Path, store: Store, kernels: list[Kernel]) -> None:
    learn(tmp_path, store, kernels[:40])
    found = LanePredictors(place(tmp_path, "r 1"), store).choose(LANE)
    assert (found.version, found.warning) == ("v0001", "")


def test_after_an_upgrade_it_is_a_guess_until_enough_was_measured(
    tmp_path: Path, store: Store, kernels: list[Kernel]
) -> None:
    learn(tmp_path, store, kernels[:50])
    upgraded = place(tmp_path, "r 2")
    guess = LanePredictors(upgraded, store).choose(LANE)
    assert guess.version == "v0001"
    assert "cpu was last learnt with runtime r 1 (now r 2): its predictions are a guess" in guess.warning
    store.add(later(kernels[50:57]))
    assert LanePredictors(upgraded, store).choose(LANE).version == "v0001"
    store.add(later(kernels[57:66]))
    new = LanePredictors(upgraded, store).choose(LANE)
    assert (new.version, new.warning) == ("new", "")
    assert error(new, kernels[66:]) < 0.7 * error(guess, kernels[66:])


def test_without_one_in_use_what_older_records_teach_is_a_guess(
    tmp_path: Path, store: Store, kernels: list[Kernel]
) -> None:
    store.add(own(kernels[:40]))
    found = LanePredictors(place(tmp_path, "r 2"), store).choose(LANE)
    assert found.version == "new"
    assert "runtime r 1 (now r 2)" in found.warning


def test_a_search_says_once_that_it_guesses(tmp_path: Path, store: Store, kernels: list[Kernel]) -> None:
    learn(tmp_path, store, kernels[:40])
    run: Any = SimpleNamespace(warnings=[], predictor_version="")
    predictors = LanePredictors(place(tmp_path, "r 2"), store)
    for _ in range(2):
        assert known_costs._predictor(run, predictors, LANE) is not None
    assert run.predictor_version == "v0001"
    (warning,) = run.warnings
    assert "runtime r 1 (now r 2)" in warning


def test_a_search_does_without_where_too_little_is_known(tmp_path: Path, store: Store, kernels: list[Kernel]) -> None:
    store.add(own(kernels[:5]))
    run: Any = SimpleNamespace(warnings=[], predictor_version="")
    predictors = LanePredictors(place(tmp_path, "r 1"), store)
    with pytest.raises(PredictorError, match="20 are needed"):
        predictors.choose(LANE)
    assert known_costs._predictor(run, predictors, LANE) is None
    assert run.warnings == []
