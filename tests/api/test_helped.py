"""Retraining on a device with few records, beside the imported records of another one."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from pathlib import Path

import pytest

from autotune.api import retrain, retraining
from autotune.api.predictor_versions import predictor_versions
from autotune.core import Identity, Kernel, Lane, Measurement, Notes, ProfileRecord, Protocol
from autotune.datasets import Store, synthetic_kernels
from autotune.errors import PredictorError
from autotune.predictor import load_champion
from autotune.predictor.adapted import Adapted
from autotune.predictor.boosted import BoostedTrees
from autotune.predictor.linear import FlopsLinear
from autotune.predictor.storage import PREDICTOR_SCHEMA_VERSION
from autotune.processors import this_device
from autotune.terminal.predictors import print_retrain

LANE = Lane.parse("cpu/f32/t1")
OWN = this_device().id
SLOWER = {"convolution": 2.5, "depthwise": 3.5, "matmul": 2.0}
"""This device over the known one, by family."""


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retraining, "BASELINES", ())


@pytest.fixture(scope="module")
def kernels() -> list[Kernel]:
    found = [one.kernel for one in synthetic_kernels({}, count=420, seed=0) if one.kernel.family in SLOWER]
    return random.Random(0).sample(found, len(found))  # in no order: the first are like the rest


def known_us(kernel: Kernel) -> float:
    """On the known device: a roofline with tiles and steps that shapes alone do not tell from few records."""
    width = (kernel.outputs[0].shape or (1, 1))[1]
    tiles = math.ceil(width / 32) * 32 / width
    kind = {"depthwise": 6.0, "matmul": 0.7}.get(kernel.family, 1.0) * (1.6 if "Sigmoid" in kernel.ops else 1.0)
    step = 1.7 if kernel.bytes_read.bit_length() % 4 < 2 else 1.0  # caches
    return 4.0 + kind * step * tiles * kernel.flops / 5e4 + (kernel.bytes_read + kernel.bytes_written) / 1e4


def record(kernel: Kernel, latency_us: float, device: str) -> ProfileRecord:
    noise = random.Random(f"{kernel.signature}{device}")
    return ProfileRecord(
        kernel=kernel,
        lane=LANE,
        result=Measurement(samples_us=tuple(latency_us * math.exp(noise.gauss(0, 0.02)) for _ in range(5))),
        identity=Identity(device=device, provider="p 1", runtime="r 1", protocol=Protocol.MARGINAL),
        notes=Notes(time="2026-01-01T00:00:00Z", code_version="0"),
    )


def own(kernels: Sequence[Kernel]) -> list[ProfileRecord]:
    return [record(kernel, SLOWER[kernel.family] * known_us(kernel), OWN) for kernel in kernels]


def own_us(kernel: Kernel, latency_us: float) -> ProfileRecord:
    """Measured here, whatever it is."""
    return record(kernel, latency_us, OWN)


def others(kernels: Sequence[Kernel], *, shuffled: bool = False) -> list[ProfileRecord]:
    latencies = [known_us(kernel) for kernel in kernels]
    if shuffled:
        random.Random(0).shuffle(latencies)
    return [record(kernel, us, "other") for kernel, us in zip(kernels, latencies, strict=True)]


def add_models(store: Store, kernels: Sequence[Kernel], count: int) -> None:
    for at in range(count):
        store.add_model(f"{at:064x}", f"m{at}", [kernel.signature for kernel in kernels[at::count]])


def test_records_of_another_device_take_over_where_they_help(tmp_path: Path, kernels: list[Kernel]) -> None:
    with Store(f"sqlite:///{tmp_path / 'profiles.db'}") as store:
        store.add(own(kernels[:36]))
        add_models(store, kernels[:36], 6)
        first = retrain(tmp_path, track=False)
        assert (first.learner, first.promoted, first.helpers, first.helped) == ("boosted", True, (), None)
        store.add(others(kernels))
    helped = retrain(tmp_path, track=False)
    assert helped.helpers == ("other",)
    assert helped.helped is not None
    assert helped.helped.challenger < helped.helped.champion
    assert (helped.learner, helped.promoted) == ("adapted", True)
    assert helped.after.get("adapted").mape < helped.after.get("boosted").mape
    champion = load_champion(tmp_path, OWN)
    assert champion is not None
    unseen = kernels[36:]
    errors = [
        abs(math.log(us / (SLOWER[kernel.family] * known_us(kernel))))
        for kernel, us in zip(unseen, champion.predictor.predict_us(unseen, LANE), strict=True)
    ]
    assert sum(errors) / len(errors) < 0.2
    again = retrain(tmp_path, track=False)  # the same records: nothing is better
    assert (again.learner, again.promoted) == ("adapted", False)
    listed = [(one.learner, one.lanes, one.helped, one.in_use) for one in predictor_versions(tmp_path)]
    assert listed == [("boosted", 1, 0, False), ("adapted", 1, 1, True), ("adapted", 1, 1, False)]


def test_a_device_that_is_unlike_does_not_take_over(tmp_path: Path, kernels: list[Kernel]) -> None:
    with Store(f"sqlite:///{tmp_path / 'profiles.db'}") as store:
        store.add(own(kernels[:36]))
        store.add(others(kernels[:60], shuffled=True))
        add_models(store, kernels[:36], 3)
    found = retrain(tmp_path, track=False)
    assert (found.learner, found.helpers) == ("boosted", ("other",))
    assert found.helped is not None
    assert not found.helped.challenger_wins


def test_a_dozen_records_are_enough_beside_another_device(
    tmp_path: Path, kernels: list[Kernel], capsys: pytest.CaptureFixture[str]
) -> None:
    with Store(f"sqlite:///{tmp_path / 'profiles.db'}") as store:
        store.add(own(kernels[:12]))
        store.add(others(kernels[:60]))
    found = retrain(tmp_path, track=False)
    assert (found.learner, found.promoted, found.records) == ("adapted", True, 12)
    assert found.helped is not None
    assert found.helped.kernels == 0  # too few to leave any out
    print_retrain(found)
    assert "other device help: chosen lane by lane in cross-validation" in capsys.readouterr().out


def test_a_helped_predictor_in_use_meets_another_learner_with_its_help(
    tmp_path: Path, kernels: list[Kernel], capsys: pytest.CaptureFixture[str]
) -> None:
    with Store(f"sqlite:///{tmp_path / 'profiles.db'}") as store:
        store.add(own(kernels[:36]))
        add_models(store, kernels[:36], 6)
        store.add(others(kernels))
        first = retrain(tmp_path, track=False)
        assert first.learner == "adapted"
        store.add(own(kernels[36:60]))
    linear = retrain(tmp_path, learner="flops_linear", track=False)
    forced = retrain(tmp_path, learner="boosted", track=False)
    assert (linear.learner, linear.promoted) == ("flops_linear", False)
    assert linear.duel is not None
    assert forced.duel is not None
    assert linear.duel.champion < linear.duel.challenger
    assert linear.duel.champion == forced.duel.champion  # the one in use, whatever it meets
    assert (forced.helpers, forced.helped) == (("other",), None)
    capsys.readouterr()
    print_retrain(forced)
    assert "of 1 other device" not in capsys.readouterr().out  # nothing was compared


@pytest.mark.parametrize("name", ["", "boosted", "adapted"])
def test_a_helped_predictor_keeps_its_settings(name: str) -> None:
    tuned = BoostedTrees(rounds=60)
    assert retraining._alone(Adapted(inner=tuned), name) == tuned
    assert retraining._alone(tuned, name) == tuned
    assert retraining._alone(FlopsLinear(), name) == (FlopsLinear() if name == "" else BoostedTrees())


def test_records_of_others_alone_say_what_is_needed(tmp_path: Path, kernels: list[Kernel]) -> None:
    with Store(f"sqlite:///{tmp_path / 'profiles.db'}") as store:
        store.add(others(kernels[:30]))
    with pytest.raises(
        PredictorError, match=r"30 records are of other: beside them 8 measured kernels .* 3 s per lane"
    ):
        retrain(tmp_path, track=False)


@pytest.mark.parametrize("count", [0, 5])
def test_help_that_is_asked_for_and_not_there_is_an_error(tmp_path: Path, kernels: list[Kernel], count: int) -> None:
    with Store(f"sqlite:///{tmp_path / 'profiles.db'}") as store:
        store.add(own(kernels[:24]))
        store.add(others(kernels[:count]))
    with pytest.raises(
        PredictorError, match=rf"20 measured kernels of a lane of one of them.* the store holds {count} of them"
    ):
        retrain(tmp_path, learner="adapted", track=False)
    assert predictor_versions(tmp_path) == ()


def test_a_predictor_in_use_that_cannot_be_read_is_said(tmp_path: Path, kernels: list[Kernel]) -> None:
    with Store(f"sqlite:///{tmp_path / 'profiles.db'}") as store:
        store.add(own(kernels[:36]))
    first = retrain(tmp_path, learner="flops_linear", track=False)
    card = first.folder / "card.json"
    card.write_text(card.read_text().replace(f'"schema_version": {PREDICTOR_SCHEMA_VERSION}', '"schema_version": 70'))
    found = retrain(tmp_path, learner="flops_linear", track=False)
    assert "schema version 70" in found.problem
    assert (found.previous, found.promoted) == ("", True)
