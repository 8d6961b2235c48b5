"""The zoo: published sizes, healthy outputs, real inputs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import onnxruntime as ort
import pytest

from autotune import models
from autotune.core import TensorSpec
from autotune.errors import InputError, UnknownNameError, UsageError
from autotune.graph import Graph, load

COMPUTE = {"Conv", "ConvTranspose", "Gemm", "MatMul"}
SMALL: dict[str, dict[str, int]] = {
    "yolo": {"size": 64}, "mobilenet_v2": {"size": 64}, "resnet50": {"size": 64}, "squeezenet": {"size": 64},
    "inception_v3": {"size": 96}, "unet": {"size": 32}, "bert_mini": {"sequence": 16}, "vgg16": {"size": 32},
}  # fmt: skip
FULL = [pytest.param(name, marks=pytest.mark.slow if name in ("vgg16", "unet") else ()) for name in models.names()]
QUICK = [name for name in models.names() if name != "vgg16"]


def parameters(model: onnx.ModelProto) -> int:
    """Trained parameters: floats that are no running statistics, no tables of positions or bins."""
    statistics = {n for node in model.graph.node if node.op_type == "BatchNormalization" for n in node.input[3:5]}
    return sum(
        int(np.prod(tensor.dims))
        for tensor in model.graph.initializer
        if tensor.data_type == onnx.TensorProto.FLOAT and tensor.name not in statistics and len(tensor.dims)
    )


def compute_flops(graph: Graph) -> int:
    """FLOPs of convolutions and matrix products without bias, as published counts have them."""
    return sum(operator.flops for operator in graph.operators if operator.op_type in COMPUTE)


@pytest.mark.parametrize("name", FULL)
def test_parameters_and_flops_are_the_published_ones(name: str, tmp_path: Path) -> None:
    zoo = models.get(name)
    model = models.build(name)
    assert parameters(model) == pytest.approx(zoo.parameters, rel=0.02)
    path = tmp_path / "model.onnx"
    onnx.save(model, str(path))
    assert compute_flops(load(path)) == pytest.approx(zoo.flops, rel=0.02)


def outputs_of(name: str, **sizes: int) -> list[list[np.ndarray[Any, Any]]]:
    model = models.build(name, **sizes)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    specs = [
        models_spec(item.name, item.type, [1 if isinstance(d, str) else d for d in item.shape])
        for item in session.get_inputs()
    ]
    samples = models.sample_inputs(name, specs, count=2)
    return [session.run(None, sample) for sample in samples]


def models_spec(name: str, kind: str, shape: list[int]) -> Any:
    return TensorSpec(name=name, dtype="int64" if "int64" in kind else "float32", shape=tuple(shape))


@pytest.mark.parametrize("name", QUICK)
def test_outputs_are_healthy_and_depend_on_the_input(name: str) -> None:
    first, second = outputs_of(name, **SMALL[name])
    for left, right in zip(first, second, strict=True):
        assert np.isfinite(left).all()
        assert left.std() > 1e-4
        assert float(np.sqrt(np.mean((left - right) ** 2))) > 1e-3 * float(np.sqrt(np.mean(left**2)))


def test_the_same_name_and_seed_give_the_same_model() -> None:
    first, again = (models.build("squeezenet", size=64).SerializeToString() for _ in range(2))
    assert first == again
    assert models.build("squeezenet", size=64, seed=1).SerializeToString() != first


def test_yolo_gives_boxes_beside_scores() -> None:
    (output,) = outputs_of("yolo", size=64)[0]
    assert output.shape == (1, 84, 64 + 16 + 4)
    assert ((output[:, 4:] > 0) & (output[:, 4:] < 1)).all()


@pytest.mark.parametrize("name", QUICK)
def test_a_shape_says_the_size_that_is_built(name: str, tmp_path: Path) -> None:
    zoo = models.get(name)
    for size in zoo.sizes[:2]:
        shapes = {"images": (2, 3, size, size)} if zoo.kind == "vision" else {"input_ids": (2, size)}
        models.save(name, tmp_path / f"{name}.onnx", **zoo.sizes_of(shapes))
        assert load(tmp_path / f"{name}.onnx", shapes=shapes).inputs[0].shape == next(iter(shapes.values()))
    assert zoo.sizes_of({}) == {}


@pytest.mark.parametrize(
    ("name", "shape", "text"),
    [
        ("yolo", (1, 3, 330, 330), "32, 64, … 2048, not for 330"),
        ("yolo", (1, 3, 320, 640), "square"),
        ("bert_mini", (1, 513), "512, not for 513"),
    ],
)
def test_a_size_that_cannot_be_built_is_refused(name: str, shape: tuple[int, ...], text: str) -> None:
    with pytest.raises(UsageError, match=text):
        models.get(name).sizes_of({"x": shape})


def test_an_unknown_name_lists_the_zoo() -> None:
    with pytest.raises(UnknownNameError, match=r"yolo.*bert_mini"):
        models.get("yolo9000")


SPECS = [models_spec("images", "float", [1, 3, 4, 4])]


def test_npz_files_hold_one_sample_or_several(tmp_path: Path) -> None:
    np.savez(tmp_path / "one.npz", images=np.zeros((1, 3, 4, 4), np.float32))
    np.savez(tmp_path / "many.npz", images=np.zeros((5, 1, 3, 4, 4), np.float32))
    assert len(models.load_inputs([tmp_path / "one.npz"], SPECS)) == 1
    found = models.load_inputs([tmp_path / "many.npz", tmp_path / "one.npz"], SPECS)
    assert [sample["images"].shape for sample in found] == [(1, 3, 4, 4)] * 6


def test_onnx_test_data_folders_are_read(tmp_path: Path) -> None:
    for at in range(2):
        folder = tmp_path / f"test_data_set_{at}"
        folder.mkdir()
        tensor = onnx.numpy_helper.from_array(np.full((1, 3, 4, 4), at, np.float32), "images")
        (folder / "input_0.pb").write_bytes(tensor.SerializeToString())
    assert [s["images"].max() for s in models.load_inputs([tmp_path], SPECS)] == [0, 1]
    assert len(models.load_inputs([tmp_path / "test_data_set_0"], SPECS)) == 1


@pytest.mark.parametrize("as_stored", ["ml_dtypes", "float32"])
def test_types_that_numpy_lacks_are_read(tmp_path: Path, as_stored: str) -> None:
    spec = TensorSpec(name="x", dtype="bfloat16", shape=(1, 3))
    values = np.array([[1, -2, 0.5]], np.float32)
    np.savez(tmp_path / "x.npz", x=values.astype(ml_dtypes.bfloat16) if as_stored == "ml_dtypes" else values)
    (sample,) = models.load_inputs([tmp_path / "x.npz"], [spec])
    np.testing.assert_array_equal(sample["x"].astype(np.float32), values)
    np.savez(tmp_path / "wide.npz", x=values.astype(np.float64))
    with pytest.raises(InputError, match=r"float64.*bfloat16.*astype\('float32'\)"):
        models.load_inputs([tmp_path / "wide.npz"], [spec])


WRONG = [
    ({"pictures": np.zeros((1, 3, 4, 4), np.float32)}, r"lacks images.*takes images float32\[1, 3, 4, 4\]"),
    ({"images": np.zeros((1, 3, 4, 4), np.float32), "more": np.zeros(1)}, "more"),
    ({"images": np.zeros((1, 3, 4, 5), np.float32)}, r"\[1, 3, 4, 5\].*\[1, 3, 4, 4\]"),
    ({"images": np.zeros((1, 3, 4, 4), np.float64)}, "float64.*float32"),
    ({"images": np.zeros((0, 1, 3, 4, 4), np.float32)}, "no sample"),
    ({"images": np.zeros((6, 3, 4, 4), np.float32)}, r"\[1, 3, 4, 4\], or \[N, 1, 3, 4, 4\] for N samples"),
]


@pytest.mark.parametrize(("arrays", "text"), WRONG)
def test_inputs_that_do_not_fit_are_refused(tmp_path: Path, arrays: dict[str, Any], text: str) -> None:
    np.savez(tmp_path / "in.npz", **arrays)
    with pytest.raises(InputError, match=text):
        models.load_inputs([tmp_path / "in.npz"], SPECS)


def test_what_is_no_npz_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.npz").write_text("no")
    np.save(tmp_path / "single.npy", np.zeros(3))
    np.savez(tmp_path / "pickled.npz", images=np.array([{}], dtype=object))
    for name in ("text.npz", "single.npy", "pickled.npz", "nowhere.npz"):
        with pytest.raises(InputError, match=name.split(".")[0]) as caught:
            models.load_inputs([tmp_path / name], SPECS)
        assert str(caught.value).count(name) <= 2
        assert "unsafely" not in str(caught.value)  # NumPy's advice for a file that is no npz
    (tmp_path / "folder").mkdir()
    with pytest.raises(InputError, match="input_0"):
        models.load_inputs([tmp_path / "folder"], SPECS)
