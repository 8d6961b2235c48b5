"""Accuracy on models left out."""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType
from typing import Any

import pytest

from autotune.core import ProfileRecord
from autotune.errors import PredictorError
from autotune.predictor import KernelPredictor, evaluate


def groups_of(records: Sequence[ProfileRecord], *sizes: int) -> dict[str, list[str]]:
    signatures = list(dict.fromkeys(record.kernel.signature for record in records))
    found, start = {}, 0
    for number, size in enumerate(sizes):
        found[f"model{number}"] = signatures[start : start + size]
        start += size
    return found


def test_learners_stand_beside_the_noise_ceiling(invented: ModuleType) -> None:
    kernels, lane = invented.draw_kernels(150, 1), invented.LANES[0]
    records = [invented.record(kernel, lane, launch=launch) for launch in (0, 1) for kernel in kernels]
    found = evaluate(records, groups_of(records, 50, 50, 50), invented.DEVICE)
    assert found.folds == ("model0", "model1", "model2")
    assert set(found.frame()["learner"]) == {"boosted", "flops_linear", "forest_per_family", "test_retest"}
    ceiling, boosted = found.get("test_retest", lane), found.get("boosted", lane)
    assert (boosted.count, ceiling.count) == (150, 150)
    assert ceiling.within_10 > 0.95
    assert boosted.within_10 > found.get("flops_linear").within_10
    assert boosted.spearman > 0.95
    assert found.card()["rows"]


def test_no_kernel_of_the_model_left_out_is_learnt_from(invented: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    records = invented.profile(invented.draw_kernels(90, 1), invented.LANES[:1])
    groups = groups_of(records, 30, 30)
    groups["model1"] += groups["model0"][:10]  # ten kernels that both models have
    seen: list[set[str]] = []
    fit = KernelPredictor.fit

    def spy(self: KernelPredictor, given: Sequence[ProfileRecord], *args: Any, **options: Any) -> KernelPredictor:
        seen.append({record.kernel.signature for record in given})
        return fit(self, given, *args, **options)

    monkeypatch.setattr(KernelPredictor, "fit", spy)
    evaluate(records, groups, learners=("flops_linear",))
    assert [len(given) for given in seen] == [60, 50]  # the rest, and the synthetic ones
    assert not seen[0] & set(groups["model0"])
    assert not seen[1] & set(groups["model1"])


def test_one_model_is_split_by_kernel(invented: ModuleType) -> None:
    records = invented.profile(invented.draw_kernels(60, 1), invented.LANES[:1])
    found = evaluate(records, groups_of(records, 60), learners=("flops_linear",))
    assert len(found.folds) == 5
    assert found.get("flops_linear").count == 60


def test_many_models_share_folds(invented: ModuleType) -> None:
    records = invented.profile(invented.draw_kernels(60, 1), invented.LANES[:1])
    found = evaluate(records, groups_of(records, *[5] * 12), learners=("flops_linear",))
    assert len(found.folds) == 5
    assert found.get("flops_linear").count == 60


def test_coverage_is_counted_when_asked_for(invented: ModuleType) -> None:
    records = invented.profile(invented.draw_kernels(120, 1), invented.LANES[:1])
    found = evaluate(records, groups_of(records, 40, 40, 40), learners=("boosted",), coverage=True)
    coverage = found.get().coverage
    assert coverage is not None
    assert coverage > 0.75


def test_too_little_to_learn_from_is_refused(invented: ModuleType) -> None:
    records = invented.profile(invented.draw_kernels(30, 1), invented.LANES[:1])
    with pytest.raises(PredictorError, match="too few"):
        evaluate(records, groups_of(records, 15, 15))
