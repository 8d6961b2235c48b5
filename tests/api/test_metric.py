"""A program's own metric that gives no number: the outputs count as broken, the search goes on."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from autotune.api.samples import Samples
from autotune.api.task import Task
from autotune.core.codec import encode
from autotune.graph import OutputPart
from autotune.profiler.compare import BROKEN


def a_task(values: list[float]) -> tuple[Task, Samples]:
    outputs: list[list[np.ndarray[Any, Any]]] = [[np.ones(3, np.float32)] for _ in values]
    samples = Samples(path=Path("samples.npz"), reference=outputs)
    left = iter(values)
    graph = SimpleNamespace(outputs=[SimpleNamespace(name="y")], output_parts=(OutputPart(name="y", output="y"),))
    task = Task(
        graph=graph,  # type: ignore[arg-type]
        info=None,  # type: ignore[arg-type]
        feeds=Path("feeds.npz"),
        search_samples=samples,
        held_out=samples,
        real_inputs=True,
        metric=lambda *_: next(left),
    )
    return task, samples


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_metric_that_is_no_number_means_broken_outputs(value: float) -> None:
    task, samples = a_task([0.0, value, 0.1])
    error = task.error(samples.reference, samples)
    assert error.relative_rms == BROKEN
    json.dumps(encode(error), allow_nan=False)


def test_a_metric_that_is_a_number_is_kept() -> None:
    task, samples = a_task([0.0, 0.25, 0.1])
    assert task.error(samples.reference, samples).relative_rms == 0.25
