"""The machine as a value."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from autotune.processors import device, this_device
from autotune.processors.device import cpu_quota, usable_cores


def test_this_device_is_described() -> None:
    found = this_device()
    assert len(found.id) == 12
    assert int(found.id, 16) >= 0
    assert found.name
    assert found.cores
    assert found.memory_bytes > 2**27
    assert list(found.features) == sorted(found.features)


def group(root: Path, name: str, limit: str) -> None:
    (root / name).mkdir(parents=True, exist_ok=True)
    (root / name / "cpu.max").write_text(limit)


@pytest.fixture
def own(tmp_path: Path) -> Path:
    path = tmp_path / "cgroup"
    path.write_text("12:pids:/x\n0::/system.slice/tune.service\n")
    return path


def test_the_tightest_quota_of_all_parents_holds(tmp_path: Path, own: Path) -> None:
    root = tmp_path / "fs"
    group(root, "system.slice/tune.service", "400000 100000\n")
    group(root, "system.slice", "150000 100000\n")
    group(root, ".", "max 100000\n")
    assert cpu_quota(root=root, own=own) == 1.5


def test_no_quota_is_none(tmp_path: Path, own: Path) -> None:
    group(tmp_path / "fs", "system.slice/tune.service", "max 100000\n")
    assert cpu_quota(root=tmp_path / "fs", own=own) is None
    assert cpu_quota(root=tmp_path / "nothing", own=tmp_path / "nothing") is None


@pytest.mark.parametrize(("limit", "cores"), [("50000", 0.5), ("-1", None), ("", None)])
def test_the_older_control_groups_count_too(tmp_path: Path, limit: str, cores: float | None) -> None:
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu" / "cpu.cfs_quota_us").write_text(limit)
    (tmp_path / "cpu" / "cpu.cfs_period_us").write_text("100000")
    assert cpu_quota(root=tmp_path, own=tmp_path / "nothing") == cores


@pytest.mark.parametrize(("quota", "count"), [(None, 4), (0.5, 1), (2.0, 2), (9.0, 4)])
def test_a_quota_takes_cores_away(monkeypatch: pytest.MonkeyPatch, quota: float | None, count: int) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: {7, 3, 5, 1}, raising=False)
    monkeypatch.setattr(device, "cpu_quota", lambda: quota)
    assert usable_cores() == (1, 3, 5, 7)[:count]
