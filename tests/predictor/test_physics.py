"""Physics by family and main operator."""

from __future__ import annotations

from dataclasses import replace
from types import ModuleType

import numpy as np
import pytest

from autotune.core import FAMILIES
from autotune.predictor.features import COLUMN, KernelRows
from autotune.predictor.geometry import WEIGHT_CACHES, Geometry
from autotune.predictor.physics import Physics, fit_physics
from autotune.predictor.shapes import ACTIVATIONS, MAIN_OPS
from autotune.predictor.terms import TERMS, terms


def device(exponential: float = 1e-3) -> Physics:
    """An invented one, by what an exponential costs."""
    usual = [4e-6, 3e-5, 6e-5, 2e-5, 1e-5, exponential]
    rest = [0.0] * (len(TERMS) - 7)
    return Physics(coefficients=tuple((2.0 + code, *usual, *rest) for code in range(len(FAMILIES))))


TRUTH = device()
DEAR_MEMORY = replace(TRUTH, coefficients=tuple((*one[:-1], 5e-4) for one in TRUTH.coefficients))
SMALL_CACHES = Geometry(cache_bytes=64 * 2**20, weight_cache_bytes=64 * 2**20)


@pytest.fixture
def rows(invented: ModuleType) -> np.ndarray:
    unique, inverse = KernelRows().take(invented.draw_kernels(240, 1))
    return unique[inverse]


def test_finds_what_a_device_takes_that_is_such_a_sum(rows: np.ndarray) -> None:
    found = fit_physics(rows, np.exp(TRUTH.log_us(rows)))
    assert len(found.coefficients[0]) == len(TERMS)
    assert np.median(np.abs(found.log_us(rows) - TRUTH.log_us(rows))) < 0.05


def test_a_few_wild_measurements_do_not_bend_it(rows: np.ndarray) -> None:
    measured = np.exp(TRUTH.log_us(rows))
    measured[::20] *= 30
    found = fit_physics(rows, measured)
    assert np.median(np.abs(found.log_us(rows) - TRUTH.log_us(rows))) < 0.08


def test_a_family_without_records_takes_the_rooflines_terms(rows: np.ndarray) -> None:
    family = np.argmax(rows[:, : len(FAMILIES)], axis=1)
    known = family == np.bincount(family).argmax()
    found = fit_physics(rows[known], np.exp(TRUTH.log_us(rows[known])))
    assert np.isfinite(found.log_us(rows)).all()
    assert all(max(one) > 0 for one in found.coefficients)


def test_an_exponential_that_nobody_measured_is_not_free(rows: np.ndarray) -> None:
    silu = rows[:, COLUMN["activation"]] == ACTIVATIONS.index("silu")
    found = fit_physics(rows[~silu], np.exp(TRUTH.log_us(rows[~silu])))
    plain = rows[silu].copy()
    plain[:, COLUMN["activation"]] = ACTIVATIONS.index("none")
    plain[:, COLUMN["nodes"]] = 1
    assert (found.log_us(rows[silu]) > found.log_us(plain)).all()


def test_a_main_operator_with_records_has_constants_of_its_own(rows: np.ndarray) -> None:
    family, column = np.argmax(rows[:, : len(FAMILIES)], axis=1), COLUMN["main_op"]
    largest = np.flatnonzero(family == np.bincount(family).argmax())
    slow, others = largest[::2], largest[1::2]
    rows = rows.copy()
    rows[slow, column] = 60
    measured = np.exp(TRUTH.log_us(rows))
    measured[slow] *= 10.0
    found = fit_physics(rows, measured)
    for part in (slow, others):
        assert np.median(np.abs(found.log_us(rows[part]) - np.log(measured[part]))) < 0.1
    unknown = rows[slow].copy()
    unknown[:, column] = 61
    assert (found.log_us(unknown) < found.log_us(rows[slow])).mean() > 0.9  # the family's lie between


def test_what_an_exponential_behind_costs_is_told_from_the_rest(rows: np.ndarray) -> None:
    silu = rows[:, COLUMN["activation"]] == ACTIVATIONS.index("silu")
    amounts = terms(rows[silu])
    assert (amounts[:, 5] == amounts[:, 6]).all()  # a Mul and a Sigmoid over as many elements
    dear = device(exponential=1e-2)
    found = fit_physics(rows, np.exp(dear.log_us(rows)))
    without = rows[silu].copy()
    without[:, COLUMN["activation"]], without[:, COLUMN["nodes"]] = ACTIVATIONS.index("none"), 1
    for some in (rows[silu], without):
        assert np.median(np.abs(found.log_us(some) - dear.log_us(some))) < 0.05


