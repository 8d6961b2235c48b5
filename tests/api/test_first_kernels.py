"""Which unknown kernels a search measures first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from autotune.api import known_costs
from autotune.core import Kernel, Lane
from autotune.datasets import synthetic_kernels

ONE, TWO = Lane.parse("cpu/f32/t1"), Lane.parse("cpu/f32/t2")


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A search whose model runs its first kernel twice; the store has one record per lane."""
    kernels = [one.kernel for one in synthetic_kernels({}, count=6, seed=0)]
    uses = [SimpleNamespace(kernel=kernel) for kernel in [kernels[0], *kernels]]
    monkeypatch.setattr(known_costs, "lane_identity", lambda _run, lane, _protocol: f"identity of {lane}")
    return SimpleNamespace(
        task=SimpleNamespace(graph=SimpleNamespace(kernels=uses)),
        store=SimpleNamespace(kernels=lambda *, lanes, identity: [(lanes[0], identity)]),
        place=SimpleNamespace(device=SimpleNamespace(cores=(0, 1))),
        settings=SimpleNamespace(seed=3),
    )


def test_with_time_for_all_of_them_nobody_is_asked(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(known_costs, "ranked", lambda *_, **__: pytest.fail("no need to rank"))
    missing = {ONE: [use.kernel for use in run.task.graph.kernels[1:]], TWO: []}
    assert known_costs._in_order(run, missing, 60.0) == missing


def test_what_a_second_is_worth_most_comes_first_where_time_is_short(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[Mapping[str, int], Any, int, int]] = []

    def backwards(
        missing: Mapping[Lane, Sequence[Kernel]], uses: Mapping[str, int], known: Any, *, cores: int, seed: int
    ) -> dict[Lane, list[Kernel]]:
        asked.append((uses, known, cores, seed))
        return {lane: list(reversed(kernels)) for lane, kernels in missing.items()}

    monkeypatch.setattr(known_costs, "ranked", backwards)
    kernels = [use.kernel for use in run.task.graph.kernels[1:]]
    found = known_costs._in_order(run, {ONE: kernels, TWO: []}, 0.5)
    assert found == {ONE: kernels[::-1]}
    ((uses, known, cores, seed),) = asked
    assert (uses[kernels[0].signature], uses[kernels[1].signature]) == (2, 1)
    assert (known, cores, seed) == ([(ONE, f"identity of {ONE}")], 2, 3)
