"""Loading: what is refused, what is fixed, what is found out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from autotune.core import TensorSpec
from autotune.errors import ModelError, ModelFileError, UnresolvedDimensionError, UnsupportedModelError, UsageError
from autotune.graph import embedding_limits, extract, load, random_inputs
from autotune.graph.prepare import WEIGHTS_FILE

from .conftest import Net, session


def save(path: Path, nodes: list[onnx.NodeProto], inputs: list[onnx.ValueInfoProto], outputs: list[onnx.ValueInfoProto],
         weights: list[onnx.TensorProto] | None = None) -> Path:  # fmt: skip
    graph = helper.make_graph(nodes, "g", inputs, outputs, weights or [])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), str(path))
    return path


def value(name: str, shape: list[int | str | None] | None, kind: int = TensorProto.FLOAT) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, shape)


def test_a_file_that_is_not_there_or_not_onnx_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match="nowhere"):
        load(tmp_path / "nowhere.onnx")
    (tmp_path / "text.onnx").write_text("hello, this is no model at all\n" * 10)
    with pytest.raises(ModelFileError, match="text"):
        load(tmp_path / "text.onnx")
    (tmp_path / "empty.onnx").write_bytes(b"")
    with pytest.raises(ModelFileError, match="empty"):
        load(tmp_path / "empty.onnx")


def test_a_truncated_file_is_refused(tmp_path: Path) -> None:
    net = Net()
    path = net.save(tmp_path / "net.onnx", [net.conv("x")])
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(ModelFileError, match="net"):
        load(path)


def external(folder: Path, location: str = "net.data") -> Path:
    net = Net()
    path = net.save(folder / "net.onnx", [net.conv("x")])
    model = onnx.load(str(path))
    onnx.save_model(model, str(path), save_as_external_data=True, location=location, size_threshold=0)
    return path


def test_external_data_beside_the_model_are_read(tmp_path: Path) -> None:
    path = external(tmp_path)
    graph = load(path)
    feeds = random_inputs(graph.inputs, seed=0)
    np.testing.assert_array_equal(session(path).run(None, feeds)[0], session(graph.path).run(None, feeds)[0])


@pytest.mark.parametrize("location", ["weights.bin", "model.onnx"])
def test_external_data_may_be_named_like_the_prepared_files(tmp_path: Path, location: str) -> None:
    path = external(tmp_path, location)
    theirs = (tmp_path / location).read_bytes()
    graph = load(path, work=tmp_path / "work")
    feeds = random_inputs(graph.inputs, seed=0)
    expected = session(path).run(None, feeds)[0]
    for prepared in (graph.source, graph.path):
        np.testing.assert_array_equal(session(prepared).run(None, feeds)[0], expected)
    assert (graph.source.parent / location).read_bytes() == theirs


@pytest.mark.parametrize("location", ["../net.data", "../inside/../net.data", "/etc/hostname"])
def test_external_data_outside_the_folder_are_refused(tmp_path: Path, location: str) -> None:
    (tmp_path / "inside").mkdir()
    path = external(tmp_path / "inside")
    (tmp_path / "inside" / "net.data").rename(tmp_path / "net.data")
    model = onnx.load(str(path), load_external_data=False)
    for entry in model.graph.initializer[0].external_data:
        if entry.key == "location":
            entry.value = location
    path.write_bytes(model.SerializeToString())
    with pytest.raises(ModelFileError, match="outside"):
        load(path)


def test_external_data_that_lead_out_and_in_again_are_refused_before_anything_is_copied(tmp_path: Path) -> None:
    (tmp_path / "models" / "net").mkdir(parents=True)
    path = external(tmp_path / "models" / "net")
    model = onnx.load(str(path), load_external_data=False)
    for entry in (entry for tensor in model.graph.initializer for entry in tensor.external_data):
        if entry.key == "location":
            entry.value = "../../models/net/net.data"
    path.write_bytes(model.SerializeToString())
    before = set(tmp_path.rglob("*"))
    with pytest.raises(ModelFileError, match=r"outside.*without '\.\.'"):
        load(path, work=tmp_path / "work" / "place")
    assert set(tmp_path.rglob("*")) == before


def test_external_data_that_are_a_link_to_elsewhere_are_refused(tmp_path: Path) -> None:
    (tmp_path / "inside").mkdir()
    path = external(tmp_path / "inside")
    (tmp_path / "inside" / "net.data").rename(tmp_path / "blob")
    (tmp_path / "inside" / "net.data").symlink_to(tmp_path / "blob")
    with pytest.raises(ModelFileError, match=r"link to .*blob, outside.*cp -rL"):
        load(path)


def test_missing_or_truncated_external_data_are_refused(tmp_path: Path) -> None:
    path = external(tmp_path)
    data = tmp_path / "net.data"
    data.write_bytes(data.read_bytes()[:16])
    with pytest.raises(ModelFileError, match="truncated"):
        load(path)
    data.unlink()
    with pytest.raises(ModelFileError, match=r"net\.data.*missing"):
        load(path)


def test_the_batch_becomes_one_and_other_dimensions_are_asked_for(tmp_path: Path) -> None:
    path = save(
        tmp_path / "m.onnx",
        [helper.make_node("Relu", ["x"], ["y"])],
        [value("x", ["batch", 3, "height", "width"])],
        [value("y", ["batch", 3, "height", "width"])],
    )
    with pytest.raises(UnresolvedDimensionError, match=r"m\.onnx.*--dim height=VALUE --dim width=VALUE") as caught:
        load(path)
    assert caught.value.flags == (("--dim", "height=VALUE"), ("--dim", "width=VALUE"))
    assert load(path, dims={"height": 5, "width": 7}).inputs[0].shape == (1, 3, 5, 7)
    graph = load(path, shapes={"x": (2, 3, 5, 7)})
    assert graph.inputs[0].shape == graph.outputs[0].shape == (2, 3, 5, 7)


def test_an_unnamed_dimension_is_asked_for_as_a_shape(tmp_path: Path) -> None:
    node = helper.make_node("Relu", ["x"], ["y"])
    path = save(tmp_path / "m.onnx", [node], [value("x", [1, None])], [value("y", [1, None])])
    with pytest.raises(UnresolvedDimensionError, match=r"--shape x=1,VALUE"):
        load(path)


def test_an_input_of_unknown_rank_is_asked_for_as_a_shape(tmp_path: Path) -> None:
    node = helper.make_node("Relu", ["x"], ["y"])
    path = save(tmp_path / "m.onnx", [node], [value("x", None)], [value("y", None)])
    with pytest.raises(UnresolvedDimensionError, match=r"x\[\.\.\.\].*--shape x=VALUE,VALUE"):
        load(path)
    assert load(path, shapes={"x": (2, 3)}).outputs[0].shape == (2, 3)


def test_an_output_without_a_shape_is_found_out(tmp_path: Path) -> None:
    node = helper.make_node("Relu", ["x"], ["y"])
    assert load(save(tmp_path / "m.onnx", [node], [value("x", [1, 4])], [value("y", None)])).outputs[0].shape == (1, 4)


@pytest.mark.parametrize(
    ("shapes", "dims", "text"),
    [
        ({"z": (1,)}, {}, "'z'"),
        ({"x": (1, 3)}, {}, "2 dimensions"),
        ({"x": (1, 4, 5, 7)}, {}, "contradicts"),
        ({}, {"depth": 3}, "'depth'"),
    ],
)
def test_shapes_that_cannot_be_are_refused(
    tmp_path: Path, shapes: dict[str, tuple[int, ...]], dims: dict[str, int], text: str
) -> None:
    node = helper.make_node("Relu", ["x"], ["y"])
    path = save(tmp_path / "m.onnx", [node], [value("x", [1, 3, "h", "w"])], [value("y", [1, 3, "h", "w"])])
    with pytest.raises(UsageError, match=text):
        load(path, shapes=shapes, dims=dims)


def test_an_operator_that_nobody_has_is_named(tmp_path: Path) -> None:
    node = helper.make_node("Frobnicate", ["x"], ["y"], domain="nobody")
    graph = helper.make_graph([node], "g", [value("x", [1])], [value("y", [1])])
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("nobody", 1)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=9), str(tmp_path / "m.onnx"))
    with pytest.raises(UnsupportedModelError, match=r"m\.onnx: .*Frobnicate") as caught:
        load(tmp_path / "m.onnx")
    assert "source.onnx" not in str(caught.value)


def test_what_the_checker_says_of_a_model_that_cannot_run_is_said(tmp_path: Path) -> None:
    path = save(
        tmp_path / "m.onnx", [helper.make_node("Relu", ["nothing"], ["y"])], [value("x", [1])], [value("y", [1])]
    )
    with pytest.raises(ModelFileError, match=r"m\.onnx is not a valid ONNX model"):
        load(path)


def test_only_plain_tensors_go_in_and_out(tmp_path: Path) -> None:
    sequence = helper.make_tensor_sequence_value_info("s", TensorProto.FLOAT, [1, 4])
    out = save(
        tmp_path / "out.onnx", [helper.make_node("SequenceConstruct", ["x"], ["s"])], [value("x", [1, 4])], [sequence]
    )
    with pytest.raises(UnsupportedModelError, match="output 's' is a sequence"):
        load(out)
    at = numpy_helper.from_array(np.int64(0), "at")
    into = save(
        tmp_path / "in.onnx",
        [helper.make_node("SequenceAt", ["s", "at"], ["y"])],
        [sequence],
        [value("y", [1, 4])],
        [at],
    )
    with pytest.raises(UnsupportedModelError, match="input 's' is a sequence"):
        load(into)
    none = save(
        tmp_path / "none.onnx", [helper.make_node("RandomNormal", [], ["y"], shape=[1, 4])], [], [value("y", [1, 4])]
    )
    with pytest.raises(UnsupportedModelError, match="no inputs"):
        load(none)


def test_control_flow_with_captured_tensors_stays_in_one_stage_and_can_be_cut_around(tmp_path: Path) -> None:
    bodies = [
        helper.make_graph([helper.make_node(kind, ["outer"], ["r"])], kind, [], [value("r", [1, 4])])
        for kind in ("Neg", "Softmax")
    ]
    nodes = [
        helper.make_node("Softmax", ["x"], ["outer"]),
        helper.make_node("ReduceSum", ["x"], ["total"], keepdims=0),
        helper.make_node("Less", ["total", "zero"], ["cond"]),
        helper.make_node("If", ["cond"], ["chosen"], then_branch=bodies[0], else_branch=bodies[1]),
        helper.make_node("Exp", ["chosen"], ["y"]),
    ]
    zero = numpy_helper.from_array(np.float32(0), "zero")
    path = save(tmp_path / "m.onnx", nodes, [value("x", [1, 4])], [value("y", [1, 4])], [zero])
    graph = load(path)
    (flow,) = [use for use in graph.kernels if any(node.op_type == "If" for node in use.kernel.nodes)]
    assert not flow.kernel.buildable
    feeds = random_inputs(graph.inputs, seed=0)
    tensors = dict(feeds)
    for file in extract(graph, [(at, at + 1) for at in range(len(graph.kernels))], tmp_path / "stages"):
        stage = session(file.path)
        names = [item.name for item in stage.get_outputs()]
        got = stage.run(names, {item.name: tensors[item.name] for item in stage.get_inputs()})
        tensors |= dict(zip(names, got, strict=True))
    np.testing.assert_array_equal(tensors["y"], session(path).run(None, feeds)[0])


@pytest.mark.parametrize("nested", [True, False])
def test_stages_share_their_weights_unless_a_body_has_some(tmp_path: Path, nested: bool) -> None:
    """ONNX Runtime 1.32 refuses a file with several hard links for the weights of an If's or a Loop's body."""
    heavy = numpy_helper.from_array(np.full((64, 64), 0.5, np.float32), "heavy")
    product = helper.make_node("MatMul", ["x", "heavy"], ["r"])
    if nested:
        same = helper.make_graph([helper.make_node("Neg", ["x"], ["r"])], "same", [], [value("r", [1, 64])])
        body = helper.make_graph([product], "body", [], [value("r", [1, 64])], [heavy])
        nodes = [
            helper.make_node("ReduceSum", ["x"], ["total"], keepdims=0),
            helper.make_node("Less", ["total", "zero"], ["cond"]),
            helper.make_node("If", ["cond"], ["chosen"], then_branch=same, else_branch=body),
            helper.make_node("Exp", ["chosen"], ["y"]),
        ]
        weights = [numpy_helper.from_array(np.float32(0), "zero")]
    else:
        nodes, weights = [product, helper.make_node("Exp", ["r"], ["y"])], [heavy]
    path = save(tmp_path / "m.onnx", nodes, [value("x", [1, 64])], [value("y", [1, 64])], weights)
    graph = load(path)
    (file,) = extract(graph, [(0, len(graph.kernels))], tmp_path / "stages")
    stored = tmp_path / "stages" / WEIGHTS_FILE
    assert stored.stat().st_size >= heavy.ByteSize() // 2
    assert (stored.stat().st_nlink == 1) == nested
    for sign in (1, -1):  # either branch
        feeds = {"x": np.full((1, 64), sign * 0.01, np.float32)}
        np.testing.assert_array_equal(session(file.path).run(None, feeds)[0], session(path).run(None, feeds)[0])


def test_shapes_that_depend_on_data_are_unknown_but_load(tmp_path: Path) -> None:
    nodes = [helper.make_node("NonZero", ["x"], ["at"]), helper.make_node("Cast", ["at"], ["y"], to=TensorProto.FLOAT)]
    graph = load(save(tmp_path / "m.onnx", nodes, [value("x", [3, 4])], [value("y", [2, "count"])]))
    assert graph.outputs[0].shape == (2, -1)
    assert any(not use.kernel.buildable for use in graph.kernels)


def test_a_file_that_lists_its_constants_as_inputs_runs_though_equal_ones_are_joined(tmp_path: Path) -> None:
    nodes = [
        helper.make_node(
            "ConstantOfShape", [name], [f"{name}_full"], value=numpy_helper.from_array(np.full(1, 2.0, np.float32))
        )
        for name in ("first", "second", "third")
    ]
    nodes.append(helper.make_node("Sum", ["x", "first_full", "second_full", "third_full"], ["y"]))
    sizes = [numpy_helper.from_array(np.full(1, 3, np.int64), name) for name in ("first", "second", "third")]
    listed = [value("x", [2, 3]), *(value(size.name, [1], TensorProto.INT64) for size in sizes)]
    graph = helper.make_graph(nodes, "g", listed, [value("y", [2, 3])], sizes)
    opsets = [helper.make_opsetid("", 9)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=3), str(tmp_path / "old.onnx"))
    loaded = load(tmp_path / "old.onnx")
    assert [tensor.name for tensor in loaded.inputs] == ["x"]
    (found,) = session(loaded.path).run(None, {"x": np.zeros((2, 3), np.float32)})
    assert np.array_equal(found, np.full((2, 3), 6.0, np.float32))


def test_strings_load(tmp_path: Path) -> None:
    node = helper.make_node("Identity", ["x"], ["y"])
    kind = TensorProto.STRING
    graph = load(save(tmp_path / "m.onnx", [node], [value("x", [2], kind)], [value("y", [2], kind)]))
    feeds = random_inputs(graph.inputs, seed=0)
    assert list(session(graph.path).run(None, feeds)[0]) == list(feeds["x"])


def test_indices_of_an_embedding_stay_in_range(tmp_path: Path) -> None:
    table = numpy_helper.from_array(np.zeros((7, 4), np.float32), "table")
    nodes = [
        helper.make_node("Cast", ["ids"], ["wide"], to=TensorProto.INT64),
        helper.make_node("Gather", ["table", "wide"], ["y"]),
    ]
    inputs = [value("ids", [1, 50], TensorProto.INT32)]
    graph = load(save(tmp_path / "m.onnx", nodes, inputs, [value("y", [1, 50, 4])], [table]))
    assert embedding_limits(graph) == {"ids": 7}
    ids = random_inputs(graph.inputs, seed=0, high=embedding_limits(graph))["ids"]
    assert ids.dtype == np.int32
    assert ids.max() == 6


def test_indices_into_what_is_computed_stay_in_range(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Relu", ["x"], ["table"]),
        helper.make_node("Gather", ["table", "at"], ["y"], axis=1),
        helper.make_node("GatherND", ["x", "pairs"], ["z"]),
    ]
    inputs = [value("x", [3, 1, 4]), value("at", [5], TensorProto.INT64), value("pairs", [6, 2], TensorProto.INT64)]
    graph = load(save(tmp_path / "m.onnx", nodes, inputs, [value("y", None), value("z", None)]))
    assert embedding_limits(graph) == {"at": 1, "pairs": 1}


@pytest.mark.parametrize(
    "dtype", ["float32", "float64", "float16", "bfloat16", "int8", "uint8", "int16", "int32", "int64", "uint64", "bool"]
)
def test_random_inputs_have_the_type_asked_for(dtype: str) -> None:
    (array,) = random_inputs([TensorSpec(name="x", dtype=dtype, shape=(2, 3))], seed=0).values()
    assert array.dtype.name == dtype
    assert array.shape == (2, 3)
    (scalar,) = random_inputs([TensorSpec(name="x", dtype=dtype, shape=())], seed=0).values()
    assert isinstance(scalar, np.ndarray)


def test_the_hash_is_of_structure_and_weights(tmp_path: Path) -> None:
    hashes: list[str] = []
    for seed in (0, 0, 1):
        net = Net(seed=seed)
        folder = tmp_path / f"{len(hashes)}"
        folder.mkdir()
        x = net.op("Conv", "x", net.weight(4, 4, 9, 9), pads=[4, 4, 4, 4])
        hashes.append(load(net.save(folder / f"n{len(hashes)}.onnx", [x])).sha256)
    assert hashes[0] == hashes[1] != hashes[2]


def test_large_weights_are_not_in_the_model_file(tmp_path: Path) -> None:
    net = Net()
    x = net.op("Conv", "x", net.weight(4, 4, 31, 31), pads=[15, 15, 15, 15])
    graph = load(net.save(tmp_path / "net.onnx", [x]))
    assert graph.path.stat().st_size < 4 * 4 * 31 * 31


def test_parts_of_an_output_that_a_concat_joins(tmp_path: Path) -> None:
    nodes = [helper.make_node("Relu", ["a"], ["ra"]), helper.make_node("Concat", ["ra", "b"], ["y"], axis=1)]
    inputs = [value("a", [1, 4, 5]), value("b", [1, 2, 5])]
    graph = load(save(tmp_path / "m.onnx", nodes, inputs, [value("y", [1, 6, 5])]))
    assert [(part.name, part.axis, part.start, part.stop) for part in graph.output_parts] == [
        ("y[0:4]", 1, 0, 4),
        ("y[4:6]", 1, 4, 6),
    ]


def test_a_batch_gives_every_samples_outputs(tmp_path: Path) -> None:
    net = Net()
    graph = load(net.save(tmp_path / "net.onnx", [net.op("Relu", net.conv("x"))], batch="batch"))
    batch = graph.batched(3)
    assert batch.inputs[0].shape == (3, 4, 6, 6)
    assert batch.outputs[0].shape == (3, 4, 6, 6)


def test_a_batch_that_the_model_does_not_follow_is_refused(tmp_path: Path) -> None:
    shape = numpy_helper.from_array(np.array([1, -1], np.int64), "shape")
    node = helper.make_node("Reshape", ["x", "shape"], ["y"])
    graph = load(save(tmp_path / "m.onnx", [node], [value("x", [1, 4, 6])], [value("y", [1, 24])], [shape]))
    with pytest.raises(ModelError, match="batch"):
        graph.batched(2)


def test_a_batch_may_be_quantised_with_scales_that_are_fixed(tmp_path: Path) -> None:
    net = Net()
    scale = numpy_helper.from_array(np.float32(0.02), "scale")
    zero = numpy_helper.from_array(np.uint8(128), "zero")
    small = net.op("QuantizeLinear", net.conv("x"), "scale", "zero")
    net.weights += [scale, zero]
    graph = load(net.save(tmp_path / "net.onnx", [net.op("DequantizeLinear", small, "scale", "zero")], batch="batch"))
    assert graph.batched(4).outputs[0].shape == (4, 4, 6, 6)


def less_the_mean(net: Net) -> str:
    return net.op("Sub", "x", net.op("ReduceMean", "x", axes=[0]))


def above_the_mean(net: Net) -> str:
    return net.op("Cast", net.op("Greater", "x", net.op("ReduceMean", "x", axes=[0])), to=TensorProto.FLOAT)


def added_up(net: Net) -> str:
    """The first sample of a batch is what it is alone."""
    net.weights.append(numpy_helper.from_array(np.int64(0), "axis"))
    return net.op("CumSum", "x", "axis")


def with_one_scale(net: Net) -> str:
    names = ["small", "scale", "zero"]
    net.nodes.append(helper.make_node("DynamicQuantizeLinear", ["x"], names))
    return net.op("DequantizeLinear", *names)


def small_numbers(net: Net) -> str:
    """Differences that are large beside outputs of 1e-4."""
    net.weights.append(numpy_helper.from_array(np.float32(1e-4), "factor"))
    return net.op("Mul", less_the_mean(net), "factor")


@pytest.mark.parametrize("mixed", [less_the_mean, above_the_mean, added_up, with_one_scale, small_numbers])
def test_a_batch_whose_samples_depend_on_each_other_is_refused(tmp_path: Path, mixed: Callable[[Net], str]) -> None:
    net = Net()
    graph = load(net.save(tmp_path / "net.onnx", [net.op("Relu", net.conv("x")), mixed(net)], batch="batch"))
    with pytest.raises(ModelError, match="mixes samples"):
        graph.batched(4)


def test_numbers_without_a_fraction_show_that_samples_depend_on_each_other_too(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("ReduceMean", ["x"], ["mean"], axes=[0]),
        helper.make_node("Less", ["mean", "x"], ["above"]),
        helper.make_node("Cast", ["above"], ["y"], to=TensorProto.INT64),
    ]
    ends = [value("x", [1, 4, 6])], [value("y", [1, 4, 6], TensorProto.INT64)]
    graph = load(save(tmp_path / "m.onnx", nodes, *ends))
    with pytest.raises(ModelError, match="mixes samples"):
        graph.batched(2)


def test_what_only_the_checker_minds_loads(tmp_path: Path) -> None:
    """Some exporters name no graph and give outputs no shape; ONNX Runtime runs them."""
    node = helper.make_node("Relu", ["x"], ["y"])
    path = save(tmp_path / "lax.onnx", [node], [value("x", [1, 3])], [value("y", None)])
    model = onnx.load(str(path))
    model.graph.name = ""
    path.write_bytes(model.SerializeToString())
    (output,) = load(path).outputs
    assert output.shape == (1, 3)


def test_what_neither_takes_is_refused_by_the_files_own_name(tmp_path: Path) -> None:
    node = helper.make_node("Relu", ["nothing"], ["y"])
    path = save(tmp_path / "loose.onnx", [node], [value("x", [1, 3])], [value("y", [1, 3])])
    with pytest.raises(ModelFileError, match=r"loose\.onnx is not a valid ONNX model"):
        load(path)
