"""Values survive JSON, and damaged JSON is refused with its place."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotune.core import Concurrency, Constant, Kernel, KernelNode, Lane, Measurement, Precision, TensorSpec
from autotune.core.codec import decode, encode
from autotune.errors import UsageError

lanes = st.builds(
    Lane,
    processor=st.sampled_from(["cpu", "openvino:cpu", "webgpu:gpu"]),
    precision=st.sampled_from(Precision),
    concurrency=st.builds(
        Concurrency,
        threads=st.integers(0, 64),
        cores=st.lists(st.integers(0, 63), unique=True, max_size=4).map(tuple),
        streams=st.integers(1, 8),
        spinning=st.sampled_from([None, True, False]),
    ),
    options=st.lists(
        st.tuples(st.from_regex(r"[a-z]{2,6}_x", fullmatch=True), st.from_regex(r"[A-Z0-9]{1,5}", fullmatch=True)),
        unique_by=lambda p: p[0],
        max_size=2,
    ).map(lambda found: tuple(sorted(found))),
)


@given(lane=lanes)
def test_a_lane_is_its_text(lane: Lane) -> None:
    assert Lane.parse(str(lane)) == lane


@given(lane=lanes)
def test_a_lane_survives_json(lane: Lane) -> None:
    assert decode(Lane, json.loads(json.dumps(encode(lane)))) == lane


def test_what_is_no_lane_is_refused_with_its_value() -> None:
    with pytest.raises(UsageError, match="fast"):
        Lane.parse("cpu/fast")


def kernel() -> Kernel:
    return Kernel(
        family="convolution",
        nodes=(
            KernelNode(
                op_type="Conv",
                inputs=("i0", "w0"),
                outputs=("o0",),
                attributes=(("auto_pad", "NOTSET"), ("pads", (1, 1, 1, 1)), ("scale", 0.5)),
            ),
        ),
        inputs=(TensorSpec(name="i0", dtype="float32", shape=(1, 3, 8, 8)),),
        weights=(TensorSpec(name="w0", dtype="float32", shape=(4, 3, 3, 3)),),
        constants=(Constant(tensor=TensorSpec(name="c0", dtype="int64", shape=(2,)), values=(1, -1)),),
        outputs=(TensorSpec(name="o0", dtype="float32", shape=(1, 4, 8, 8)),),
        opset=17,
        flops=13824,
    )


def test_a_kernel_survives_json_and_keeps_its_signature() -> None:
    again = decode(Kernel, json.loads(json.dumps(encode(kernel()))))
    assert again == kernel()
    assert again.signature == kernel().signature


def test_a_missing_or_wrong_field_is_named() -> None:
    data = encode(kernel())
    del data["nodes"][0]["op_type"]
    with pytest.raises(ValueError, match=r"Kernel\.nodes\[0\]\.op_type"):
        decode(Kernel, data)
    data = encode(kernel())
    data["flops"] = "many"
    with pytest.raises(ValueError, match=r"Kernel\.flops.*many"):
        decode(Kernel, data)


def test_percentiles_and_interval_of_a_measurement() -> None:
    found = Measurement(samples_us=tuple(float(value) for value in range(1, 102)))
    assert found.median_us == 51
    assert found.percentile_us(90) == 91
    low, high = found.interval_us
    assert low < 51 < high


def test_a_measurement_without_a_positive_sample_is_refused() -> None:
    with pytest.raises(ValueError, match="positive"):
        Measurement(samples_us=())
    with pytest.raises(ValueError, match="positive"):
        Measurement(samples_us=(1.0, 0.0))
