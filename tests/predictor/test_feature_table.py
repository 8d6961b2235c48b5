"""The page on features says what the code does."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import numpy as np

from autotune.core import FAMILIES
from autotune.predictor.feature_table import document, family_groups, groups
from autotune.predictor.features import FEATURES, KERNEL_FEATURES, kernel_rows

PAGE = Path(__file__).parents[2] / "docs" / "features.md"


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text(encoding="utf-8") == document(), (
        "print it again: python -m autotune.predictor.feature_table > docs/features.md"
    )


def test_every_feature_is_in_one_group_with_unit_and_reason() -> None:
    listed = [feature for own in groups().values() for feature in own]
    assert sorted(feature.name for feature in listed) == sorted(feature.name for feature in FEATURES)
    assert all(feature.unit and feature.reason for feature in listed)


def test_groups_that_a_family_lacks_are_the_same_for_all_its_kernels(invented: ModuleType) -> None:
    names = [feature.name for feature in KERNEL_FEATURES]
    kernels = invented.draw_kernels(200, 3)
    for family in FAMILIES:
        rows = kernel_rows([kernel for kernel in kernels if kernel.family == family])
        absent = [f.name for name, own in groups().items() if name not in family_groups(family) for f in own]
        assert not len(rows) or (np.ptp(rows[:, [names.index(name) for name in absent]], axis=0) == 0).all()
    assert "window" in family_groups("convolution")
    assert "window" not in family_groups("matmul")