def test_a_term_that_none_of_an_operators_records_has_costs_what_it_does_in_its_family(
    rows: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    from scipy import optimize

    exact = optimize.nnls

    def rounded(*arguments: np.ndarray) -> tuple[np.ndarray, float]:
        """What rounding may leave, and on a device with few records left, of a term over no record."""
        solution, rest = exact(*arguments)
        return solution + 1e-15, rest

    monkeypatch.setattr(optimize, "nnls", rounded)
    silu = rows[rows[:, COLUMN["activation"]] == ACTIVATIONS.index("silu")]
    plain, unseen = silu.copy(), silu.copy()
    for own in (plain, unseen):
        own[:, COLUMN["main_op"]] = MAIN_OPS.index("FusedConv")
    plain[:, COLUMN["activation"]], plain[:, COLUMN["nodes"]] = ACTIVATIONS.index("none"), 1
    some = np.vstack([rows, plain])
    dear = device(exponential=1e-2)
    found = fit_physics(some, np.exp(dear.log_us(some)))
    assert (found.log_us(unseen) > found.log_us(plain)).all()
    assert (found.log_us(unseen) < dear.log_us(unseen) + 0.2).all()
    family, term = FAMILIES.index("convolution"), TERMS.index("exponential")
    own = found.own[found.operators.index(family * (len(MAIN_OPS) + 1) + MAIN_OPS.index("FusedConv"))]
    assert own[term] == found.coefficients[family][term] > 0


def test_one_record_gives_no_price_to_what_it_alone_has(rows: np.ndarray) -> None:
    """Of three products one has something fused behind, over few elements, and takes half as long again."""
    products = rows[rows[:, COLUMN["family_matmul"]] > 0][:3].copy()
    products[:, COLUMN["nodes"]], products[:, COLUMN["activation"]] = 1, ACTIVATIONS.index("none")
    products[0, COLUMN["nodes"]], products[0, COLUMN["log_bytes_out"]] = 2, 6
    some = np.vstack([rows[rows[:, COLUMN["family_matmul"]] == 0], products])
    measured = np.exp(TRUTH.log_us(some))
    measured[-3] *= 1.5
    large = products[1:2].copy()
    large[:, COLUMN["nodes"]], large[:, COLUMN["log_bytes_out"]] = 4, 20
    assert fit_physics(some, measured).log_us(large)[0] < TRUTH.log_us(large)[0] + np.log(2)


def test_products_of_one_row_do_not_say_that_flops_are_free(rows: np.ndarray) -> None:
    """Reading their weights is all that takes time, a little less of it than it says."""
    products = rows[rows[:, COLUMN["family_matmul"]] > 0][:6].copy()
    products[:, COLUMN["h_out"]], products[:, COLUMN["log_weight_bytes"]] = 1, np.linspace(20, 24, 6)
    products[:, COLUMN["log_flops"]] = products[:, COLUMN["log_weight_bytes"]] - 1
    some = np.vstack([rows[rows[:, COLUMN["family_matmul"]] == 0], products])
    measured = np.exp(TRUTH.log_us(some))
    measured[-6:] *= np.linspace(1.1, 0.8, 6)
    large = products.copy()
    large[:, COLUMN["h_out"]] = 256
    large[:, COLUMN["log_flops"]] += 8
    assert np.median(fit_physics(some, measured).log_us(large) - TRUTH.log_us(large)) > -np.log(4)


def test_what_the_cache_does_not_hold_comes_from_memory(rows: np.ndarray) -> None:
    large = rows[rows[:, COLUMN["family_elementwise"]] > 0].repeat(20, axis=0)
    for column in ("log_bytes_in", "log_bytes_out"):
        large[:, COLUMN[column]] = np.linspace(12, 26, len(large))
    some = np.vstack([rows, large])
    truth = replace(DEAR_MEMORY, geometry=Geometry(cache_bytes=32 * 2**20))
    found = fit_physics(some, np.exp(truth.log_us(some)))
    assert found.geometry.cache_bytes == truth.geometry.cache_bytes
    assert np.median(np.abs(found.log_us(large) - truth.log_us(large))) < 0.05
    held = fit_physics(some, np.exp(TRUTH.log_us(some)))
    assert np.median(np.abs(held.log_us(large) - TRUTH.log_us(large))) < 0.05


def test_weights_of_products_with_few_rows_have_a_cache_of_their_own(rows: np.ndarray) -> None:
    products = rows[rows[:, COLUMN["family_matmul"]] > 0].repeat(20, axis=0)
    products[:, COLUMN["h_out"]] = 1
    products[:, COLUMN["log_weight_bytes"]] = np.linspace(14, 27, len(products))
    some = np.vstack([rows, products])
    truth = replace(DEAR_MEMORY, geometry=Geometry(weight_cache_bytes=WEIGHT_CACHES[3]))
    found = fit_physics(some, np.exp(truth.log_us(some)))
    assert found.geometry.weight_cache_bytes == WEIGHT_CACHES[3]
    assert np.median(np.abs(found.log_us(products) - truth.log_us(products))) < 0.05


def test_finds_how_wide_tiles_are_and_who_shares_them(rows: np.ndarray) -> None:
    convolutions = rows[rows[:, COLUMN["family_convolution"]] > 0].repeat(4, axis=0)
    convolutions[:, COLUMN["c_out"]] = np.resize((8, 16, 24, 40, 64, 72, 80, 96, 120, 160, 192, 320), len(convolutions))
    some = np.vstack([rows, convolutions])
    for geometry in (Geometry(tile=16, threads=2), Geometry(tile=16), Geometry(tile=8, threads=2)):
        truth = replace(TRUTH, geometry=geometry)
        found = fit_physics(some, np.exp(truth.log_us(some)), threads=2)
        assert (found.geometry.tile, found.geometry.threads) == (geometry.tile, geometry.threads)
        assert np.median(np.abs(found.log_us(some) - truth.log_us(some))) < 0.05
    assert fit_physics(some, np.exp(TRUTH.log_us(some)), threads=2, blocked=True).geometry.tile == 0


def test_finds_how_many_columns_are_computed_at_once(rows: np.ndarray) -> None:
    convolutions = rows[rows[:, COLUMN["family_convolution"]] > 0].repeat(4, axis=0)
    for name, values in {"c_out": (16, 32, 64, 96, 192), "w_out": (7, 8, 14, 17, 28, 56)}.items():
        convolutions[:, COLUMN[name]] = np.resize(values, len(convolutions))
    some = np.vstack([rows, convolutions])
    for geometry in (Geometry(tile=16, columns=6, threads=2), Geometry(tile=8, columns=3, threads=2)):
        truth = replace(TRUTH, geometry=geometry)
        found = fit_physics(some, np.exp(truth.log_us(some)), threads=2, blocked=True)
        assert found.geometry == geometry
        assert np.median(np.abs(found.log_us(some) - truth.log_us(some))) < 0.05


def test_few_blocked_kernels_are_enough(rows: np.ndarray) -> None:
    """Ten depthwise convolutions, each of which could have computed several times its FLOPs meanwhile."""
    family = np.argmax(rows[:, : len(FAMILIES)], axis=1)
    depthwise = family == FAMILIES.index("depthwise")
    kept, others = np.flatnonzero(depthwise)[:10], np.flatnonzero(depthwise)[10:]
    some = rows[np.r_[np.flatnonzero(~depthwise), kept]]
    truth = replace(TRUTH, geometry=Geometry(tile=8, columns=3))
    found = fit_physics(some, np.exp(truth.log_us(some)), blocked=True)
    assert np.median(np.abs(found.log_us(rows[others]) - truth.log_us(rows[others]))) < 0.08


def test_what_is_expected_to_be_blocked_has_to_show_that_it_is_not(rows: np.ndarray) -> None:
    measured = np.exp(TRUTH.log_us(rows) + np.random.default_rng(0).normal(0, 0.5, len(rows)))  # nobody can tell
    assert fit_physics(rows, measured, threads=2, blocked=True).geometry.columns > 0
    assert fit_physics(rows, measured, threads=2).geometry.columns == 0


def test_of_a_table_and_of_a_convolution_nothing_more_comes_from_memory(rows: np.ndarray) -> None:
    rows = rows.copy()
    rows[:, COLUMN["log_weight_bytes"]] = 28
    family = np.argmax(rows[:, : len(FAMILIES)], axis=1)
    for name in ("convolution", "data_movement"):
        own = rows[family == FAMILIES.index(name)]
        assert (terms(own, SMALL_CACHES)[:, -1] < 2**28).all()
    product = rows[family == FAMILIES.index("matmul")]
    product[:, COLUMN["h_out"]] = 1
    assert (terms(product, SMALL_CACHES)[:, -1] > 0.99 * 2**28).all()
    product[:, COLUMN["h_out"]] = 512
    assert (terms(product, SMALL_CACHES)[:, -1] == 0).all()


def test_nothing_takes_less_than_the_fastest_that_was_measured(rows: np.ndarray) -> None:
    measured = np.maximum(np.exp(TRUTH.log_us(rows)), 20.0)
    found = fit_physics(rows, measured)
    small = rows.copy()
    for name in ("log_flops", "log_bytes_in", "log_bytes_out", "log_weight_bytes"):
        small[:, COLUMN[name]] = 0
    assert np.exp(found.log_us(small)).min() >= 19.999


@pytest.mark.parametrize(("width", "rank", "activation", "aliased"), [
    (64, 4, "silu", True), (63, 4, "silu", False), (64, 3, "silu", False), (64, 4, "relu", False),
])  # fmt: skip
def test_planes_that_lie_whole_pages_apart_displace_each_other(
    rows: np.ndarray, width: int, rank: int, activation: str, aliased: bool
) -> None:
    own = rows[rows[:, COLUMN["family_convolution"]] > 0][:1].copy()
    values = {"rank": rank, "h_out": 64, "w_out": width, "bits": 32, "activation": ACTIVATIONS.index(activation)}
    for name, value in values.items():
        own[:, COLUMN[name]] = value
    found = terms(own)[0]
    exponential = found[TERMS.index("exponential")]
    assert found[TERMS.index("aliased")] == (4 * exponential if aliased else 0)
    assert (exponential > 0) == (activation == "silu")
