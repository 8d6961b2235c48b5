"""Predictors of operators in graphs on phones: caches, channels, floors of runs, and how much of trees to believe."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest

from autotune.errors import PredictorError
from autotune.predictor.tables.on_prior import OnPrior, boosted
from autotune.predictor.tables.operators import OperatorTable
from autotune.predictor.tables.phone_graph import phone_graph_table
from autotune.predictor.tables.phone_memory import CACHES, distances, with_memory
from autotune.predictor.tables.phone_slices import with_slices, with_threads
from autotune.predictor.tables.physical import fit_prior
from autotune.predictor.tables.run_floors import fit_floors, least_relative

Vector = npt.NDArray[np.float64]


def graph() -> pd.DataFrame:
    """A convolution whose output is added to that of a later one, then joined; operator 2 is not in the table."""
    return pd.DataFrame(
        {
            "model": "a", "device": "red", "op_name": ["x", "y", "z", "joined"], "graph_index": [0.0, 1, 3, 4],
            "op_type": ["Convolution", "Convolution", "BinaryOp", "Concat"], "preds": ["", "0", "0,1", "3,1"],
            "in_shapes": ["1,3,8,8", "1,8,8,8", "1,8,8,8;1,8,8,8", "1,6,8,8;1,8,8,8"], "kh": [3.0, 3.0, None, None],
            "kw": [3.0, 3.0, None, None], "in_c": 8.0, "in_h": 8.0, "in_w": 8.0, "out_c": 8.0, "out_h": 8.0,
            "out_w": 8.0,
        }
    )  # fmt: skip


def test_distance_is_what_was_touched_since_and_the_input_itself() -> None:
    rows = pd.concat([graph().iloc[::-1], graph().assign(model="b")], ignore_index=True)
    moved = np.array([4000.0, 3000, 2000, 1000, 1000, 2000, 3000, 4000])
    found, cold = distances(rows, moved)
    tensor = 4 * 8 * 8 * 8
    assert found[7].tolist() == pytest.approx(found[0].tolist())  # order of rows is no order of the graph
    assert found[6, 1:].tolist() == [tensor, tensor]  # operator 1 has just read the output of 0 and written its own
    first, second = 4 * 6 * 64, tensor
    assert found[7, 1] == max(first, second)
    assert not cold.any()


def test_an_input_from_long_ago_is_cold() -> None:
    rows = graph().assign(preds=["", "", "", "0"])
    _, cold = distances(rows, np.array([1.0, 3e5, 3e5, 1.0]))
    assert cold[3].tolist() == [4.0 * 6 * 64 if size < 6e5 + 4 * 6 * 64 else 0.0 for size in CACHES]


def test_channels_that_end_within_a_slice_are_told() -> None:
    rows = graph()
    table = with_threads(with_slices(with_memory(phone_graph_table(rows), rows), rows), rows)
    within = table.features[:, table.names.index("odd_within")]
    assert within.tolist() == [0, 0, 0, 1]
    steps = table.features[:, table.names.index("steps")]
    assert steps[0] > 0
    assert steps[2] == steps[3] == 0


def test_a_window_that_cannot_give_its_output_is_larger_than_listed() -> None:
    rows = pd.concat([graph().head(1)] * 3, ignore_index=True).assign(
        op_name=["v3/Conv2d_1a_1x1", "v3/Conv2d_0b_5x5", "up"], op_type=["Convolution", "Convolution", "Deconvolution"],
        kh=[1.0, 5.0, np.nan], kw=[1.0, 5.0, np.nan], in_c=288.0, out_c=384.0, in_h=[35.0, 35.0, 35.0],
        in_w=[35.0, 35.0, 35.0], out_h=[17.0, 35.0, 70.0], out_w=[17.0, 35.0, 70.0], graph_index=[0.0, 1, 2],
    )  # fmt: skip
    table = phone_graph_table(rows)
    windows, units, work = (table.features[:, table.names.index(name)] for name in ("kh", "unit", "work"))
    assert windows.tolist() == [3, 5, 1]  # 35 pixels by twos are 18, unless the window is larger than one
    assert units.tolist() == [0, 4, 0]
    assert table.family.tolist() == ["convn", "conv_winograd", "Deconvolution"]
    assert np.exp2(work[2]) == pytest.approx(70 * 70 * 384 * 288 * 4)


def table_of(work: Vector, extra: Vector | None = None) -> OperatorTable:
    return OperatorTable(
        family=np.full(len(work), "conv"),
        terms=np.column_stack([np.ones(len(work)), work]),
        features=np.column_stack([work, np.zeros(len(work)) if extra is None else extra]),
        names=("work", "extra"),
    )


def test_floors_of_runs_are_kept_apart_from_work() -> None:
    random = np.random.default_rng(0)
    work, run = random.uniform(1, 1000, 400), np.repeat(["slow", "fast"], 200)
    latency = np.where(run == "slow", 1000.0, 200.0) + 3 * work
    found = fit_floors(table_of(work), latency, run=run, device=np.full(400, "phone"))
    assert sorted(found.floors["phone"]) == pytest.approx([200, 1000], rel=0.1)
    assert found.work_us(table_of(np.array([500.0])), np.array(["phone"]))[0] == pytest.approx(1500, rel=0.05)
    predicted = found.latency_us(table_of(np.array([0.0])), np.array(["phone"]))
    assert predicted[0] == pytest.approx(200, rel=0.15)  # 1000 would be four times off where the floor is low
    expected = found.expected_us(table_of(np.array([0.0])), np.array(["phone"]))
    assert expected[0] == pytest.approx(600, rel=0.15)  # the mean of both floors
    with pytest.raises(PredictorError, match="too few"):
        fit_floors(table_of(work[:4]), latency[:4], run=run[:4], device=run[:4])


def test_least_relative_error_of_samples() -> None:
    samples = np.random.default_rng(1).uniform(100, 2000, (20, 7))
    tried = np.linspace(100, 2000, 400)
    wrong = np.abs(tried[None, :, None] / samples[:, None] - 1).mean(axis=2)
    best = np.abs(least_relative(samples)[:, None] / samples - 1).mean(axis=1)
    assert (best <= wrong.min(axis=1) + 1e-9).all()


def test_trees_find_what_the_prior_does_not_see_though_one_model_was_slow_throughout() -> None:
    random = np.random.default_rng(0)
    work, shift = random.uniform(10, 100, 600), random.choice([0.7, 1.4], 600)
    slow = np.where(np.arange(600) < 100, 1.5, 1.0)
    fitted = OnPrior(trees=boosted).fit(table_of(work, shift), 5 * work * shift * slow)
    predicted = fitted.latency_us(table_of(work, shift))
    assert np.median(np.abs(predicted[100:] / (5 * work * shift)[100:] - 1)) < 0.05
    with pytest.raises(PredictorError, match="not a positive number"):
        OnPrior(trees=boosted).fit(table_of(work), np.zeros(600))


def test_a_pulled_prior_ignores_terms_that_hardly_any_row_has() -> None:
    work = np.linspace(10, 100, 100)
    rare = np.where(np.arange(100) == 3, 1e-6, 0.0)
    table = table_of(work).with_terms(rare[:, None])
    latency = 20 + 2 * work
    latency[3] *= 50
    further = table_of(np.array([50.0])).with_terms(np.array([[1.0]]))
    assert np.exp(fit_prior(table, latency, pull=1.0).log_us(further))[0] == pytest.approx(120, rel=0.1)
