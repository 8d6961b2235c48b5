"""Types that NumPy lacks go through a session and come back."""

from __future__ import annotations

from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from onnx import TensorProto, helper

from autotune.core import DEFAULT_LANE
from autotune.graph import load, load_arrays, random_inputs, save_arrays
from autotune.processors import create_session

FLOATS = ["BFLOAT16", "FLOAT8E4M3FN", "FLOAT8E4M3FNUZ", "FLOAT8E5M2", "FLOAT8E5M2FNUZ"]
INTEGERS = ["INT4", "UINT4"]


def model(*nodes: tuple[str, str, str, int | None], kind: int, out: int) -> bytes:
    made = [helper.make_node(op, [source], [target], **({"to": to} if to else {})) for op, source, target, to in nodes]
    graph = helper.make_graph(
        made,
        "g",
        [helper.make_tensor_value_info("x", kind, [3, 5])],
        [helper.make_tensor_value_info("y", out, [3, 5])],
    )
    found: bytes = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10
    ).SerializeToString()
    return found


@pytest.mark.parametrize("name", FLOATS + INTEGERS)
def test_a_session_takes_and_gives_them(name: str, tmp_path: Path) -> None:
    kind = getattr(TensorProto, name)
    path = tmp_path / "m.onnx"
    path.write_bytes(model(("Cast", "x", "y", TensorProto.FLOAT), kind=kind, out=TensorProto.FLOAT))
    graph = load(path)
    feeds = random_inputs(graph.inputs, seed=0, high={"x": 8})
    save_arrays(tmp_path / "x.npz", feeds)
    session = create_session(graph.path, DEFAULT_LANE)
    wanted = feeds["x"].astype(np.float32)
    assert np.ptp(wanted) > 0
    for given in (feeds, load_arrays(tmp_path / "x.npz")):
        np.testing.assert_array_equal(session.run(None, given)[0], wanted)
    back = create_session(model(("Cast", "x", "y", kind), kind=TensorProto.FLOAT, out=kind), DEFAULT_LANE)
    np.testing.assert_array_equal(back.run(["y"], {"x": wanted})[0].astype(np.float32), wanted)


def test_signs_of_four_bits_survive() -> None:
    session = create_session(
        model(("Cast", "x", "y", TensorProto.INT4), kind=TensorProto.INT4, out=TensorProto.INT4), DEFAULT_LANE
    )
    given = np.arange(15, dtype=np.int8).reshape(3, 5) - 7
    (found,) = session.run(None, {"x": given})
    assert found.dtype == np.int8
    np.testing.assert_array_equal(found, given)


def test_float32_is_rounded_to_the_nearest_bfloat16() -> None:
    session = create_session(
        model(("Cast", "x", "y", TensorProto.FLOAT), kind=TensorProto.BFLOAT16, out=TensorProto.FLOAT), DEFAULT_LANE
    )
    given = np.random.default_rng(0).standard_normal((3, 5)).astype(np.float32)
    np.testing.assert_array_equal(
        session.run(None, {"x": given})[0], given.astype(ml_dtypes.bfloat16).astype(np.float32)
    )
