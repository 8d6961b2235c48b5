"""ONNX file -> shapes, operators, FLOPs and bytes, kernels, legal cuts, sub-models."""

from autotune.graph.arrays import load_arrays, save_arrays
from autotune.graph.build import build_kernel, can_fan, chainable
from autotune.graph.cuts import Cut
from autotune.graph.ends import (
    behind_convolutions,
    has_row_ends,
    has_small_ends,
    made_by_convolutions,
    made_of_pixels,
    only_convolutions,
    with_few_pixels,
    with_means,
    with_row_ends,
)
from autotune.graph.extract import StageFile, extract
from autotune.graph.fusion import RESHAPING
from autotune.graph.graph import Graph, KernelUse, load
from autotune.graph.grouped import Grouped, grouped
from autotune.graph.inputs import embedding_limits, random_inputs
from autotune.graph.node_sets import NodeSet, NodeSetFile, extract_sets, partition
from autotune.graph.operators import Operator
from autotune.graph.parts import OutputPart
from autotune.graph.splits import Divided, Split, SplitKind, SplitSite, can_divide, divide, find_sites

__all__ = [
    "RESHAPING",
    "Cut",
    "Divided",
    "Graph",
    "Grouped",
    "KernelUse",
    "NodeSet",
    "NodeSetFile",
    "Operator",
    "OutputPart",
    "Split",
    "SplitKind",
    "SplitSite",
    "StageFile",
    "behind_convolutions",
    "build_kernel",
    "can_divide",
    "can_fan",
    "chainable",
    "divide",
    "embedding_limits",
    "extract",
    "extract_sets",
    "find_sites",
    "grouped",
    "has_row_ends",
    "has_small_ends",
    "load",
    "load_arrays",
    "made_by_convolutions",
    "made_of_pixels",
    "only_convolutions",
    "partition",
    "random_inputs",
    "save_arrays",
    "with_few_pixels",
    "with_means",
    "with_row_ends",
]
