"""A disk that fills up in a joint search: each model's own plan side by side, elsewhere if need be; or a message."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest

import autotune
from autotune.api import together_looking, together_measuring
from autotune.core import Sharing
from autotune.errors import StoreError
from autotune.runtime import drafts, joint_folder, read_joint

from .conftest import search_pair


def full(*_: object, **__: object) -> NoReturn:
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize(
    ("module", "writer"), [(together_looking, "joint_contender"), (together_measuring, "measured_contender")]
)
def test_stages_that_cannot_be_written_leave_own_best_plans_side_by_side(
    pair: Path, hasty: object, monkeypatch: pytest.MonkeyPatch, module: object, writer: str
) -> None:
    monkeypatch.setattr(module, writer, full)
    result = search_pair(pair)
    assert result.plan.sharing is Sharing.SIDE_BY_SIDE
    assert result.plan.reason == "broken off before a joint plan was decided upon"
    assert [warning for warning in result.warnings if warning.startswith("broken off: ") and "No space" in warning]
    assert not result.interrupted
    assert all(member.measured is not None for member in result.plan.members)
    assert read_joint(result.folder) == result.plan


def test_a_joint_plan_that_cannot_be_written_where_it_should_lies_in_the_home_folder(
    pair: Path, hasty: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full_outside(path: Path, data: Any) -> None:
        if "plans" not in path.parts:
            full()
        drafts.write_json(path, data)

    monkeypatch.setattr(joint_folder, "write_json", full_outside)
    result = search_pair(pair, output=pair / "elsewhere")
    assert result.folder.parent == pair / "home" / "plans"
    assert [warning for warning in result.warnings if "No space left" in warning and str(result.folder) in warning]
    assert not (pair / "elsewhere").exists()
    assert result.plan.sharing is Sharing.SPACE
    with autotune.load_plans(result.folder) as plans:
        for name in plans.models:
            sample = {"images": np.load(pair / f"{name}.npz")["images"][0]}
            assert len(plans.run(name, None, sample)) == 2


def test_a_joint_plan_that_cannot_be_written_at_all_is_named_in_the_message(
    pair: Path, hasty: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(joint_folder, "write_json", full)
    with pytest.raises(StoreError, match=r"No space left on device.*it was each on .* small on cpu.*wide on") as caught:
        search_pair(pair, output=pair / "elsewhere")
    assert "TMPDIR" in str(caught.value)
    assert not (pair / "elsewhere").exists()
