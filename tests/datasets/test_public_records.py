"""Operators of public tables as profile records: kernels that ONNX Runtime can run, of a device of their own."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from autotune.core import Device, Lane, Measurement, Protocol
from autotune.datasets.public import device_id, import_public, model_table, read_card, records_of, verify
from autotune.datasets.public.importing import folder_of
from autotune.datasets.public.operators import built, convolution, dense, same_pads, simple
from autotune.errors import InputError, PredictorError, StoreError
from autotune.graph import build_kernel
from autotune.predictor import KernelPredictor

TIME = "2026-01-01T00:00:00+00:00"
NAN = float("nan")


def usc(rows: list[dict[str, object]]) -> pd.DataFrame:
    empty = {"framework": "tflite", "in_hw": NAN, "in_c": NAN, "out_hw": NAN, "out_c": NAN, "kernel": NAN,
             "stride": NAN, "groups": NAN, "padding": NAN, "lat_us_red": 10.0, "lat_us_blue": 20.0}  # fmt: skip
    return pd.DataFrame([empty | {"model": f"m{at % 3}", "op_index": at} | row for at, row in enumerate(rows)])


CONV = {"op": "conv_2d", "in_hw": 14, "in_c": 8, "out_hw": 7, "out_c": 16, "kernel": 3, "stride": 2, "groups": 1}
USC = [
    CONV,
    {
        "op": "depthwise_conv_2d",
        "in_hw": 14,
        "in_c": 8,
        "out_hw": 14,
        "out_c": 8,
        "kernel": 5,
        "stride": 1,
        "groups": 8,
    },
    {"op": "conv_2d_group", "in_hw": 8, "in_c": 8, "out_hw": 6, "out_c": 12, "kernel": 3, "stride": 1, "groups": 4},
    {"op": "fully_connected", "in_c": 64, "out_c": 10},
    {"op": "max_pool_2d", "in_hw": 9, "in_c": 4, "out_hw": 4, "kernel": 3, "stride": 2},
    {"op": "mean", "in_hw": 7, "in_c": 32, "out_hw": 32},
    {"op": "aten::add", "in_hw": 7, "in_c": 32, "framework": "torch"},
    {"op": "aten::hardswish", "in_hw": 7, "in_c": 32, "framework": "torch"},
    {"op": "vulkan_prepack::run_batchnorm_context", "in_hw": 7, "in_c": 32, "framework": "torch"},
    {**CONV, "op": "vulkan_prepack::run_conv2d_context", "padding": 1, "framework": "torch"},
]
NOT_USC = [
    {"op": "concatenation", "in_hw": 7, "in_c": 32, "out_hw": 7, "out_c": 64},
    {"op": "aten::mul", "in_hw": 7, "in_c": 32, "framework": "torch"},
    {**CONV, "groups": 3},
    {**CONV, "kernel": NAN},
    {**CONV, "op": "vulkan_prepack::run_conv2d_context", "padding": 0, "out_hw": 7, "in_hw": 14, "framework": "torch"},
]


GOOD: dict[str, dict[str, object]] = {
    "usc_mobile_gpu_ops": {
        str(column): value for column, value in usc([CONV | {"in_hw": 7, "stride": 1, "padding": 1}]).iloc[0].items()
    },
    "tophub_autotvm_tuned": {
        "file": "f", "device": "mali", "kind": "gpu", "dtype": "float32", "task": "conv2d_nchw_spatial_pack.mali",
        "in_shape": "[1, 8, 14, 14]", "w_shape": "[16, 8, 3, 3]", "stride": 1.0, "pad": 1.0, "dilation": 1.0,
        "lat_us": 5.0, "depthwise": False,
    },
    "hope_ops": {
        "engine": "mnn", "model": "m", "device": "phone", "op_index": 0, "op_name": "x", "op_type": "Convolution",
        "in_shapes": "1,8,4,4", "out_shape": "1,8,4,4", "kh": 3.0, "kw": 3.0, "cpu_big4_us": 10.0, "gpu_us": 20.0,
    },
}  # fmt: skip
"""A row of each table of operators."""
ROW = {"usc_mobile_gpu_ops": "op_index", "tophub_autotvm_tuned": "file", "hope_ops": "op_index"}
"""A column of its key."""


def imported(table: pd.DataFrame, name: str, home: Path) -> Path:
    table.to_parquet(home / f"{name}.parquet")
    import_public(home / f"{name}.parquet", home, time=TIME)
    return home


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return imported(usc(USC + NOT_USC), "usc_mobile_gpu_ops", tmp_path)


def test_every_operator_that_the_columns_describe_becomes_a_kernel_that_runs(home: Path) -> None:
    import onnxruntime as ort

    with records_of(home, "usc_mobile_gpu_ops") as store:
        records = store.kernels(device=device_id("usc_mobile_gpu_ops", "red"), latest=False)
    assert [record.kernel.ops for record in records] == [
        "Conv", "Conv", "Conv", "Gemm", "MaxPool", "GlobalAveragePool", "Add", "HardSwish", "BatchNormalization",
        "Conv",
    ]  # fmt: skip
    assert [record.kernel.family for record in records[:4]] == ["convolution", "depthwise", "convolution", "matmul"]
    paddings = [dict(records[at].kernel.nodes[0].attributes)["pads"] for at in (0, 9)]
    assert paddings == [(0, 0, 1, 1), (1, 1, 1, 1)]  # what the sizes need; what the table says
    assert records[0].kernel.flops == 2 * 16 * 7 * 7 * 8 * 9 + 16 * 7 * 7
    for record in records:
        model = build_kernel(record.kernel, seed=0)
        session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
        feeds = {t.name: np.ones(t.shape or (), dtype=t.dtype) for t in record.kernel.inputs}
        (output,) = session.run(
            None, {one.name: feeds[key] for one, key in zip(session.get_inputs(), feeds, strict=True)}
        )
        assert output.shape == record.kernel.outputs[0].shape


def test_records_are_those_of_a_device_that_is_no_machine_here(home: Path) -> None:
    with records_of(home, "usc_mobile_gpu_ops") as store:
        records = store.kernels(latest=False)
        groups = store.groups()
    assert {record.identity.device for record in records} == {
        device_id("usc_mobile_gpu_ops", "red"), device_id("usc_mobile_gpu_ops", "blue"),
    }  # fmt: skip
    assert {record.identity.protocol for record in records} == {Protocol.PUBLISHED}
    assert {str(record.lane) for record in records} == {"tflite:gpu/f32", "vulkan:gpu/f32"}
    assert {record.result.median_us for record in records if isinstance(record.result, Measurement)} == {10.0, 20.0}
    assert sorted(groups) == ["m0", "m1", "m2"]
    assert not (home / "profiles.db").exists()


def test_the_card_says_what_was_left_out_and_what_is_lost(home: Path) -> None:
    card = read_card(home, "usc_mobile_gpu_ops")["profile_records"]
    assert card["records"] == 20
    assert card["kernels"] == 10
    assert card["devices"][0] == {"device": "blue", "id": device_id("usc_mobile_gpu_ops", "blue"), "records": 10}
    assert sum(card["left_out_rows"].values()) == len(NOT_USC)
    reasons = " ".join(card["left_out_rows"])
    assert "concatenation: operands" in reasons
    assert "groups are missing or do not fit" in reasons
    assert "by its columns the output is (1, 16, 6, 6), the table has (1, 16, 7, 7)" in reasons
    assert any("padding" in text for text in card["lost"])
    assert verify(home, "usc_mobile_gpu_ops") == []


def test_importing_again_replaces_the_records(home: Path) -> None:
    imported(usc([CONV]), "usc_mobile_gpu_ops", home)
    with records_of(home, "usc_mobile_gpu_ops") as store:
        assert store.counts()["profiles"] == 2


def test_damage_is_named(home: Path) -> None:
    path = folder_of(home, "usc_mobile_gpu_ops") / "records.db"
    with records_of(home, "usc_mobile_gpu_ops") as store:
        store.add(store.kernels()[:1])
    assert verify(home, "usc_mobile_gpu_ops") == ["profile records: 21, the card says 20"]
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE profiles SET samples_us = x'0102' WHERE id = 2")
    (text,) = verify(home, "usc_mobile_gpu_ops")
    assert re.search("1 of 21 rows of profiles cannot be read, .* import usc_mobile_gpu_ops again", text)
    path.write_bytes(b"not a data base" * 1000)
    with pytest.raises(StoreError, match="damaged"):
        records_of(home, "usc_mobile_gpu_ops")
    path.unlink()
    with pytest.raises(StoreError, match="import usc_mobile_gpu_ops again"):
        records_of(home, "usc_mobile_gpu_ops")


def test_a_predictor_learns_a_device_of_the_table_and_no_other(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rows = [
        {**CONV, "in_c": int(c), "out_c": int(o), "lat_us_red": float(c * o / 50 + 5), "lat_us_blue": 100.0}
        for c, o in rng.integers(4, 200, (40, 2))
    ]
    home = imported(usc(rows), "usc_mobile_gpu_ops", tmp_path)
    with records_of(home, "usc_mobile_gpu_ops") as store:
        records, groups = store.kernels(latest=False), store.groups()
    with pytest.raises(PredictorError, match="can't be mixed"):
        KernelPredictor().fit(records, groups)
    own = device_id("usc_mobile_gpu_ops", "red")
    device = Device(id=own, name="red", system="", machine="", cores=(0,), memory_bytes=0)
    predictor = KernelPredictor(device=device).fit([r for r in records if r.identity.device == own], groups)
    new = [built(convolution((1, c, 14, 14), (c, c, 3, 3), stride=2, pads=(0, 0, 1, 1))) for c in (50, 100, 150)]
    found = predictor.predict_us(new, Lane.parse("tflite:gpu/f32"))
    assert np.all(np.abs(found / (np.array([50, 100, 150]) ** 2 / 50 + 5) - 1) < 0.4)


def test_hope_gives_lanes_by_cluster_and_threads(tmp_path: Path) -> None:
    def row(op: str, ins: str, out: str, kh: float = NAN, name: str = "x") -> dict[str, object]:
        return {"op_type": op, "in_shapes": ins, "out_shape": out, "kh": kh, "kw": kh, "op_name": name}

    rows = [
        row("Convolution", "1,64,35,35", "1,96,35,35", 3),
        row("ConvolutionDepthwise", "1,96,165,165", "1,96,83,83", 5),
        row("BinaryOp", "1,8,4,4;1,8,4,4", "1,8,4,4", name="cell/add"),
        row("Concat", "1,8,4,4;1,4,4,4", "1,12,4,4"),
        row("MatMul", "1,0,1536,0;1536,0,1001,0", "1,0,1001,0"),
        row("Softmax", "1,0,1001,0", "1,0,1001,0"),
        row("Scale", "1,8,4,4", "1,8,4,4"),
        row("ReLU", "1,8,4,4", "1,8,4,4"),
        row("BinaryOp", "1,8,4,4;1,8,4,4", "1,8,4,4", name="fusefeats"),
        row("Pooling", "1,8,4,4", "1,8,2,2"),
        row("Convolution", "", ""),
        row("Convolution", "1,64,35,35", "1,96,40,40", 3),
    ]
    table = pd.DataFrame(rows).assign(
        engine="mnn",
        model="m",
        device="phone",
        op_index=range(len(rows)),
        cpu_big4_us=10.0,
        cpu_big1_us=30.0,
        gpu_us=20.0,
    )
    home = imported(table, "hope_ops", tmp_path)
    with records_of(home, "hope_ops") as store:
        records = store.kernels(latest=False)
    lanes = {"mnn:cpu/f32/t4/cores=big", "mnn:cpu/f32/t1/cores=big", "mnn:gpu/f32"}
    assert {str(record.lane) for record in records} == lanes
    assert [record.kernel.ops for record in records if record.lane.processor == "mnn:gpu"] == [
        "Conv", "Conv", "Add", "Concat", "MatMul", "Softmax", "BatchNormalization", "Relu",
    ]  # fmt: skip
    left = read_card(home, "hope_ops")["profile_records"]["left_out_rows"]
    assert sum(left.values()) == 4
    assert any("as wide as the window" in reason for reason in left)
    assert "no shapes" in left


def test_tuned_operators_keep_precision_and_algorithm(tmp_path: Path) -> None:
    base = GOOD["tophub_autotvm_tuned"]
    rows = [
        base,
        base | {"task": "conv2d_nchw_winograd.mali"},
        base | {"task": "depthwise_conv2d_nchw.mali", "w_shape": "[8, 2, 3, 3]", "dtype": "float16", "depthwise": True},
        base | {"task": "dense.mali", "in_shape": "[1, 64]", "w_shape": "[10, 64]"},
        base | {"dtype": "int8"},
        base | {"task": "batch_matmul.mali", "in_shape": "[1, 4, 5]", "w_shape": "[1, 4, 5]", "stride": NAN},
        base | {"in_shape": "[1, 9, 14, 14]"},
    ]
    home = imported(pd.DataFrame(rows), "tophub_autotvm_tuned", tmp_path)
    with records_of(home, "tophub_autotvm_tuned") as store:
        records = store.kernels(latest=False)
    assert [str(record.lane) for record in records] == [
        "tvm:gpu/f32", "tvm:gpu/f32/algorithm=winograd", "tvm:gpu/f16", "tvm:gpu/f32",
    ]  # fmt: skip
    assert [record.kernel.family for record in records] == ["convolution", "convolution", "depthwise", "matmul"]
    assert records[2].kernel.inputs[0].dtype == "float16"
    assert records[2].kernel.outputs[0].shape == (1, 16, 14, 14)
    left = read_card(home, "tophub_autotvm_tuned")["profile_records"]["left_out_rows"]
    assert left["int8: no precision of a lane"] == 1
    assert any("shapes do not fit together" in reason for reason in left)


@pytest.mark.parametrize(
    ("name", "wrong", "column", "says"),
    [
        ("usc_mobile_gpu_ops", {"padding": "same"}, "padding", "'same': no number"),
        ("usc_mobile_gpu_ops", {"padding": "-1"}, "padding", "-1: a padding is a whole number from 0"),
        ("usc_mobile_gpu_ops", {"stride": "two"}, "stride", "'two': no number"),
        ("tophub_autotvm_tuned", {"pad": "valid"}, "pad", "'valid': no number"),
        ("tophub_autotvm_tuned", {"pad": "inf"}, "pad", "inf: a padding is"),
        ("tophub_autotvm_tuned", {"stride": "inf"}, "stride", "inf: larger than any size"),
        ("tophub_autotvm_tuned", {"dilation": "none?"}, "dilation", "'none?': no number"),
        ("hope_ops", {"kw": "x"}, "kw", "'x': no number"),
        ("hope_ops", {"in_shapes": "1,6x,4,4"}, "in_shapes", "'1,6x,4,4': no shapes such as"),
        ("usc_mobile_gpu_ops", {"in_c": "1e30"}, "in_c", "larger than any size"),
    ],
)
def test_a_row_whose_operator_cannot_be_read_is_refused_with_its_place(
    name: str, wrong: dict[str, str], column: str, says: str, tmp_path: Path
) -> None:
    good = GOOD[name]
    table = pd.DataFrame([good, good | wrong, good]).assign(**{ROW[name]: [0, 1, 2]})
    table.astype(dict.fromkeys(wrong, str)).to_csv(tmp_path / f"{name}.csv", index=False)
    report = import_public(tmp_path / f"{name}.csv", tmp_path, time=TIME)
    (refused,) = report.refused
    assert (refused.row, refused.column) == (1, column)
    assert says in refused.reason
    card = read_card(tmp_path, name)
    assert card["refused_cells"] == [{"row": 1, "column": column, "reason": refused.reason}]
    with records_of(tmp_path, name) as store:
        assert store.counts()["profiles"] == 2 * card["latencies"] // 3
    assert verify(tmp_path, name) == []


@pytest.mark.parametrize(
    ("name", "column"),
    [("hope_ops", "kh"), ("hope_ops", "in_shapes"), ("tophub_autotvm_tuned", "pad"), ("tophub_autotvm_tuned", "stride"),
     ("tophub_autotvm_tuned", "dilation")],
)  # fmt: skip
def test_columns_that_make_operators_are_demanded(name: str, column: str, tmp_path: Path) -> None:
    pd.DataFrame([GOOD[name]]).drop(columns=column).to_parquet(tmp_path / f"{name}.parquet")
    with pytest.raises(InputError, match=f"{name} lacks the columns {column}"):
        import_public(tmp_path / f"{name}.parquet", tmp_path)


def test_whole_models_are_a_table_and_no_records(tmp_path: Path) -> None:
    table = pd.DataFrame({"arch_index": [0, 1], "arch_str": ["x", "y"], "help_ms_titan_1": [1.5, 2.0], "e01": [1, 2]})
    home = imported(table, "nb201_latency", tmp_path)
    found = model_table(home, "nb201_latency")
    assert found[["row", "model", "device", "latency_us"]].to_numpy().tolist() == [
        [0, "x", "titan_1", 1500],
        [1, "y", "titan_1", 2000],
    ]
    with pytest.raises(InputError, match="no profile records but latencies of models: they cannot become"):
        records_of(home, "nb201_latency")
    with pytest.raises(InputError, match="holds operators"):
        model_table(imported(usc([CONV]), "usc_mobile_gpu_ops", home), "usc_mobile_gpu_ops")


TOLD_APART: dict[str, tuple[dict[str, Any], list[str]]] = {
    "hat_transformer_latency": (
        {
            "task": "wmt", "device": "pi", "encoder_embed_dim": [512, 512, 640], "encoder_ffn_embed_dim_avg": 1877.25,
            "decoder_layer_num": [1, 2, 2], "enc_ms_mean": 9.0, "dec_ms_mean": [70.0, 80.0, 90.0],
        },
        ["wmt 512 1877.25 1", "wmt 512 1877.25 2", "wmt 640 1877.25 2"],
    ),
    "usc_mobile_e2e": (
        {
            "framework": ["tflite", "torch", "tflite"], "model": "a", "device": "red", "processor": "cpu",
            "cores": ["1large", "1large", "2large"], "precision": "float", "lat_us_mean": [1e4, 2e4, 3e4],
        },
        ["a", "a", "a"],
    ),
    "qaihub_npu_latency": (
        {
            "model": "a", "component": ["encoder", "decoder", None], "precision": "int8", "device": "s24",
            "runtime": "onnx", "latency_ms": [5.0, 6.0, 7.0], "primary_compute_unit": "NPU",
        },
        ["a encoder", "a decoder", "a"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", TOLD_APART)
def test_rows_of_whole_models_are_told_apart_and_found_again(name: str, tmp_path: Path) -> None:
    columns, models = TOLD_APART[name]
    found = model_table(imported(pd.DataFrame(columns), name, tmp_path), name)
    assert found["row"].tolist() == [0, 1, 2]
    assert found["model"].tolist() == models
    assert not found.duplicated(["model", "device", "processor", "setting", "precision"]).any()
    assert read_card(tmp_path, name)["models"] == len(set(models))


def test_padding_is_what_the_sizes_need() -> None:
    assert same_pads(14, 7, window=3, stride=2) == (0, 1)
    assert same_pads(14, 14, window=5, stride=1) == (2, 2)
    assert same_pads(8, 6, window=3, stride=1) == (0, 0)


def test_equal_operators_are_one_kernel_object() -> None:
    assert built(dense(1, 8, 4)) is built(dense(1, 8, 4))
    with pytest.raises(ValueError, match="do not fit together"):
        built(simple("Add", (1, 3, 4, 4), (1, 5, 4, 4)))
