"""The model as the search takes it: dimensions that the user's inputs settle."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from autotune.api import SearchSettings
from autotune.api.task import load_model
from autotune.core import TensorSpec
from autotune.errors import InputError, UnresolvedDimensionError
from autotune.models import load_inputs

Shape = list[int | str | None] | None


def saved(path: Path, **shapes: Shape) -> Path:
    """The sum of the inputs of these shapes, as a model."""
    inputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items()]
    rank = len(next(iter(shapes.values())) or "12")
    output = helper.make_tensor_value_info("y", TensorProto.FLOAT, [None] * rank)
    graph = helper.make_graph([helper.make_node("Sum", list(shapes), ["y"])], "net", inputs, [output])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), str(path))
    return path


def taken(model: Path, folder: Path, *inputs: Path, **settings: Any) -> tuple[TensorSpec, ...]:
    chosen = SearchSettings(inputs=inputs, **settings)
    return load_model(model, chosen, folder / "work")[0].inputs


def stored(folder: Path, **arrays: tuple[int, ...]) -> Path:
    path = folder / "inputs.npz"
    np.savez(path, **{name: np.ones(shape, np.float32) for name, shape in arrays.items()})  # type: ignore[arg-type]
    return path


@pytest.mark.parametrize("given", [(1, 3, 5, 7), (6, 1, 3, 5, 7)], ids=["a sample", "several"])
def test_inputs_settle_what_has_no_value(tmp_path: Path, given: tuple[int, ...]) -> None:
    model = saved(tmp_path / "m.onnx", x=["batch", 3, "height", None])
    inputs = stored(tmp_path, x=given)
    specs = taken(model, tmp_path, inputs)
    assert specs[0].shape == (1, 3, 5, 7)
    assert len(load_inputs([inputs], specs)) == given[0]


def test_a_folder_of_onnx_settles_it_too_in_the_order_of_the_inputs(tmp_path: Path) -> None:
    model = saved(tmp_path / "m.onnx", b=None, a=[1, "length"])
    folder = tmp_path / "tests" / "test_data_set_0"
    folder.mkdir(parents=True)
    for at, shape in enumerate([(2, 1), (1, 9)]):
        (folder / f"input_{at}.pb").write_bytes(numpy_helper.from_array(np.ones(shape, np.float32)).SerializeToString())
    assert [spec.shape for spec in taken(model, tmp_path, folder.parent)] == [(2, 1), (1, 9)]


def test_a_batch_stays_one_and_what_was_asked_for_stays(tmp_path: Path) -> None:
    model = saved(tmp_path / "m.onnx", x=["batch", "high", "wide"])
    batch = stored(tmp_path, x=(8, 4, 9))
    specs = taken(model, tmp_path, batch)
    assert specs[0].shape == (1, 4, 9)
    with pytest.raises(InputError, match=r"--shape x=8,4,9"):
        load_inputs([batch], specs)
    assert taken(model, tmp_path, batch, shapes={"x": (8, 4, 9)})[0].shape == (8, 4, 9)
    assert taken(model, tmp_path, batch, dims={"high": 5})[0].shape == (1, 5, 9)


def test_a_shape_of_unknown_rank_is_that_of_the_array_as_it_is(tmp_path: Path) -> None:
    model = saved(tmp_path / "m.onnx", x=None)
    assert taken(model, tmp_path, stored(tmp_path, x=(5,)))[0].shape == (5,)


def test_inputs_of_other_names_settle_nothing(tmp_path: Path) -> None:
    model = saved(tmp_path / "m.onnx", x=["batch", "length"])
    with pytest.raises(UnresolvedDimensionError, match="length"):
        taken(model, tmp_path, stored(tmp_path, z=(1, 9)))
