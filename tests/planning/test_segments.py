"""Where a model is cut into segments that are measured as stages."""

from __future__ import annotations

from itertools import pairwise

import pytest

from autotune import models
from autotune.graph import Graph, load
from autotune.planning import rough_us, segment_ranges


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> Graph:
    folder = tmp_path_factory.mktemp("squeezenet")
    models.save("squeezenet", folder / "model.onnx")
    return load(folder / "model.onnx", work=folder / "work")


def test_segments_of_a_model_cover_it_in_even_parts(graph: Graph) -> None:
    rough = rough_us([use.kernel for use in graph.kernels])
    ranges = segment_ranges(graph.cuts, rough, count=6)
    assert ranges[0][0] == 0
    assert ranges[-1][1] == len(graph.kernels)
    assert all(before[1] == after[0] for before, after in pairwise(ranges))
    assert len(ranges) == 6
    assert max(rough[start:stop].sum() for start, stop in ranges) < rough.sum() / 3


def test_heavier_kernels_take_longer(graph: Graph) -> None:
    kernels = [use.kernel for use in graph.kernels]
    rough = rough_us(kernels)
    heavy = max(range(len(kernels)), key=lambda at: kernels[at].flops)
    assert rough[heavy] > 2 * sorted(rough)[len(rough) // 2]
    assert (rough > 0).all()
