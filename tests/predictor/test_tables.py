"""Predictors for tables that others measured: on made-up devices whose law is known."""

from __future__ import annotations

import itertools
from functools import partial

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from scipy.stats import spearmanr

from autotune.errors import InputError, PredictorError
from autotune.predictor.tables.delegate import constant_bytes, joined
from autotune.predictor.tables.few_shot import FewShotSettings, adapt, basis, choose_references, hardware, tune
from autotune.predictor.tables.fusion import fused_counts, guess_fused, surroundings
from autotune.predictor.tables.gaussian import GaussianProcess
from autotune.predictor.tables.mobile_gpu import mobile_gpu_table
from autotune.predictor.tables.new_device import KnownDevices
from autotune.predictor.tables.on_prior import OnPrior, randomised
from autotune.predictor.tables.operators import OperatorTable, per_device
from autotune.predictor.tables.phone_graph import phone_graph_table, rare_joined
from autotune.predictor.tables.physical import fit_prior
from autotune.predictor.tables.whole_model import ModelLearner, models_table

Vector = npt.NDArray[np.float64]
FAST = OnPrior(trees=partial(randomised, trees=20))


@pytest.fixture(scope="module")
def rows() -> pd.DataFrame:
    """Convolutions of twelve models, all shapes different."""
    random = np.random.default_rng(0)
    n = 240
    return pd.DataFrame(
        {
            "model": np.repeat([f"m{at}" for at in range(12)], n // 12), "op_index": np.tile(np.arange(n // 12), 12),
            "op": random.choice(["conv_2d", "depthwise_conv_2d"], n),
            "in_hw": random.choice([7.0, 14.0, 28.0, 56.0], n),
            "in_c": random.integers(3, 400, n) * 1.0, "out_c": random.integers(8, 400, n) * 1.0,
            "kernel": random.choice([1.0, 3.0], n), "stride": 1.0, "groups": 1.0,
        }
    ).assign(out_hw=lambda table: table["in_hw"])  # fmt: skip


def law(rows: pd.DataFrame, rate: float = 1e-4) -> Vector:
    """A launch, and operations on slices of four channels."""
    slices = np.ceil(rows["out_c"] / 4) * np.where(rows["op"] == "conv_2d", 4 * np.ceil(rows["in_c"] / 4), 1)
    found: Vector = 8 + rate * (rows["in_hw"] ** 2 * rows["kernel"] ** 2 * 4 * slices).to_numpy(dtype=np.float64)
    return found


def test_physical_law_is_found_from_few_rows_despite_outliers(rows: pd.DataFrame) -> None:
    table, latency = mobile_gpu_table(rows), law(rows)
    disturbed = latency.copy()
    disturbed[::17] *= 4
    half = np.arange(len(rows)) % 2 == 0
    predicted = np.exp(fit_prior(table.take(half), disturbed[half]).log_us(table.take(~half)))
    assert np.median(np.abs(predicted / latency[~half] - 1)) < 0.03


def test_a_delegate_keeps_few_weights_in_constant_memory(rows: pd.DataFrame) -> None:
    kernel, into, out = np.array([[1.0, 82, 20], [1, 96, 20], [3, 3, 32], [3, 3, 30], [1, 3, 64]]).T
    assert constant_bytes(kernel, into, out).tolist() == [3280, 3840, 1728, 1728, np.inf]
    table = mobile_gpu_table(rows.assign(in_c=[48.0, 96.0] * 120, out_c=20.0, kernel=1.0, op="conv_2d"))
    constant = table.features[:, table.names.index("constants_3584")]
    assert constant.tolist() == [1, 0] * 120


def test_a_concatenation_copies_two_slices_at_a_time_where_an_input_has_an_even_number() -> None:
    first, out, inputs = np.array([[32.0, 64, 2], [32, 52, 2], [12, 36, 3], [30, 62, 2]]).T
    steps, unrolled = joined(first, out, inputs)
    assert steps.tolist() == [4 + 4, 4 + 5, 3 + 3 + 3, 4 + 4]
    assert unrolled.tolist() == [False, False, False, True]


def test_trees_on_a_prior_reach_shapes_they_did_not_see(rows: pd.DataFrame) -> None:
    table, latency = mobile_gpu_table(rows), law(rows)
    train = rows["model"].isin([f"m{at}" for at in range(9)]).to_numpy()
    found, again = (FAST.fit(table.take(train), latency[train]).latency_us(table.take(~train)) for _ in range(2))
    assert np.mean(np.abs(found / latency[~train] - 1)) < 0.1
    assert np.array_equal(again, found)


def test_what_cannot_be_learnt_from_is_refused(rows: pd.DataFrame) -> None:
    table = mobile_gpu_table(rows)
    with pytest.raises(PredictorError, match="at least 20"):
        FAST.fit(table.take(np.arange(5)), np.ones(5))
    with pytest.raises(PredictorError, match="not a positive number"):
        FAST.fit(table, np.zeros(len(table)))
    with pytest.raises(InputError, match="in_c"):
        mobile_gpu_table(rows.drop(columns="in_c"))


def test_process_passes_through_a_smooth_function_between_its_points() -> None:
    at = np.linspace(-2, 2, 40)[:, None]
    fitted = GaussianProcess().fit(np.column_stack([at, np.ones(40)]), np.sin(2 * at[:, 0]), seed=0)
    between = np.linspace(-1.9, 1.9, 23)[:, None]
    found = fitted.predict(np.column_stack([between, np.ones(23)]))
    assert np.abs(found - np.sin(2 * between[:, 0])).max() < 0.05


def test_fused_operators_are_read_and_guessed_without_looking(rows: pd.DataFrame) -> None:
    kernels = pd.Series(["convolution_2d_1_linked_:_relu_2_linked_:_add_3", "concat_4", None])
    assert fused_counts(kernels).tolist() == [[1, 0, 1, 0], [0, 0, 0, 0], [0, 0, 0, 0]]
    around, model = surroundings(rows), rows["model"].to_numpy(dtype=str)
    counts = np.column_stack([(rows["op"] == "conv_2d").to_numpy() * 1.0, *np.zeros((3, len(rows)))])
    train = model != "m0"
    guessed = guess_fused(around, counts, model, train)
    assert np.mean((guessed[~train, 0] > 0.5) == (counts[~train, 0] > 0.5)) > 0.9
    counts[~train] = 99
    assert np.array_equal(guess_fused(around, counts, model, train), guessed)


def test_a_new_device_is_known_from_fifty_operators(rows: pd.DataFrame) -> None:
    table = mobile_gpu_table(rows)
    known = KnownDevices(table=table, latency_us=np.column_stack([law(rows, 1e-4), 3 * law(rows, 2e-4)]))
    measured = known.spread_out(50)
    assert len(measured) == len(set(measured.tolist())) <= 50
    truth = 2 * law(rows, 1.5e-4)
    found = known.adapt(measured, truth[measured], trees=50)
    rest = np.setdiff1d(np.arange(len(rows)), measured)
    assert np.mean(np.abs(found[rest] / truth[rest] - 1)) < 0.1
    with pytest.raises(PredictorError, match="at least 20"):
        known.adapt(measured[:3], truth[measured[:3]])


def test_of_like_operators_the_most_frequent_one_is_measured(rows: pd.DataFrame) -> None:
    often = pd.concat([rows, *[rows.iloc[[7]]] * 30], ignore_index=True)
    latency = np.column_stack([law(often, 1e-4), 3 * law(often, 2e-4)])
    measured = KnownDevices(table=mobile_gpu_table(often), latency_us=latency).spread_out(20)
    assert any(at == 7 or at >= len(rows) for at in measured.tolist())
    assert len(measured) == 20


def test_a_whole_model_costs_its_operators_and_what_is_not_listed(rows: pd.DataFrame) -> None:
    latency = law(rows)
    numbered = rows.assign(kernel=[f"convolution_2d_{2 * at}_linked_:_relu_{2 * at + 1}" for at in rows["op_index"]])
    names, table = models_table(numbered, mobile_gpu_table(rows), latency)
    sums = pd.Series(latency).groupby(rows["model"].to_numpy()).sum().loc[names]
    whole = np.asarray(sums, dtype=np.float64) * 1.1 + 50
    train = np.array([name != "m3" for name in names])
    found = ModelLearner(trees=30).fit(table.take(train), whole[train]).latency_us(table.take(~train))
    assert found == pytest.approx(whole[~train], rel=0.05)
    with pytest.raises(PredictorError, match="too few"):
        ModelLearner().fit(table.take(np.arange(4)), whole[:4])


def test_gaps_in_the_numbers_of_kernels_are_counted() -> None:
    rows = pd.DataFrame(
        {
            "model": "a", "op_index": [0, 1], "op": "conv_2d", "in_hw": 8.0, "in_c": 4.0, "out_hw": 8.0, "out_c": 4.0,
            "kernel": ["conv_0_linked_:_relu_1", "conv_5"], "stride": 1.0, "groups": 1.0,
        }
    )  # fmt: skip
    _, table = models_table(rows, mobile_gpu_table(rows.assign(kernel=3.0)), np.array([1.0, 2.0]))
    assert table.features[0, table.names.index("unlisted")] == pytest.approx(3 / 2)


def test_graph_features_know_which_way_a_tensor_is_converted() -> None:
    rows = pd.DataFrame(
        {
            "model": "a", "device": "red", "op_name": ["x/Conv2D", "x/Conv2D___tr4y/add", "y/add", "y___tr4z/Conv2D"],
            "op_type": ["Convolution", "ConvertTensor", "BinaryOp", "ConvertTensor"], "graph_index": [0.0, 1, 2, 3],
            "preds": ["", "0", "1,7", "2"], "in_shapes": ["1,3,8,8", "1,8,8,8", "1,8,8,8;1,8,8,8", "1,8,8,8"],
            "kh": [3.0, 1, None, 1], "kw": [3.0, 1, None, 1], "in_c": 8.0, "in_h": 8.0, "in_w": 8.0, "out_c": 8.0,
            "out_h": 8.0, "out_w": 8.0,
        }
    )  # fmt: skip
    table = phone_graph_table(pd.concat([rows.assign(model=f"m{at}") for at in range(60)], ignore_index=True))
    assert table.family[:4].tolist() == ["conv_winograd", "convert_out", "BinaryOp", "convert_in"]
    assert table.features[2, table.names.index("inputs")] == 2
    both = per_device(table, np.where(np.arange(len(table)) % 2, "red", "blue"))
    assert set(both.family[:2]) == {"blue/conv_winograd", "red/convert_out"}
    with pytest.raises(InputError, match="preds"):
        phone_graph_table(rows.drop(columns="preds"))


def test_kinds_of_which_few_operators_are_learnt_from_are_rare() -> None:
    kinds = np.array(["conv1"] * 60 + ["Softmax"] * 70 + ["Deconvolution"] * 2 + ["Cast"] * 59)
    table = OperatorTable(
        family=kinds, terms=np.ones((len(kinds), 1)), features=np.ones((len(kinds), 1)), names=("one",)
    )
    known = np.ones(len(kinds), dtype=bool)
    known[60:80] = False  # of a model left out: not counted
    assert set(rare_joined(table, known).family) == {"conv1", "Deconvolution", "rare"}
    known[60:80] = True
    assert set(rare_joined(table, known).family) == {"conv1", "Softmax", "Deconvolution", "rare"}


@pytest.fixture(scope="module")
def space() -> npt.NDArray[np.int64]:
    return np.array(list(itertools.product(range(3), repeat=5)), dtype=np.int64)


def device(space: npt.NDArray[np.int64], *costs: float) -> Vector:
    found: Vector = 5 + np.array(costs)[space].sum(axis=1)
    return found


def test_ten_samples_rank_a_space_on_a_new_device(space: npt.NDArray[np.int64]) -> None:
    known = {"gpu_1": device(space, 0, 1, 4), "gpu_32": device(space, 0, 1, 5), "phone": device(space, 0, 3, 1),
             "board": device(space, 0, 2, 6)}  # fmt: skip
    settings = tune(known, space, 10, grid=(FewShotSettings(), FewShotSettings(mean=3.0)))
    phi = basis(np.column_stack(list(known.values())), space, settings)
    chosen = choose_references(phi, settings, 10)
    truth = device(space, 0, 7, 3)
    assert len(set(chosen.tolist())) == 10
    assert spearmanr(adapt(phi, settings, chosen, truth[chosen]), truth).statistic > 0.95


def test_few_shot_needs_a_known_device_and_some_samples(space: npt.NDArray[np.int64]) -> None:
    settings = FewShotSettings()
    with pytest.raises(PredictorError, match="there is none"):
        basis(np.empty((len(space), 0)), space, settings)
    phi = basis(device(space, 0, 1, 2)[:, None], space, settings)
    with pytest.raises(PredictorError, match="at least 3"):
        adapt(phi, settings, np.array([0]), np.array([1.0]))


def test_batch_sizes_are_one_piece_of_hardware() -> None:
    assert hardware("titanx_32") == hardware("titanx_1") == "titanx"
    assert hardware("silver_4114") != hardware("silver_4210r")
