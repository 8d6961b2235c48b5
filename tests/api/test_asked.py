"""Profiling with a budget: what the committee asks for, on this device."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from autotune.api import SearchSettings, profile
from autotune.core import Measurement
from autotune.datasets import Store

PLENTY_S = 600.0


class Listening:
    """Keeps the spans of measuring and training."""

    def __init__(self) -> None:
        self.spans: list[Mapping[str, object]] = []

    def progress(self, *_: object, **__: object) -> None:
        pass

    def event(self, name: str, fields: Mapping[str, object]) -> None:
        if name == "learning":
            self.spans.append(fields)


def test_a_budget_is_spent_on_what_the_committee_asks_for(place: Path, tmp_path: Path) -> None:
    observer = Listening()
    settings = SearchSettings(home=tmp_path, budget_s=PLENTY_S, track=False)
    result = profile([place / "small.onnx"], settings, lanes=["cpu/f32/t1"], observer=observer)
    (lane,) = result.lanes
    assert lane.measured > 0
    assert lane.missing == lane.failed == lane.known == 0
    assert lane.measured + lane.agreed == result.kernels
    with Store(f"sqlite:///{tmp_path / 'profiles.db'}") as store:
        stored = store.kernels()
    assert len(stored) == lane.measured
    assert all(isinstance(record.result, Measurement) for record in stored)
    assert {span["work"] for span in observer.spans} == {"measuring", "training"}
    again = profile([place / "small.onnx"], settings, lanes=["cpu/f32/t1"])
    assert again.lanes[0].known == lane.measured
    assert again.lanes[0].measured == 0
