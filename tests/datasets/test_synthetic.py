"""Synthetic kernels: like those of real models, of every kind, distinct, the same for a seed; they run."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import numpy_helper

from autotune import models
from autotune.core import Kernel
from autotune.datasets import DRAWN, Drawn, architecture, kernels_around, synthetic_kernels
from autotune.datasets.around import MAX_BYTES, MAX_FLOPS
from autotune.datasets.drawn import drawn_graph
from autotune.datasets.drawn.chains import BLOCKS
from autotune.datasets.drawn.networks import BACKBONES
from autotune.datasets.drawn.origins import ZOO
from autotune.datasets.drawn.sequences import MLPS, RECURRENT, TEMPORAL, TRANSFORMERS
from autotune.datasets.synthetic import LARGE_BYTES, MOST_BYTES, TURNS, kind_of
from autotune.graph import build_kernel, grouped, load, random_inputs

COUNT = 2 * len(TURNS)


@pytest.fixture(scope="module")
def drawn() -> list[Drawn]:
    return synthetic_kernels({}, count=COUNT, seed=0)


@pytest.fixture(scope="module")
def kernels(drawn: list[Drawn]) -> list[Kernel]:
    return [one.kernel for one in drawn]


def filled(model: onnx.ModelProto) -> onnx.ModelProto:
    """With values for its weights, so that ONNX Runtime loads it."""
    rng = np.random.default_rng(0)
    for tensor in model.graph.initializer:
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            values = rng.random(tuple(tensor.dims), dtype=np.float32)
            tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    return model


def test_they_are_distinct_and_can_be_measured(kernels: list[Kernel]) -> None:
    assert len(kernels) == COUNT
    assert len({kernel.signature for kernel in kernels}) == COUNT
    for kernel in kernels:
        assert kernel.buildable
        assert kernel.flops <= MAX_FLOPS
        moved = kernel.bytes_read + kernel.bytes_written + kernel.weight_bytes
        assert moved <= MOST_BYTES.get(kind_of(kernel), MAX_BYTES)


def test_every_kind_has_its_share(kernels: list[Kernel]) -> None:
    counts, wanted = Counter(map(kind_of, kernels)), Counter(TURNS)
    assert counts == {kind: COUNT // len(TURNS) * turns for kind, turns in wanted.items()}


def test_what_networks_have_often_comes_more_often(kernels: list[Kernel]) -> None:
    counts = Counter(kernel.ops for kernel in kernels if kind_of(kernel) == "convolution")
    assert counts.most_common(1)[0][0] == "Conv+Relu"
    assert len(counts) > 8  # and rare ones come, too


def test_what_the_zoo_lacks_is_there(kernels: list[Kernel]) -> None:
    operators = {node.op_type for kernel in kernels for node in kernel.nodes}
    assert {"ConvTranspose", "LSTM", "GRU", "LayerNormalization", "Resize", "Gather", "Softmax"} <= operators
    ranks = {len(kernel.inputs[0].shape or ()) for kernel in kernels if kernel.ops.startswith("MatMul")}
    assert 4 in ranks  # attention
    assert any(len(kernel.inputs[0].shape or ()) == 3 for kernel in kernels if kernel.family == "convolution")
    assert len({(kernel.inputs[0].shape or (1,))[0] for kernel in kernels}) > 3  # batches


def test_what_no_cache_holds_is_there(kernels: list[Kernel]) -> None:
    assert any(kind_of(kernel) == "streaming" for kernel in kernels)
    found = [kernel for kernel in kernels if kernel.weight_bytes >= LARGE_BYTES and kernel.family == "matmul"]
    assert {"Gemm+Relu", "MatMul"} <= {kernel.ops for kernel in found}  # before classes, and of a vocabulary
    assert any(kernel.weight_bytes > MAX_BYTES for kernel in found)
    assert len(found) < COUNT / 50  # each takes seconds to measure


def test_the_same_seed_gives_the_same_and_a_short_list_begins_a_long_one(drawn: list[Drawn]) -> None:
    assert synthetic_kernels({}, count=40, seed=0) == drawn[:40]
    assert synthetic_kernels({}, count=40, seed=1) != drawn[:40]


def test_a_quarter_is_around_what_is_given(kernels: list[Kernel]) -> None:
    parents = [kernel for kernel in kernels if kernel.ops == "Conv+Relu"][:3]
    found = synthetic_kernels({"one": parents[:2], "two": parents[1:]}, count=20, seed=3)
    assert [one.kernel for one in found[3::4]] == kernels_around(parents, count=5, seed=3)
    assert not {one.kernel.signature for one in found} & {kernel.signature for kernel in parents}
    assert {one.origins for one in found[3::4]} <= {("one",), ("one", "two"), ("two",)}
    assert {name for one in found[3::4] for name in one.origins} == {"one", "two"}


def test_each_knows_the_network_that_it_was_drawn_from(drawn: list[Drawn]) -> None:
    sources = {net.source for net in (*BACKBONES, *TRANSFORMERS)} | {row[0] for row in (*RECURRENT, *TEMPORAL, *MLPS)}
    assert {origin for one in drawn for origin in one.origins} <= sources
    assert len({one.origins for one in drawn}) > 20


def test_each_model_of_the_zoo_has_kin_among_the_networks() -> None:
    kin = {architecture(DRAWN + net.source) for net in (*BACKBONES, *TRANSFORMERS)}
    assert kin >= set(models.names()) == set(ZOO.values())
    assert architecture(DRAWN + "ResNet-18/34, arXiv 1512.03385") == "resnet50" == architecture("resnet50")
    assert architecture(DRAWN + "Swin-T, arXiv 2103.14030") == "arXiv 2103.14030"
    assert architecture(DRAWN + "a, b") == "a, b" == architecture("a, b")


def test_each_block_of_a_published_network_can_be_drawn() -> None:
    assert {net.block for net in BACKBONES} == set(BLOCKS)
    found = [kernel for seed in range(300) for kernel in grouped(drawn_graph(seed)).kernels]
    assert all(kernel.buildable for kernel in found)
    assert {kind_of(kernel) for kernel in found} >= set(TURNS)
    operators = {node.op_type for kernel in found for node in kernel.nodes}
    assert {"InstanceNormalization", "BatchNormalization", "Split", "Pad", "Expand", "DepthToSpace"} <= operators


def test_kernels_are_those_of_a_loaded_model(tmp_path: Path) -> None:
    same = total = 0
    for seed in range(12):
        path = tmp_path / f"{seed}.onnx"
        model = drawn_graph(seed)
        if sum(math.prod(tensor.dims) for tensor in model.graph.initializer) > 2_000_000:
            continue
        drawn = [kernel.signature for kernel in grouped(model).kernels]
        onnx.save(filled(model), path)
        loaded = {use.kernel.signature for use in load(path).kernels}
        same += sum(signature in loaded for signature in drawn)
        total += len(drawn)
    assert same > 0.8 * total > 0  # the optimizer rewrites some chains of reshapes


def test_they_run_and_give_the_shapes_they_promise(kernels: list[Kernel]) -> None:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    for kernel in [one for one in kernels if one.flops < 2e7]:
        model = build_kernel(kernel)
        session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        outputs = session.run(None, random_inputs(kernel.inputs, seed=0))
        assert [tuple(array.shape) for array in outputs] == [tensor.shape for tensor in kernel.outputs]
